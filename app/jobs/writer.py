"""One thread that owns SQLite's only write connection, and commits many callers' work at once.

SQLite has one writer at a time whatever one does; a lock would make the callers queue for a
transaction, and an fsync, each. Here they queue for a place in the next transaction: durable
writes cost a share of one fsync (`docs/concurrency.md` has the measurement).
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from app.errors import StorageError, StorageFull

T = TypeVar("T")

MAX_CALLS_PER_COMMIT = 64


@dataclass(slots=True)
class Tx:
    """The transaction that a call runs in."""

    db: sqlite3.Connection
    _after_commit: list[Callable[[], None]] = field(default_factory=list)

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` on the event loop once this call's changes are durable, else never."""
        self._after_commit.append(action)


@dataclass(slots=True)
class _Call:
    work: Callable[[Tx], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None
    actions: list[Callable[[], None]] = field(default_factory=list)

    def deliver(self) -> None:
        """On the event loop: run what waited for the commit, then answer the caller."""
        for action in self.actions:
            action()
        if self.future.cancelled():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Writer:
    """Runs calls one after the other in the writer thread, grouped into transactions."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take over `db`, which must be in autocommit mode; `close` closes it."""
        self._db = db
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="records-writer", daemon=True)
        self._thread.start()

    async def call(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in the writer thread; return once its changes are on disk.

        What `work` raises reaches the caller and undoes this call only. A caller that is
        cancelled meanwhile does not undo it. `work` may run twice, the first time undone.
        """
        if self._closed:
            raise StorageError("The service is shutting down; nothing was written.")
        loop = asyncio.get_running_loop()
        call = _Call(work, loop, loop.create_future())
        self._calls.put(call)
        result: T = await call.future
        return result

    async def close(self) -> None:
        """Finish the calls that were made, and end the thread."""
        self._closed = True
        self._calls.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch = [self._calls.get()]
            while len(batch) < MAX_CALLS_PER_COMMIT and not self._calls.empty():
                batch.append(self._calls.get())
            stopping = None in batch
            if calls := [call for call in batch if call is not None]:
                self._commit(calls)
        self._db.close()

    def _commit(self, calls: list[_Call]) -> None:
        """Run calls in one transaction; if one of them fails, each in one of its own.

        Optimistic, because failures are rare: a savepoint around each call would cost as much as
        half of the calls do.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for call in calls:
                tx = Tx(self._db)
                call.result = call.work(tx)
                call.actions = tx._after_commit  # noqa: SLF001 - this module's own record
            self._db.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - it is the caller's, and goes to the caller
            # SQLite may have rolled back by itself (disk full).
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if len(calls) > 1:
                for call in calls:
                    self._commit([call])
                return
            [call] = calls
            call.actions = []
            call.error = translated(error) if isinstance(error, sqlite3.Error) else error
        by_loop: dict[asyncio.AbstractEventLoop, list[_Call]] = {}
        for call in calls:
            by_loop.setdefault(call.loop, []).append(call)
        for loop, done in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_deliver, done)


def _deliver(calls: list[_Call]) -> None:
    for call in calls:
        call.deliver()


def translated(error: sqlite3.Error) -> StorageError:
    """Say in this service's words what SQLite could not do."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return StorageFull("The disk that records are kept on is full.", log_detail=str(error))
    return StorageError("The record could not be written or read.", log_detail=str(error))
