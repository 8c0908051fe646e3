"""The way from the event loop to the database: one thread that writes, a few that read."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from app.errors import StorageError
from app.jobs.database import check, connect, migrate, run
from app.jobs.writer import Tx, Writer, translated

T = TypeVar("T")

READERS = 4


class Connections:
    """All connections to one database file. What SQLite cannot do is a `StorageError`."""

    def __init__(self, path: Path) -> None:
        """Name the file."""
        self._path = path
        self._local = threading.local()
        self._reading: list[sqlite3.Connection] = []

    async def open(self) -> None:
        """Create or migrate the database and start the threads."""
        db = await asyncio.to_thread(self._open_writer)
        self._writer = Writer(db)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="records-reader")

    async def close(self) -> None:
        """Finish the writes that were asked for, then stop."""
        await self._writer.close()
        await asyncio.to_thread(self._readers.shutdown)
        for db in self._reading:
            db.close()

    def write(self, work: Callable[[Tx], T]) -> Coroutine[Any, Any, T]:
        """Run `work` in the writer's next transaction: see `Writer.call`."""
        return self._writer.call(work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a reading thread."""
        here = partial(self.read_here, work)
        return await asyncio.get_running_loop().run_in_executor(self._readers, here)

    def read_here(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a connection of the calling thread."""
        try:
            return work(self._reader())
        except sqlite3.Error as error:
            raise translated(error) from error

    def look_up(self, statement: str, **key: str) -> list[sqlite3.Row]:
        """Read one row by its key on the event loop: some 10 us, where a thread takes 100.

        In WAL mode a reader waits for nobody, and the pages of a key are few.
        """
        return self.read_here(lambda db: run(db, statement, **key))

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
