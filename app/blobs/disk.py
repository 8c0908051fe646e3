"""Blobs on a local disk: written under a temporary name, synced, renamed, folder synced."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import math
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog
from blake3 import blake3

from app.blobs.base import BlobSettings
from app.blobs.holds import Hold, Holds
from app.blobs.keeping import Removals
from app.errors import BlobMissing, BodyTooLarge, StorageError, StorageFull
from app.model import BLAKE3_PREFIX, Blob, new_key
from app.ops.media_type import sniff
from app.ops.space import SETTING, check_space, free_bytes

log = structlog.get_logger(__name__)

T = TypeVar("T")

THREADS = 8
FOLDERS = 256
"""By the first two digits of the key."""
REMOVALS = 5
"""A file that appears while its folder is being removed keeps it; each round is a new look."""
BUFFER_BYTES = 512 << 10
"""Handed to a thread at a time: 256 KiB to 1 MiB measured best, 4 MiB slower."""
WORTH_A_CALL_BYTES = 16 << 10
"""Pieces that are smaller are joined before they are hashed and written."""
FLUSH_BYTES = 8 << 20
"""Brought to disk at a time while more arrives: of 64 MiB the last sync then waits for a few."""
HEAD_BYTES = 4096
"""Looked at to tell the media type."""


class DiskBlobStore:
    """`BlobStore` on one folder of one file system."""

    def __init__(
        self, root: Path, settings: BlobSettings, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Name the folder; `clock` gives seconds since the epoch, to be compared with mtimes."""
        self._root = root
        self._settings = settings
        self._clock = clock
        self._objects = root / "objects"
        self._incoming = root / "incoming"
        self._scratch = root / "scratch"
        self._removals = Removals(root)
        self._holds = Holds()
        self.holding = self._holds.holding
        self.abandoned = self._holds.abandoned
        self.condemning = self._holds.condemning
        # Between the janitor's look at a file's age and its unlink, nobody may publish the file.
        # A lock a folder: a rename may wait for the disk, and all others would wait for it.
        self._publishing = {f"{number:02x}": threading.Lock() for number in range(FOLDERS)}

    async def open(self) -> None:
        """Make the folders, and clear what a dead process left half-written."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        await self._run(self._prepare)
        free, floor = await self._run(free_bytes, self._root), self._settings.min_free_bytes
        if free < floor:
            log.warning("disk_below_floor", free_bytes=free, **{SETTING: floor})

    async def close(self) -> None:
        """Wait for the writes under way."""
        await asyncio.to_thread(self._threads.shutdown)
        self._removals.close()

    async def put(
        self, chunks: AsyncIterator[bytes], max_bytes: int, *, sha256: bool = True
    ) -> Blob:
        """See `BlobStore.put`."""
        upload = _Upload(self, max_bytes, self._holds.mine(), sha256=sha256)
        writing: asyncio.Future[None] | None = None
        flushing: asyncio.Future[None] | None = None
        try:
            buffer: list[bytes] = []
            async for chunk in chunks:
                buffer.append(chunk)
                if upload.take(len(chunk)) >= BUFFER_BYTES:
                    # Two buffers: one is hashed and written while the other fills.
                    if writing is not None:
                        await writing
                        if flushing is None or flushing.done():
                            flushing = await self._flushing(upload, flushing)
                    writing = self._start(upload.write, buffer)
                    buffer = []
                    upload.buffered_bytes = 0
            for begun in (writing, flushing):
                if begun is not None:
                    await begun
            return await self._run(upload.finish, buffer)
        except BaseException:
            # A cancelled await does not stop its thread: `discard` itself waits for that. It is
            # on its way before anything is awaited here, however often we are cancelled.
            ending = [self._start(upload.discard)]
            ending += [begun for begun in (writing, flushing) if begun is not None]
            await asyncio.shield(asyncio.gather(*ending, return_exceptions=True))
            raise

    async def _flushing(
        self, upload: _Upload, earlier: asyncio.Future[None] | None
    ) -> asyncio.Future[None] | None:
        if earlier is not None:
            await earlier
        return self._start(upload.flush) if upload.unflushed_bytes >= FLUSH_BYTES else None

    async def adopt(self, path: Path, blob: Blob) -> None:
        """See `BlobStore.adopt`."""
        await self._run(self._adopt, path, blob.key, self._holds.mine())

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        """See `BlobStore.local`."""
        path = self._path(key)
        with self._holds.reading(key):
            # A look at an inode takes microseconds; the way into a thread and back a hundred.
            if not path.is_file():
                raise BlobMissing("The stored bytes of this file are gone.", log_detail=key)
            yield path

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Path]:
        """See `BlobStore.scratch`."""
        folder = self._scratch / secrets.token_hex(16)
        try:
            _translating(folder.mkdir)
            yield folder
        finally:
            await asyncio.shield(self._start(_remove, folder))

    async def touch(self, key: str) -> None:
        """See `BlobStore.touch`."""
        await self._run(self._touch, key, self._holds.mine())

    async def unused_since(self, age_s: float) -> AsyncIterator[list[str]]:
        """See `BlobStore.unused_since`."""
        for folder in sorted(await self._run(os.listdir, self._objects)):
            if old := await self._run(self._older_than, self._objects / folder, age_s):
                yield old

    async def delete(self, key: str, age_s: float) -> bool:
        """See `BlobStore.delete`."""
        return await self._run(self._delete, key, age_s)

    async def may_remove(self) -> bool:
        """See `BlobStore.may_remove`."""
        return await self._run(self._may_remove)

    async def check_writable(self) -> None:
        """See `BlobStore.check_writable`."""
        await self._run(self._probe)

    def check_space(self, size_bytes: int = 0) -> None:
        """See `BlobStore.check_space`."""
        _translating(check_space, self._root, self._settings.min_free_bytes, size_bytes)

    # -- in threads --------------------------------------------------------------------------

    def publish(self, written: Path, key: str, hold: Hold | None) -> None:
        """Put a synced file in its final place, durably, and in the hands of who stores it."""
        path = self._path(key)
        # The age that the janitor judges by starts now, not when a worker wrote the file.
        os.utime(written, (self._clock(), self._clock()))
        with self._publishing[path.parent.name]:
            self._holds.take(key, hold)
            written.replace(path)
        sync_folder(path.parent)

    def new_incoming(self) -> tuple[int, Path]:
        """Open a new file that nobody else sees yet."""
        number, name = tempfile.mkstemp(dir=self._incoming)
        return number, Path(name)

    def _prepare(self) -> None:
        for folder in (self._incoming, self._scratch):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (self._incoming, self._scratch):
            folder.mkdir(parents=True, exist_ok=True)
        # All of them now: one that is made when it is needed must be on disk for whoever uses it.
        for name in self._publishing:
            (self._objects / name).mkdir(parents=True, exist_ok=True)
        for folder in (self._objects, self._root, self._root.parent):
            sync_folder(folder)

    def _path(self, key: str) -> Path:
        return object_path(self._objects, key)

    def _adopt(self, path: Path, key: str, hold: Hold | None) -> None:
        # Nothing more is written; where workers together have gone below, none of it stays.
        self.check_space()
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.publish(path, key, hold)

    def _touch(self, key: str, hold: Hold | None) -> None:
        path = self._path(key)
        try:
            with self._publishing[path.parent.name]:
                self._holds.take(key, hold)
                os.utime(path, (self._clock(), self._clock()))
        except FileNotFoundError as error:
            raise BlobMissing("The stored bytes of this file are gone.", log_detail=key) from error

    def _older_than(self, folder: Path, age_s: float) -> list[str]:
        limit = self._clock() - age_s
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if _stored_at(entry) <= limit]

    def _delete(self, key: str, age_s: float) -> bool:
        path = self._path(key)
        with self._publishing[path.parent.name], self._removals.allowed() as allowed:
            try:
                if not allowed or not self._holds.condemned(key):
                    return False
                if path.stat().st_mtime > self._clock() - age_s:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    def _may_remove(self) -> bool:
        with self._removals.allowed() as allowed:
            return allowed

    def _probe(self) -> None:
        self.check_space()
        descriptor, path = self.new_incoming()
        os.close(descriptor)
        path.unlink()

    # -- the way into threads ----------------------------------------------------------------

    def _start(self, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, _translating, work, *args)

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        return await self._start(work, *args)


class _Upload:
    """One file on its way in. Made on the event loop, written by one thread at a time.

    The lock is for the end: a cancelled `put` discards while a thread may still be writing, and
    another write may be waiting for its thread.
    """

    def __init__(
        self, store: DiskBlobStore, max_bytes: int, hold: Hold | None, *, sha256: bool
    ) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._taken_bytes = 0
        self.buffered_bytes = 0
        self._size_bytes = 0
        self._hold = hold
        self.unflushed_bytes = 0
        self._hash = hashlib.sha256() if sha256 else blake3()
        self._prefix = "" if sha256 else BLAKE3_PREFIX
        self._head = b""
        self._descriptor = -1
        self._path: Path | None = None
        self._lock = threading.Lock()
        self._discarded = False

    def take(self, size_bytes: int) -> int:
        """Count a chunk before it is kept; returns how much is buffered now."""
        self._taken_bytes += size_bytes
        if self._taken_bytes > self._max_bytes:
            raise BodyTooLarge(
                f"The body is larger than {self._max_bytes} bytes.", max_bytes=self._max_bytes
            )
        self.buffered_bytes += size_bytes
        return self.buffered_bytes

    def write(self, buffers: list[bytes]) -> None:
        """Append buffers to the file, and take them into the digest."""
        with self._lock:
            self._write(buffers)

    def flush(self) -> None:
        """Bring to disk what has been written, beside the writing of more."""
        with self._lock:
            if self._discarded:
                return
            # Its own descriptor: the other may be closed, and its number given away, meanwhile.
            descriptor = os.dup(self._descriptor)
            self.unflushed_bytes = 0
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def finish(self, buffers: list[bytes]) -> Blob:
        """Write the rest, sync, and publish."""
        with self._lock:
            self._write(buffers)
            assert self._path is not None  # noqa: S101 - set by the line above
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            digest = self._prefix + self._hash.hexdigest()
            blob = Blob(new_key(), self._size_bytes, sniff(self._head), digest)
            self._store.publish(self._path, blob.key, self._hold)
            return blob

    def discard(self) -> None:
        """Leave nothing behind."""
        with self._lock:
            self._discarded = True
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
            if self._path is not None:
                self._path.unlink(missing_ok=True)

    def _write(self, buffers: list[bytes]) -> None:
        if self._discarded:
            raise StorageError("The upload was given up.")
        size_bytes = sum(map(len, buffers))
        self._store.check_space(size_bytes)
        if self._path is None:
            self._descriptor, self._path = self._store.new_incoming()
        self._size_bytes += size_bytes
        self.unflushed_bytes += size_bytes
        if size_bytes < WORTH_A_CALL_BYTES * len(buffers):
            buffers = [b"".join(buffers)]
        for buffer in buffers:
            self._head += buffer[: HEAD_BYTES - len(self._head)]
            self._hash.update(buffer)
            view = memoryview(buffer)
            while view:
                view = view[os.write(self._descriptor, view) :]


def _remove(folder: Path) -> None:
    """Remove a folder in which the worker of a canceled item may still be writing."""
    try:
        # As a rule it holds a folder whose file has been taken over, and `rmtree` is thorough.
        for inner in folder.iterdir():
            inner.rmdir()
        folder.rmdir()
    except OSError:
        _remove_all(folder)


def _remove_all(folder: Path) -> None:
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def _stored_at(entry: os.DirEntry[str]) -> float:
    """Give a file's mtime; of one that somebody removes meanwhile, a time that never comes."""
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def object_path(objects: Path, key: str) -> Path:
    """Give where the bytes of a key are, by the first two digits of it."""
    return objects / key.removeprefix(BLAKE3_PREFIX)[:2] / key


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a rename alone is not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _translating(work: Callable[..., T], *args: Any) -> T:
    try:
        return work(*args)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                "The service is out of disk space; nothing was stored.", log_detail=str(error)
            ) from error
        raise StorageError("The disk could not be used.", log_detail=str(error)) from error
