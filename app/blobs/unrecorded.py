"""What has been stored and is in no record yet: where none comes to name it, it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from app import metrics
from app.blobs.base import BlobStore
from app.errors import StorageError
from app.model.blobs import Blob

log = structlog.get_logger(__name__)

Abandon = Callable[[list[str]], Awaitable[object]]
"""Has the records note keys that maybe none of them names: they know, and have those removed."""


class Unrecorded:
    """Stores for one request, or one item's work. Use it as an async context manager.

    Only the records know what became of a write that its caller did not see the end of; therefore
    nothing is removed from here.
    """

    def __init__(self, blobs: BlobStore, abandon: Abandon) -> None:
        """Begin with nothing stored."""
        self._blobs = blobs
        self._abandon = abandon
        self._keys: set[str] = set()

    async def put(
        self, chunks: AsyncIterator[bytes], max_bytes: int, *, sha256: bool = True
    ) -> Blob:
        """See `BlobStore.put`."""
        blob = self._noted(await self._blobs.put(chunks, max_bytes, sha256=sha256))
        metrics.blob_stored(blob.size_bytes)
        return blob

    async def adopt(self, path: Path, blob: Blob) -> None:
        """See `BlobStore.adopt`."""
        self._noted(blob)
        await self._blobs.adopt(path, blob)
        metrics.blob_stored(blob.size_bytes)

    async def link(self, blob: Blob) -> Blob:
        """See `BlobStore.link`."""
        return self._noted(await self._blobs.link(blob))

    def recorded(self, blobs: Iterable[Blob]) -> None:
        """Note that records name these now."""
        self._keys.difference_update(blob.key for blob in blobs)

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of what was not recorded."""
        if self._keys:
            await asyncio.shield(asyncio.ensure_future(self._let_go()))

    async def _let_go(self) -> None:
        try:
            await self._abandon(sorted(self._keys))
        except StorageError as error:
            # Like what a crash leaves, they go after the grace time.
            log.warning("not_abandoned", blobs=len(self._keys), detail=error.log_detail)

    def _noted(self, blob: Blob) -> Blob:
        if blob.value is None:
            self._keys.add(blob.key)
        return blob
