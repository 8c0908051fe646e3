"""Records in one SQLite file in WAL mode: one connection that writes, a few that read."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import structlog

from app.errors import StorageError
from app.stores.base import News, Tx
from app.stores.schema import check, connect, migrate
from app.stores.sqlite_tx import SqliteTx, translated
from app.stores.writer import Writer

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

READERS = 2


def wall_ms() -> int:
    """Give the time of this machine, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class SqliteDatabase:
    """`Database` for the processes of one machine. Open it on a running event loop."""

    def __init__(self, path: Path, *, clock: Callable[[], int] = wall_ms) -> None:
        """Name the file; `clock` gives milliseconds since the epoch."""
        self._path = path
        self._clock = clock
        self._local = threading.local()
        self._reading: list[sqlite3.Connection] = []
        self._listeners: list[Callable[[News], None]] = []

    async def open(self) -> None:
        """Create or migrate the database and start the threads.

        Raises:
            StorageError: the file cannot be used, with a sentence for the operator.
        """
        db = await asyncio.to_thread(self._open_writer)
        self._writer = Writer(db, self._clock, self._tell)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="records-reader")

    async def close(self) -> None:
        """Finish the writes that were asked for, then stop."""
        await self._writer.close()
        await asyncio.to_thread(self._readers.shutdown)
        for db in self._reading:
            db.close()

    async def write(
        self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """See `Database.write`."""
        return await self._writer.call(lambda tx: rule(tx, *args, **kwargs), is_short=False)

    async def note(
        self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """See `Database.note`: on the event loop, but for its commit."""
        return await self._writer.call(lambda tx: rule(tx, *args, **kwargs), is_short=True)

    async def read(
        self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """See `Database.read`."""
        here = partial(self._read, rule, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._readers, here)

    async def look(
        self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """See `Database.look`: on the event loop it takes some 10 us, in a thread 100.

        In WAL mode a reader waits for nobody, and the pages of a key are few.
        """
        return self._read(rule, *args, **kwargs)

    def listen(self, listener: Callable[[News], None]) -> None:
        """See `Database.listen`."""
        self._listeners.append(listener)

    def alongside(self) -> SqliteDatabase:
        """See `Database.alongside`."""
        return self

    def _tell(self, news: News) -> None:
        for listener in self._listeners:
            try:
                listener(news)
            except Exception:  # a bug; who wrote is to be answered, and the others told
                log.exception("listener_failed")

    def _read(self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return rule(SqliteTx(self._reader(), self._clock), *args, **kwargs)
        except sqlite3.Error as error:
            raise translated(error) from error

    def _reader(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = connect(self._path, read_only=True)
            self._reading.append(db)
        return db

    def _open_writer(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = connect(self._path)
            try:
                check(db, self._path)
                migrate(db)
            except (sqlite3.Error, StorageError):
                db.close()
                raise
        except sqlite3.Error as error:
            raise translated(error) from error
        except OSError as error:
            raise StorageError("The data folder cannot be made.", log_detail=str(error)) from error
        return db
