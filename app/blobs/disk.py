"""Blobs on a local disk: written under a temporary name, synced, renamed, folder synced."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from app.blobs.base import BlobSettings, missing
from app.blobs.checked import checked
from app.blobs.keeping import Removals
from app.blobs.scratch import Scratch
from app.blobs.upload import Upload
from app.model.blobs import BLAKE3_PREFIX, Blob, new_key

FOLDERS = 256
"""By the first two digits of the key."""
OF_0_2 = ("incoming", "scratch")
"""Folders of what was under way in older versions, which shared them."""


class DiskBlobStore(Scratch):
    """`BlobStore` on one folder of one file system, which several processes may have open."""

    def __init__(
        self, root: Path, settings: BlobSettings, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Name the folder; `clock` gives seconds since the epoch, to be compared with mtimes."""
        super().__init__(root, settings)
        self._clock = clock
        self._objects = root / "objects"
        self._removals = Removals(root)

    async def close(self) -> None:
        """See `Scratch.close`."""
        await super().close()
        self._removals.close()

    async def put(
        self, chunks: AsyncIterator[bytes], max_bytes: int, *, sha256: bool = True
    ) -> Blob:
        """See `BlobStore.put`."""
        key = new_key()
        path = self._own.path / key
        upload = Upload(path, self._path(key), max_bytes, self.check_space, sha256=sha256)
        publish = partial(self._publish, path, key)
        return Blob(key, *await upload.receive(chunks, self._start, publish))

    async def adopt(self, path: Path, blob: Blob) -> None:
        """See `BlobStore.adopt`."""
        await self._run(self._adopt, path, blob.key)

    async def take(self, path: Path, blob: Blob) -> None:
        """See `BlobStore.take`."""
        written = self.spare()
        upload = Upload(
            written, self._path(blob.key), blob.size_bytes, self.check_space, sha256=False
        )
        pieces = checked(path, blob, self._run)
        await upload.receive(pieces, self._start, partial(self._publish, written, blob.key))

    async def has(self, blob: Blob) -> bool:
        """See `BlobStore.has`."""
        try:
            return self._path(blob.key).stat().st_size == blob.size_bytes
        except FileNotFoundError:
            return False

    async def link(self, blob: Blob) -> Blob:
        """See `BlobStore.link`."""
        linked = replace(blob, key=new_key())
        if blob.value is None:
            await self._run(self._link, blob.key, linked.key)
        return linked

    @asynccontextmanager
    async def local(self, blob: Blob) -> AsyncIterator[Path]:
        """See `BlobStore.local`."""
        path = self._path(blob.key)
        # A look at an inode takes microseconds; the way into a thread and back a hundred.
        if not path.is_file():
            raise missing(blob.key)
        yield path

    def ranges(self, blob: Blob) -> None:
        """See `BlobStore.ranges`: all are on this machine."""

    async def url(self, blob: Blob, disposition: str) -> None:
        """See `BlobStore.url`: there is none."""

    async def unused_since(self, age_s: float) -> AsyncIterator[list[str]]:
        """See `BlobStore.unused_since`."""
        for folder in sorted(await self._run(os.listdir, self._objects)):
            if old := await self._run(self._older_than, self._objects / folder, age_s):
                yield old

    async def delete(self, key: str) -> bool:
        """See `BlobStore.delete`."""
        return await self._run(self._delete, key)

    async def may_remove(self) -> bool:
        """See `BlobStore.may_remove`."""
        return await self._run(self._may_remove)

    async def check_writable(self) -> None:
        """See `BlobStore.check_writable`."""
        await self._run(self._probe)

    # -- in threads --------------------------------------------------------------------------

    def _prepare(self) -> None:
        super()._prepare()
        for name in OF_0_2:
            shutil.rmtree(self._root / name, ignore_errors=True)
        # All of them now: one that is made when it is needed must be on disk for whoever uses it.
        for number in range(FOLDERS):
            (self._objects / f"{number:02x}").mkdir(parents=True, exist_ok=True)
        for folder in (self._objects, self._root, self._root.parent):
            sync_folder(folder)

    def _path(self, key: str) -> Path:
        return object_path(self._objects, key)

    def _publish(self, written: Path, key: str) -> None:
        """Put a file that nobody else sees in its final place, durably."""
        _sync(written, os.O_RDONLY)
        path = self._path(key)
        # The age that orphans are judged by starts now, not when a worker wrote the file.
        os.utime(written, (self._clock(), self._clock()))
        written.replace(path)
        sync_folder(path.parent)

    def _adopt(self, path: Path, key: str) -> None:
        # Nothing more is written; where workers together have gone below, none of it stays.
        self.check_space()
        self._publish(path, key)

    def _link(self, key: str, new: str) -> None:
        path, target = self._path(key), self._path(new)
        try:
            os.utime(path, (self._clock(), self._clock()))
            os.link(path, target)
        except FileNotFoundError:
            raise missing(key) from None
        except OSError:  # so many names already, or a file system that has no second ones
            copy = self._own.path / new
            shutil.copyfile(path, copy)
            self._publish(copy, new)
        else:
            sync_folder(target.parent)

    def _older_than(self, folder: Path, age_s: float) -> list[str]:
        limit = self._clock() - age_s
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if _stored_at(entry) <= limit]

    def _delete(self, key: str) -> bool:
        with self._removals.allowed() as allowed:
            try:
                if allowed:
                    self._path(key).unlink()
            except FileNotFoundError:
                return False
            return allowed

    def _may_remove(self) -> bool:
        with self._removals.allowed() as allowed:
            return allowed

    def _probe(self) -> None:
        self.check_space()
        path = self.spare()
        path.touch(exist_ok=False)
        path.unlink()


def _stored_at(entry: os.DirEntry[str]) -> float:
    """Give a file's mtime; of one that somebody removes meanwhile, a time that never comes."""
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def object_path(objects: Path, key: str) -> Path:
    """Give where the bytes of a key are: by its first two digits.

    Of a key that was a digest, as up to 0.2 all were, by those of the digest.
    """
    return objects / key.removeprefix(BLAKE3_PREFIX)[:2] / key


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a rename alone is not."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
