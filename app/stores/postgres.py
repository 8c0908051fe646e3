"""Records in a PostgreSQL database, which any number of nodes on any number of machines share.

Each rule is a transaction of its own: in one, two nodes' rules would lock their jobs in no common
order. A node's are run one after the other, in the order in which they were asked for, as with
SQLite; but what it takes and how that ends need not wait for what comes in, since each waits for
the server's disk most of the time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog

from app.errors import StorageError
from app.stores.base import News, Tx
from app.stores.postgres_link import Link, Messages
from app.stores.postgres_schema import bring_up_to_date, tie

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

READERS = 2
"""Threads, and so connections, besides the two that write."""


class PostgresDatabase:
    """`Database` for any number of nodes. Open it on a running event loop."""

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], int] | None = None,
        messages: Messages | None = None,
    ) -> None:
        """Name the database by a URL as libpq takes it; tests have a clock of their own."""
        self._messages = messages
        self._url = url
        self._clock = clock
        self._given_up = threading.Event()
        self._closed = False
        self._links: list[Link] = []
        self._local = threading.local()
        self._listeners: list[Callable[[News], None]] = []
        self._writing: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Create or migrate the schema.

        Raises:
            StorageError: the database cannot be used, with a sentence for the operator.
        """
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="records-writer")
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="records-worker")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="records-reader")
        loop = asyncio.get_running_loop()
        install = self._messages.install if self._messages else None
        prepare = partial(bring_up_to_date, install=install)
        try:
            await loop.run_in_executor(self._writer, lambda: self._link().once(prepare))
        except BaseException:
            await self.close()
            raise

    def tie(self, folder: str, is_new: bool) -> bool:
        """Tie the database to a folder: see `postgres_schema.tie`. Not for the event loop."""
        link = Link(self._url, self._clock, self._given_up)  # asked once: no thread is to keep it
        with closing(link):
            return link.once(partial(tie, folder=folder, is_new=is_new))

    async def close(self) -> None:
        """Finish the writes that were asked for, then stop."""
        self._closed = True
        await asyncio.gather(*self._writing, return_exceptions=True)
        self._given_up.set()
        for threads in (self._writer, self._worker, self._readers):
            await asyncio.to_thread(threads.shutdown)
        for link in self._links:
            link.close()

    async def write(
        self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """See `Database.write`."""
        return await self.write_by(self._writer, lambda tx: rule(tx, *args, **kwargs))

    note = write

    def alongside(self) -> Alongside:
        """See `Database.alongside`."""
        return Alongside(self, self._worker)

    async def write_by(self, thread: ThreadPoolExecutor, rule: Callable[[Tx], T]) -> T:
        """`write`, with the connection of a thread."""
        if self._closed:
            raise StorageError("The service is shutting down; nothing was written.")
        task = asyncio.create_task(self._written(thread, rule))
        self._writing.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def read(
        self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """See `Database.read`."""
        here = partial(self._read, rule, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._readers, here)

    look = read

    def listen(self, listener: Callable[[News], None]) -> None:
        """See `Database.listen`."""
        self._listeners.append(listener)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._writing.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked was told, or has gone

    async def _written(self, thread: ThreadPoolExecutor, rule: Callable[[Tx], T]) -> T:
        loop = asyncio.get_running_loop()
        found, told = await loop.run_in_executor(thread, lambda: self._link().write(rule))
        if told:
            self._tell(told)
        return found

    def _tell(self, told: Iterable[tuple[str, Any]]) -> None:
        news: dict[str, dict[Any, None]] = {}
        for topic, value in told:
            news.setdefault(topic, {})[value] = None
        for listener in self._listeners:
            try:
                listener({topic: list(values) for topic, values in news.items()})
            except Exception:  # a bug; who wrote is to be answered, and the others told
                log.exception("listener_failed")

    def _read(self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._link().read(lambda tx: rule(tx, *args, **kwargs))

    def _link(self) -> Link:
        link: Link | None = getattr(self._local, "link", None)
        if link is None:
            link = self._local.link = Link(self._url, self._clock, self._given_up, self._messages)
            self._links.append(link)
        return link


class Alongside:
    """`Database`: another one's, with writes in an order of their own."""

    def __init__(self, whole: PostgresDatabase, thread: ThreadPoolExecutor) -> None:
        """Write by a thread that nobody else writes by."""
        self._whole, self._thread = whole, thread
        self.read, self.look, self.listen = whole.read, whole.look, whole.listen

    async def write(
        self, rule: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """See `Database.write`."""
        return await self._whole.write_by(self._thread, lambda tx: rule(tx, *args, **kwargs))

    note = write

    def alongside(self) -> Alongside:
        """Give this one."""
        return self
