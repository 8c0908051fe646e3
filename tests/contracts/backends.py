"""The stores that the contracts are put to. Another one is another class here."""

from __future__ import annotations

import resource
import secrets
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import obstore

from app.blobs.base import BlobSettings, BlobStore
from app.blobs.bucket import NAME
from app.blobs.disk import DiskBlobStore
from app.blobs.objects import ObjectBlobStore, _key
from app.model.blobs import Blob
from app.records import rows
from app.stores.base import READY, News
from app.stores.sqlite import SqliteDatabase
from tests.contracts.records import Store
from tests.s3 import bucket_of, shared_s3, storage


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class JobBackend(Protocol):
    """One place for records, and stores that are opened on it one after the other."""

    clock: Clock
    wakes: int
    """How often a store said that items may be claimed."""

    async def open(self, *, max_unfinished_items: int = 100_000) -> Store: ...

    async def close(self) -> None:
        """Close every store that is still open."""

    async def crash(self) -> None:
        """Keep what is durable, and nothing else; the store in use sees no later `open`."""

    def full(self, store: Store) -> AbstractAsyncContextManager[None]:
        """Have no room for anything large while the context is open."""

    def select(self, query: str) -> list[tuple[Any, ...]]:
        """Look at what is there, by a connection of one's own."""


class SqliteBackend:
    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.wakes = 0
        self.on_queued: Callable[[], None] = lambda: None
        self._folder = folder / "records"
        self._crashes = 0
        self.opened: list[Store] = []

    @property
    def path(self) -> Path:
        return self._folder / "offload.db"

    async def open(self, *, max_unfinished_items: int = 100_000) -> Store:
        db = SqliteDatabase(self.path, clock=lambda: rows.to_ms(self.clock()))
        store = Store(db, max_unfinished_items)
        await store.open()
        db.listen(self._hear)
        self.opened.append(store)
        return store

    async def close(self) -> None:
        while self.opened:
            await self.opened.pop().close()

    async def crash(self) -> None:
        self._crashes += 1
        # What the disk holds now, write-ahead log included, and no connection that closed it.
        copy = self._folder.with_name(f"records-{self._crashes}")
        shutil.copytree(self._folder, copy)
        self._folder = copy

    @asynccontextmanager
    async def full(self, store: Store) -> AsyncIterator[None]:
        before = await pragma(store, "max_page_count")
        await pragma(store, f"max_page_count = {await pragma(store, 'page_count')}")
        try:
            yield
        finally:
            await pragma(store, f"max_page_count = {before}")

    def select(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute(query).fetchall()

    def _hear(self, news: News) -> None:
        if READY in news:
            self.wakes += 1
            self.on_queued()


async def pragma(store: Store, text: str) -> object:
    """Read or set one on the connection that writes."""
    [row] = await store.db.write(lambda tx: tx.db.execute(f"PRAGMA {text}").fetchall())
    return row[0]


class BlobBackend(Protocol):
    """One place for bytes, and stores that are opened on it one after the other."""

    clock: Clock

    async def open(self, *, min_free_bytes: int = 0) -> BlobStore: ...

    async def close(self) -> None:
        """Close every store that is still open."""

    def crash(self) -> None:
        """Have the processes that opened stores be dead, as far as others can tell."""

    def stored(self) -> list[str]:
        """Give the keys of all blobs."""

    def leftovers(self) -> list[str]:
        """Give the names of whatever else there is: half-written, or in a scratch folder."""


class DiskBackend:
    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.root = folder / "blobs"
        self.opened: list[Any] = []

    def _store(self, settings: BlobSettings) -> Any:
        return DiskBlobStore(self.root, settings, clock=lambda: self.clock().timestamp())

    async def open(self, *, min_free_bytes: int = 0) -> Any:
        store = self._store(BlobSettings(min_free_bytes=min_free_bytes))
        await store.open()
        self.opened.append(store)
        return store

    async def close(self) -> None:
        while self.opened:
            await self.opened.pop().close()

    def stored(self) -> list[str]:
        return [path.name for path in (self.root / "objects").rglob("*") if path.is_file()]

    def leftovers(self) -> list[str]:
        return [path.name for path in (self.root / "work").glob("*/*")]

    def crash(self) -> None:
        while self.opened:
            self.opened.pop()._own.abandon()


class _Clocked(ObjectBlobStore):
    """One whose bucket's clock is ours."""

    def __init__(self, backend: ObjectBackend, settings: BlobSettings) -> None:
        super().__init__(backend.root, settings, storage(backend.url, backend.bucket))
        self._backend = backend

    async def _put(self, key: str, source: Any, max_bytes: int, **more: Any) -> None:
        await super()._put(key, source, max_bytes, **more)
        self._backend.times[key] = self._backend.clock()

    async def link(self, blob: Blob) -> Blob:
        linked = await super().link(blob)
        self._backend.times[linked.key] = self._backend.clock()
        return linked

    def _stored_at(self, meta: Any) -> datetime:
        return self._backend.times[_key(meta)]

    async def _probed_at(self) -> datetime:
        await super()._probed_at()
        return self._backend.clock()


class ObjectBackend(DiskBackend):
    """A bucket of its own of one server for all tests of a process."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = shared_s3()
        self.bucket = f"s3://tests/{secrets.token_hex(8)}"
        self.times: dict[str, datetime] = {}

    def _store(self, settings: BlobSettings) -> Any:
        return _Clocked(self, settings)

    def stored(self) -> list[str]:
        return [
            path.removeprefix("objects/") for path in self._paths() if path.startswith("objects/")
        ]

    def leftovers(self) -> list[str]:
        """What there is beside objects and the bucket's name, but for what is only kept near."""
        near = {
            entry.folder.name for store in self.opened for entry in store._near._entries.values()
        }
        work = [path.name for path in (self.root / "work").glob("*/*") if path.name not in near]
        others = [path for path in self._paths() if not path.startswith("objects/")]
        return work + [path for path in others if path != NAME]

    def _paths(self) -> list[str]:
        bucket = bucket_of(storage(self.url, self.bucket))
        return [meta["path"] for page in obstore.list(bucket) for meta in page]


@contextmanager
def files_end_at(size_bytes: int) -> Iterator[None]:
    """Let no file of this process grow past a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
