"""Blobs in an object store: S3 and what speaks like it, Google Cloud Storage, Azure.

Large bodies go there in parts as they arrive, and nothing is ever whole in memory. What a worker
reads is brought to this machine once, held against its digest, and kept a while.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, NotFoundError

from app import metrics
from app.blobs.base import PIECE_BYTES, BlobSettings, Ranges, StorageSettings
from app.blobs.bucket import NAME, Bucket, found, keys_of, store_of, told, translated
from app.blobs.checked import checked
from app.blobs.kept import Kept
from app.blobs.links import saying
from app.blobs.relay import relayed
from app.blobs.scratch import Scratch
from app.blobs.upload import BUFFER_BYTES, Tally
from app.errors import BlobMissing, StorageError, StorageFull
from app.model.blobs import BLAKE3_PREFIX, Blob, new_key
from app.tasks import cancel

if TYPE_CHECKING:
    from obstore import ObjectMeta


PART_BYTES = 5 << 20
"""The least that S3 takes; what is smaller goes in one request."""
MOST_PARTS = 10_000
PARTS_AT_ONCE = 2
"""A body takes so many parts of memory, whatever its size."""
START_S = 5.0
"""So long a bucket that cannot be reached is tried at the start."""
COPY_BYTES = 5 << 30
"""S3 copies no more in one request."""
OBJECTS = "objects"
PROBES = "probes"


class ObjectBlobStore(Scratch):
    """`BlobStore` in a bucket, with what is in hand on this machine's disk."""

    def __init__(self, root: Path, settings: BlobSettings, storage: StorageSettings) -> None:
        """Name the folder for what is in hand, and the bucket.

        Raises:
            ValueError: `storage` names no store that is known, or has options that it does not.
        """
        super().__init__(root, settings)
        self._storage = storage
        self._remote = store_of(storage)
        self._identity = ("", False)
        self._near: Kept[str, Path] = Kept(self, storage.cache_bytes)

    async def open(self) -> None:
        """Make the folder, and see that the bucket can be used."""
        await super().open()
        if next((self._root / OBJECTS).glob("*/*"), None):
            raise StorageError(
                f"OFFLOAD_DATA_DIR has stored bytes, in {self._root / OBJECTS}, and "
                f"OFFLOAD_STORAGE_URL {self._storage.url} is not where they are."
            )
        # An operator who waits is not to wait for as long as a request may.
        hasty = self._storage.model_copy(update={"retry_s": min(START_S, self._storage.retry_s)})
        patient, self._remote = self._remote, store_of(hasty)
        try:
            await self._probed_at()
            self._identity = await self._identified()
        except StorageError as error:
            await self.close()
            message = f"OFFLOAD_STORAGE_URL {self._storage.url} cannot be used: {error.log_detail}"
            raise StorageError(message) from error
        self._remote = patient

    async def put(
        self, chunks: AsyncIterator[bytes], max_bytes: int, *, sha256: bool = True
    ) -> Blob:
        """See `BlobStore.put`."""
        key, tally = new_key(), Tally(max_bytes, sha256=sha256)
        await self._send(key, self._tallied(chunks, tally), max_bytes)
        return Blob(key, *tally.told())

    async def adopt(self, path: Path, blob: Blob) -> None:
        """See `BlobStore.adopt`: here it is an upload."""
        told = {"Content-Type": blob.media_type}
        await self._put(blob.key, path, blob.size_bytes, attributes=told)
        await self._run(path.unlink)

    async def take(self, path: Path, blob: Blob) -> None:
        """See `BlobStore.take`."""
        said = {"Content-Type": blob.media_type}
        pieces = checked(path, blob, self._run)
        await self._send(blob.key, pieces, blob.size_bytes, attributes=said)

    async def has(self, blob: Blob) -> bool:
        """See `BlobStore.has`."""
        with suppress(BlobMissing):
            met = await found(self._remote, obstore.head_async(self._remote, _path(blob.key)))
            return bool(met["size"] == blob.size_bytes)
        return False

    async def link(self, blob: Blob) -> Blob:
        """See `BlobStore.link`."""
        linked = replace(blob, key=new_key())
        if blob.value is None and blob.size_bytes <= COPY_BYTES:
            copy = obstore.copy_async(self._remote, _path(blob.key), _path(linked.key))
            await found(self._remote, copy)
        elif blob.value is None:
            await self._send(linked.key, _all(self.ranges(blob)), blob.size_bytes)
        return linked

    @asynccontextmanager
    async def local(self, blob: Blob) -> AsyncIterator[Path]:
        """See `BlobStore.local`."""
        metrics.cache_asked(hit=self._near.has(blob.key))
        bring = partial(self._bring, blob)
        async with self._near.of(blob.key, bring, blob.size_bytes) as path:
            yield path

    def ranges(self, blob: Blob) -> Ranges:
        """See `BlobStore.ranges`."""
        return _Ranges(self._remote, blob)

    async def url(self, blob: Blob, disposition: str) -> str | None:
        """See `BlobStore.url`."""
        if not self._storage.redirect:
            return None
        seconds = timedelta(seconds=self._storage.redirect_s)
        signed: str = await told(obstore.sign_async(self._remote, "GET", _path(blob.key), seconds))
        said = {"content-disposition": disposition, "content-type": blob.media_type}
        return saying(signed, keys_of(self._remote), said)

    async def unused_since(self, age_s: float) -> AsyncIterator[list[str]]:
        """See `BlobStore.unused_since`. The clock is the store's."""
        limit = await self._probed_at() - timedelta(seconds=age_s)
        listed = obstore.list(self._remote, prefix=OBJECTS)
        with translated():
            async for page in listed:
                yield [_key(meta) for meta in page if self._stored_at(meta) <= limit]

    async def delete(self, key: str) -> bool:
        """See `BlobStore.delete`."""
        await self._near.drop(key)
        with suppress(BlobMissing):
            await found(self._remote, obstore.head_async(self._remote, _path(key)))
            await found(self._remote, obstore.delete_async(self._remote, _path(key)))
            return True
        return False

    async def identity(self) -> tuple[str, bool]:
        """Give the bucket's name for itself, and whether it is new.

        Then opening it has made the name, as nobody else's opening can have, and it has no objects.
        """
        return self._identity

    async def _identified(self) -> tuple[str, bool]:
        made, name = False, await self._name()
        if not name:  # looked at first: some servers know no «only if it is not there»
            with translated(), suppress(AlreadyExistsError):
                new = secrets.token_hex(16).encode()
                await obstore.put_async(self._remote, NAME, new, mode="create")
                made = True
            name = await self._name()
        with translated():
            async for page in obstore.list(self._remote, prefix=OBJECTS, chunk_size=1):
                return name, made and not page
        return name, made

    async def _name(self) -> str:
        """Give the bucket's name for itself; nothing if it has none."""
        with translated(), suppress(NotFoundError, FileNotFoundError):
            got = await obstore.get_async(self._remote, NAME)
            return bytes(await got.bytes_async()).decode()
        return ""

    async def may_remove(self) -> bool:
        """See `BlobStore.may_remove`: a bucket is backed up by its own means."""
        return True

    async def check_writable(self) -> None:
        """See `BlobStore.check_writable`."""
        self.check_space()
        await self._probed_at()

    # -- to the store and back ---------------------------------------------------------------

    async def _tallied(self, chunks: AsyncIterator[bytes], tally: Tally) -> AsyncIterator[bytes]:
        """Give a stream on in pieces that are worth a thread's while, and look at them there."""
        begun: list[bytes] = []
        begun_bytes = 0
        async for chunk in chunks:
            tally.take(len(chunk))
            begun.append(chunk)
            begun_bytes += len(chunk)
            if begun_bytes >= BUFFER_BYTES:
                piece, begun, begun_bytes = b"".join(begun), [], 0
                await self._run(tally.add, piece)
                yield piece
        if begun:
            piece = b"".join(begun)
            await self._run(tally.add, piece)
            yield piece

    async def _send(
        self, key: str, pieces: AsyncIterator[bytes], max_bytes: int, **more: Any
    ) -> None:
        await relayed(pieces, lambda source: self._put(key, source, max_bytes, **more))

    async def _put(
        self, key: str, source: AsyncIterator[bytes] | Path, max_bytes: int, **more: Any
    ) -> None:
        # Written over, not «created»: that would be one request, the whole body in memory. Nobody
        # else has the key; a second try of a part that arrived writes the same.
        part_bytes = max(PART_BYTES, math.ceil(max_bytes / MOST_PARTS))
        await told(
            obstore.put_async(
                self._remote,
                _path(key),
                source,
                chunk_size=part_bytes,
                max_concurrency=PARTS_AT_ONCE,
                **more,
            )
        )

    async def _bring(self, blob: Blob, folder: Path) -> Path:
        """Bring bytes to this machine, and hold them against what was stored."""
        path = folder / "content"
        await self._run(folder.mkdir)
        sha256 = not blob.digest.startswith(BLAKE3_PREFIX)
        try:
            got = await self._saved(path, blob, sha256=sha256)
        except StorageFull:  # what is only kept gives way to what is needed
            await self._near.shed()
            got = await self._saved(path, blob, sha256=sha256)
        if got.digest != blob.digest:
            raise StorageError("The stored bytes are damaged.", log_detail=blob.key)
        return path

    async def _saved(self, path: Path, blob: Blob, *, sha256: bool) -> Blob:
        reader = self.ranges(blob)
        try:
            return await self.save(path, _all(reader), blob.size_bytes, sha256=sha256)
        finally:
            await reader.aclose()

    def _stored_at(self, meta: ObjectMeta) -> datetime:
        return meta["last_modified"]

    async def _probed_at(self) -> datetime:
        """Write something; gives the time by the store's clock."""
        path = f"{PROBES}/{self._own.path.name}"
        await told(obstore.put_async(self._remote, path, b""))
        met = await told(obstore.head_async(self._remote, path))
        await told(obstore.delete_async(self._remote, path))
        return met["last_modified"]


