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

from app.errors import StorageError
from app.stores.base import News
from app.stores.sqlite_tx import SqliteTx, translated

T = TypeVar("T")

MAX_CALLS_PER_COMMIT = 64


@dataclass(slots=True)
class _Call:
    rule: Callable[[SqliteTx], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None
    told: list[tuple[str, Any]] = field(default_factory=list)

    def answer(self) -> None:
        if self.future.cancelled():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Writer:
    """Runs rules one after the other in the writer thread, grouped into transactions."""

    def __init__(
        self,
        db: sqlite3.Connection,
        clock: Callable[[], int],
        on_news: Callable[[News], None],
    ) -> None:
        """Take over `db`, which must be in autocommit mode; `close` closes it."""
        self._db = db
        self._clock = clock
        self._on_news = on_news
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="records-writer", daemon=True)
        self._thread.start()

    async def call(self, rule: Callable[[SqliteTx], T]) -> T:
        """Run a rule in the writer thread: see `Database.write`."""
        if self._closed:
            raise StorageError("The service is shutting down; nothing was written.")
        loop = asyncio.get_running_loop()
        call = _Call(rule, loop, loop.create_future())
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
                tx = SqliteTx(self._db, self._clock)
                call.result = call.rule(tx)
                call.told = tx.told
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
            call.told = []
            call.error = translated(error) if isinstance(error, sqlite3.Error) else error
        by_loop: dict[asyncio.AbstractEventLoop, list[_Call]] = {}
        for call in calls:
            by_loop.setdefault(call.loop, []).append(call)
        for loop, done in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._deliver, done)

    def _deliver(self, calls: list[_Call]) -> None:
        """On the event loop: tell what is durable now, then answer the callers."""
        news: dict[str, dict[Any, None]] = {}
        for call in calls:
            for topic, value in call.told:
                news.setdefault(topic, {})[value] = None
        if news:
            self._on_news({topic: list(values) for topic, values in news.items()})
        for call in calls:
            call.answer()
