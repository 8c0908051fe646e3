"""What a worker reads: values as they are, stored files by their path."""

from __future__ import annotations

from contextlib import AsyncExitStack

from app.blobs.base import BlobStore
from app.model.blobs import NamedBlob
from app.ops.base import Source


async def source_of(blobs: BlobStore, given: NamedBlob, stack: AsyncExitStack) -> Source:
    """Give what a worker reads: a value, or a file that is there until `stack` is left.

    Raises:
        BlobMissing: the bytes are gone.
    """
    blob = given.blob
    if blob.value is not None:
        return Source.of(blob.value, given.name, blob.media_type)
    path = await stack.enter_async_context(blobs.local(blob))
    return Source(path, given.name, blob.media_type, blob.size_bytes)
