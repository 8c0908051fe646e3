"""Small bytes as values: read whole, and handed to who keeps the records instead of to a store."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from app.model.blobs import SMALL_BYTES, Blob, new_key
from app.ops.media_type import sniff

Put = Callable[[AsyncIterator[bytes], int], Awaitable[Blob]]
"""Stores a stream of at most so many bytes: `BlobStore.put`."""


def value_of(data: bytes) -> Blob:
    """Make a blob of `data`, at most `SMALL_BYTES`, that has its bytes with it."""
    return Blob(new_key(), len(data), sniff(data), hashlib.sha256(data).hexdigest(), data)


def small_or(put: Put) -> Put:
    """Give what a stream of up to `SMALL_BYTES` becomes a value by, and a longer one goes to `put`.

    Nothing of a value is stored anywhere. What the stream raises is raised on.
    """

    async def kept(chunks: AsyncIterator[bytes], max_bytes: int) -> Blob:
        begun: list[bytes] = []
        left_bytes = min(SMALL_BYTES, max_bytes)
        async for chunk in chunks:
            begun.append(chunk)
            left_bytes -= len(chunk)
            if left_bytes < 0:
                return await put(_going_on(begun, chunks), max_bytes)
        return value_of(b"".join(begun))

    return kept


async def _going_on(begun: Sequence[bytes], chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield b"".join(begun)
    async for chunk in chunks:
        yield chunk
