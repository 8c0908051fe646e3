"""SQLite's only write connection: commits many callers' work at once.

SQLite has one writer at a time whatever one does; a lock would make the callers queue for a
transaction, and an fsync, each. Here they queue for a place in the next transaction: durable
writes cost a share of one fsync.

What waits for the disk is in a thread, the commit; what is a few statements of some 10 us each is
not, since a thread pays for the interpreter lock again after every one of them, and so does the
event loop that it takes it from (`docs/concurrency.md` has the measurement).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from app import metrics
from app.errors import StorageError
from app.stores.base import News
from app.stores.sqlite_tx import SqliteTx, translated

T = TypeVar("T")

MAX_CALLS_PER_COMMIT = 64
MAX_SHORT_CALLS = 16
"""Of those on the event loop, which others wait for meanwhile: some 5 ms."""
BUSY_TIMEOUT_S = 10
"""So long a commit of another process is waited for."""


@dataclass(slots=True)
class _Call:
    rule: Callable[[SqliteTx], Any]
    future: asyncio.Future[Any]
    is_short: bool
    result: Any = None
    error: Exception | None = None
    told: list[tuple[str, Any]] = field(default_factory=list)

    def run(self, tx: SqliteTx) -> None:
        self.result = self.rule(tx)
        self.told = tx.told

    def answer(self) -> None:
        if self.future.cancelled():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Writer:
    """Runs rules one after the other, grouped into transactions; on one event loop."""

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
        self._calls: list[_Call] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="records-writer")
        self._closed = False
        self._wait_for_others(0)

    async def call(self, rule: Callable[[SqliteTx], T], *, is_short: bool) -> T:
        """Run a rule: see `Database.write`, and for a short one `Database.note`."""
        if self._closed:
            raise StorageError("The service is shutting down; nothing was written.")
        call = _Call(rule, asyncio.get_running_loop().create_future(), is_short)
        self._calls.append(call)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        result: T = await call.future
        return result

    async def close(self) -> None:
        """Finish the calls that were made."""
        self._closed = True
        if self._writing is not None:
            await self._writing
        self._thread.shutdown()
        self._db.close()

    async def _write_all(self) -> None:
        await asyncio.sleep(0)  # whoever else is ready now comes along
        while self._calls:
            calls = self._calls[:MAX_CALLS_PER_COMMIT]
            if all(call.is_short for call in calls):
                calls = calls[:MAX_SHORT_CALLS]
            del self._calls[: len(calls)]
            await self._commit(calls)
        self._writing = None

    async def _commit(self, calls: Sequence[_Call]) -> None:
        """Run calls in one transaction; if one of them fails, each in one of its own.

        Optimistic, because failures are rare: a savepoint around each call would cost as much as
        half of the calls do.
        """
        began = time.perf_counter()
        try:
            if all(call.is_short for call in calls):
                await self._begin()
                self._run(calls)
                await self._in_thread(self._db.execute, "COMMIT")
            else:
                await self._in_thread(self._transact, calls)
            metrics.transaction_ended(time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001 - it is the caller's, and goes to the caller
            # SQLite may have rolled back by itself (disk full).
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if len(calls) > 1:
                for call in calls:
                    await self._commit([call])
                return
            [call] = calls
            call.told = []
            call.error = translated(error) if isinstance(error, sqlite3.Error) else error
        self._deliver(calls)

    async def _begin(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            await self._in_thread(self._begin_after_others)

    def _begin_after_others(self) -> None:
        self._wait_for_others(BUSY_TIMEOUT_S)
        try:
            self._db.execute("BEGIN IMMEDIATE")
        finally:
            self._wait_for_others(0)

    def _wait_for_others(self, timeout_s: int) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {1000 * timeout_s}")

    def _transact(self, calls: Sequence[_Call]) -> None:
        self._begin_after_others()
        self._run(calls)
        self._db.execute("COMMIT")

    def _run(self, calls: Sequence[_Call]) -> None:
        for call in calls:
            call.run(SqliteTx(self._db, self._clock))

    async def _in_thread(self, work: Callable[..., object], *args: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _deliver(self, calls: Sequence[_Call]) -> None:
        """Tell what is durable now, then answer the callers."""
        news: dict[str, dict[Any, None]] = {}
        for call in calls:
            for topic, value in call.told:
                news.setdefault(topic, {})[value] = None
        if news:
            self._on_news({topic: list(values) for topic, values in news.items()})
        for call in calls:
            call.answer()