class _Ranges:
    """Any part of an object, read a piece at a time and one ahead. A piece is one request.

    So who reads slowly holds no connection open, and one that breaks off costs a piece.
    """

    def __init__(self, remote: Bucket, blob: Blob) -> None:
        self._remote = remote
        self._blob = blob
        self._at = 0
        self._ahead: asyncio.Future[bytes] | None = None

    async def check(self) -> None:
        await found(self._remote, obstore.head_async(self._remote, _path(self._blob.key)))

    async def read(self, size_bytes: int) -> bytes:
        piece = await (self._ahead or self._get(size_bytes))
        self._at += len(piece)
        whole = len(piece) == size_bytes == PIECE_BYTES
        self._ahead = asyncio.ensure_future(self._get(size_bytes)) if whole else None
        return piece

    async def seek(self, at: int) -> None:
        await self.aclose()
        self._at = at

    async def aclose(self) -> None:
        if self._ahead is not None:
            await cancel(self._ahead)
            self._ahead = None

    async def _get(self, size_bytes: int) -> bytes:
        size_bytes = min(size_bytes, self._blob.size_bytes - self._at)
        if size_bytes <= 0:
            return b""
        path = _path(self._blob.key)
        asked = obstore.get_range_async(self._remote, path, start=self._at, length=size_bytes)
        got = await found(self._remote, asked)
        metrics.blob_brought(len(got))
        if len(got) != size_bytes:
            raise StorageError("The stored bytes are damaged.", log_detail=self._blob.key)
        return bytes(got)


async def _all(reader: Ranges) -> AsyncIterator[bytes]:
    while piece := await reader.read(PIECE_BYTES):
        yield piece


def _path(key: str) -> str:
    return f"{OBJECTS}/{key}"


def _key(meta: ObjectMeta) -> str:
    return meta["path"].removeprefix(f"{OBJECTS}/")
