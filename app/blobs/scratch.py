"""What a process has in hand on its own disk: a folder of its own, and the threads to write in it.

Every store of blobs has one: what workers write comes from here, and so does what they read.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog

from app import metrics
from app.blobs.base import BlobSettings
from app.blobs.own_folder import OwnFolder
from app.blobs.upload import Upload
from app.errors import StorageError, StorageFull
from app.model.blobs import Blob, new_key
from app.ops.space import SETTING, check_space, free_bytes

log = structlog.get_logger(__name__)

T = TypeVar("T")

THREADS = 8
REMOVALS = 5
"""A file that appears while its folder is being removed keeps it; each round is a new look."""


class Scratch:
    """The part of a `BlobStore` that is on this machine."""

    def __init__(self, root: Path, settings: BlobSettings) -> None:
        """Name the folder below which the process gets its own."""
        self._root = root
        self._settings = settings
        self._own = OwnFolder(root / "work")

    async def open(self) -> None:
        """Make the folders, and clear what dead processes left half-written."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        await self._run(self._prepare)
        free, floor = await self._run(free_bytes, self._root), self._settings.min_free_bytes
        if free < floor:
            log.warning("disk_below_floor", free_bytes=free, **{SETTING: floor})

    async def close(self) -> None:
        """Wait for the writes under way."""
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._own.close)

    async def save(
        self, path: Path, chunks: AsyncIterator[bytes], max_bytes: int, *, sha256: bool = True
    ) -> Blob:
        """See `BlobStore.save`."""
        upload = Upload(path, None, max_bytes, self.check_space, sha256=sha256)
        return Blob(new_key(), *await upload.receive(chunks, self._start, lambda: None))

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """See `BlobStore.scratch`."""
        folder = self.spare()
        try:
            _translating(folder.mkdir)
            yield folder
        finally:
            await self.clear([folder])

    def spare(self) -> Path:
        """See `BlobStore.spare`."""
        return self._own.path / new_key()

    async def clear(self, folders: Iterable[Path]) -> None:
        """See `BlobStore.clear`."""
        if full := [folder for folder in folders if not _removed_empty(folder)]:
            await asyncio.shield(asyncio.gather(*(self._start(_remove, one) for one in full)))

    def check_space(self, size_bytes: int = 0) -> None:
        """See `BlobStore.check_space`."""
        _translating(check_space, self._root, self._settings.min_free_bytes, size_bytes)

    # -- in threads --------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._own.open()

    # -- the way into threads ----------------------------------------------------------------

    def _start(self, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, _translating, work, *args)

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        return await self._start(work, *args)


def _removed_empty(folder: Path) -> bool:
    """Remove a folder that is not there, or has no file, as one whose file was taken over has.

    That is not worth the way into a thread.
    """
    try:
        for inner in folder.iterdir():
            inner.rmdir()
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _remove(folder: Path) -> None:
    """Remove a folder in which the worker of a canceled item may still be writing."""
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def _translating(work: Callable[..., T], *args: Any) -> T:
    try:
        return work(*args)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        metrics.blob_failed(StorageFull.code if is_full else StorageError.code)
        if is_full:
            raise StorageFull(
                "The service is out of disk space; nothing was stored.", log_detail=str(error)
            ) from error
        raise StorageError("The disk could not be used.", log_detail=str(error)) from error
