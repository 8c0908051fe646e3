"""PgQueuer: messages in the records' own database, sent in the transaction that they are of.

A message is the key of a chunk that is ready. It is there until a node has taken the chunk; if the
node dies before, another one gets it. From then on the records say whose the chunk is: one lease
and one burial, here as with SQLite.

NOTIFY is a hint (PgQueuer polls beneath it), and so is a message: one that came twice finds its
chunk taken, and what is ready without one is sent again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import structlog
from pgqueuer import Job, PsycopgDriver, Queries, QueueManager, RetryRequested
from pgqueuer.adapters.drivers.psycopg import SyncPsycopgDriver
from pgqueuer.adapters.persistence.qb import (
    DBSettings,
    Durability,
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import SyncQueries
from psycopg.conninfo import conninfo_to_dict

from app.model.jobs import Lane
from app.queues.base import Offer
from app.records.queue import send_again
from app.stores.base import Database, Row
from app.stores.postgres_link import DEFAULTS
from app.tasks import cancel

log = structlog.get_logger(__name__)
logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)  # what matters of it is said here

LANES: tuple[Lane, ...] = ("cpu", "io")
LOST_AFTER_S = 6.0
"""A message that a node has been handed and shows no sign of is another's after so long."""
POLL_EVERY_S = 0.5
AGAIN_AFTER_S = 1.0
AT_ONCE = 1_000
MOST_AT_ONCE = 16
MANY = 2_000
TURNS_A_STEP = 6
"""Bits: a message's priority has 32, the turns of a busy deployment pass those of an item each."""
_TABLES = DBSettings(
    channel="ch_pgqueuer",
    function="fn_pgqueuer_changed",
    statistics_table="pgqueuer_statistics",
    queue_status_type="pgqueuer_status",
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    trigger="tg_pgqueuer_changed",
    schedules_table="pgqueuer_schedules",
    durability=Durability.balanced,  # of messages everything is on disk; its own log need not be
)
_ENVIRONMENT, _BUILDER = QueryBuilderEnvironment(_TABLES), QueryQueueBuilder(_TABLES)


async def _run(manager: QueueManager) -> None:
    await manager.run(
        dequeue_timeout=timedelta(seconds=POLL_EVERY_S),
        batch_size=MOST_AT_ONCE,
        heartbeat_timeout=timedelta(seconds=LOST_AFTER_S),
        log_aggregation_interval=timedelta(0),
    )


def install(db: psycopg.Connection[Any]) -> None:
    """Make the engine's tables, unless they are there. For a transaction that others wait for."""
    [[there]] = db.execute("SELECT to_regclass(%s) IS NOT NULL", [_TABLES.queue_table]).fetchall()
    if not there:
        db.execute(_ENVIRONMENT.build_install_query().encode())
        db.execute(_ENVIRONMENT.build_optimize_autovacuum_query().encode())


def send(db: psycopg.Connection[Any], chunks: Sequence[Row]) -> None:
    """Send messages of chunks that are ready, in the transaction that `db` is in."""
    queries = SyncQueries(SyncPsycopgDriver(db), _BUILDER)
    queries.enqueue(
        [str(chunk["lane"]) for chunk in chunks],
        [str(chunk["pk"]).encode() for chunk in chunks],
        [max(chunk["priority"] >> TURNS_A_STEP, -(1 << 31)) for chunk in chunks],
        dedupe_key=[f"chunk:{chunk['pk']}:{chunk['delivery']}" for chunk in chunks],
        on_conflict="skip",
    )
    if len(chunks) >= MANY:  # a plan made for the table as it was takes ten times as long
        db.execute(f"ANALYZE {_TABLES.queue_table}".encode())


class _Driver(PsycopgDriver):
    """Listens on one connection and asks on another: who waits for news holds its connection."""

    def __init__(
        self,
        listening: psycopg.AsyncConnection[Any],
        asking: psycopg.AsyncConnection[Any],
        lost: Callable[[], None],
    ) -> None:
        super().__init__(listening)
        self._asking, self._lost = PsycopgDriver(asking), lost
        self._adding = asyncio.Lock()

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None:
        """Tell of what there is to be had: what nodes take and are done with has its NOTIFY too."""

        def told(payload: str | bytes | bytearray) -> None:
            if json.loads(payload).get("operation") not in ("update", "delete"):
                callback(payload)

        async with self._adding:  # of two that begin together, one would hear nothing
            await super().add_listener(channel, told)

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        with self._watched():
            return await self._asking.fetch(query, *args)

    async def execute(self, query: str, *args: object) -> str:
        with self._watched():
            return await self._asking.execute(query, *args)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            if self._connection.closed:
                raise psycopg.OperationalError("The connection that listens was lost.")
            yield
        except psycopg.Error:
            self._lost()
            raise


@dataclass
class _Gate(Queries):
    """Asks for messages only while there is room, and for as many."""

    queue: PgQueuerEngine = field(kw_only=True)
    lane: Lane = field(kw_only=True)

    async def dequeue(self, batch_size: int, *args: Any, **kwargs: Any) -> list[Job]:
        asked = min(batch_size, await self.queue.room_for(self.lane))
        if not asked:
            return []
        found = await super().dequeue(asked, *args, **kwargs)
        self.queue.found(self.lane, asked, len(found))
        return found

    # What the engine would ask for after each empty answer, to come again sooner: of a message that
    # was sent since then there has been a NOTIFY too, and none of ours is deferred.

    async def eligible_queued_work(self, _entrypoints: list[Any]) -> int:
        return 0

    async def queued_work(self, _entrypoints: list[Any]) -> int:
        return 0

    async def next_deferred_eta(self, _entrypoints: list[Any]) -> timedelta | None:
        return None


class PgQueuerEngine:
    """`Engine` on PgQueuer: see there."""

    def __init__(self, url: str, database: Database) -> None:
        """Name the database of the records."""
        self._database = database
        self._said = {**DEFAULTS, **conninfo_to_dict(url)}
        self._offers: dict[Lane, deque[Offer]] = {lane: deque() for lane in LANES}
        self._coming = dict.fromkeys(LANES, 0)
        """Messages that the engine was given and that have not come to us yet."""
        self._may_have_more = dict.fromkeys(LANES, True)
        self._room_made = asyncio.Event()
        self._stopping = False
        self._managers: list[QueueManager] = []
        self._serving: asyncio.Task[None] | None = None
        self._queries: Queries | None = None
        self._is_lost = False

    def serve(self, room: Callable[[Lane], int], offered: Callable[[Lane], None]) -> None:
        """See `Engine.serve`."""
        self._room, self._offered = room, offered
        self._serving = asyncio.create_task(self._serve())

    def offers(self, lane: Lane) -> Sequence[Offer]:
        """See `Engine.offers`."""
        return self._offers[lane]

    def taken(self, lane: Lane, chunks: Collection[int]) -> None:
        """See `Engine.taken`."""
        for offer in list(self._offers[lane]):
            if offer.chunk in chunks:
                self._offers[lane].remove(offer)
                offer.settle()
        self.room_made()

    def may_have_more(self, lane: Lane) -> bool:
        """See `Engine.may_have_more`."""
        return self._may_have_more[lane] or bool(self._offers[lane])

    def room_made(self) -> None:
        """See `Engine.room_made`."""
        self._room_made.set()

    async def tidy(self) -> None:
        """See `Engine.tidy`; PgQueuer's own log is kept short too."""
        while await self._database.write(send_again, AT_ONCE) == AT_ONCE:
            pass
        if self._queries is not None:
            with suppress(psycopg.Error):
                await self._queries.clear_queue_log(list(LANES))

    async def stop(self) -> None:
        """See `Engine.stop`."""
        self._stopping = True
        self.room_made()
        self._give_back()
        for manager in self._managers:
            manager.shutdown.set()
        if self._serving is not None:
            with suppress(TimeoutError):  # the others get them by and by
                async with asyncio.timeout(LOST_AFTER_S):
                    await asyncio.shield(self._serving)
            await cancel(self._serving)

    # -- the engine's side -------------------------------------------------------------------

    async def room_for(self, lane: Lane) -> int:
        """Wait until there is room for chunks of a lane; 0: never again."""
        while not self._stopping:
            self._room_made.clear()
            waiting = self._coming[lane] or self._offers[lane]
            if not waiting and (room := self._room(lane)) > 0:
                return room
            try:
                async with asyncio.timeout(POLL_EVERY_S):
                    await self._room_made.wait()
            except TimeoutError:
                self._coming[lane] = 0  # one that it had already does not come again
        return 0

    def found(self, lane: Lane, asked: int, given: int) -> None:
        """Note what there was for who asked."""
        self._may_have_more[lane] = given >= asked
        self._coming[lane] = given

    async def _handed(self, job: Job) -> None:
        """Hold a message until its chunk is taken."""
        lane: Lane = "io" if job.entrypoint == "io" else "cpu"
        self._coming[lane] = max(0, self._coming[lane] - 1)
        offer = Offer(lane, int(job.payload or b"0"))
        if self._stopping or self._is_lost:
            raise RetryRequested(timedelta(0))
        self._offers[lane].append(offer)
        self._offered(lane)
        await offer.settled.wait()
        if offer.is_back:
            raise RetryRequested(timedelta(0))

    def _give_back(self) -> None:
        for offers in self._offers.values():
            while offers:
                offers.popleft().settle(is_back=True)

    async def _serve(self) -> None:
        """Serve until `stop`, anew after whatever goes wrong."""
        while not self._stopping:
            try:
                await self._connected()
            except* Exception as errors:  # noqa: BLE001 - whatever it was, chunks must come again
                log.warning("queue_lost", detail=str(errors.exceptions[0])[:200])
            if not self._stopping:
                await asyncio.sleep(AGAIN_AFTER_S)

    async def _connected(self) -> None:
        async with AsyncExitStack() as stack:
            listening, asking = await self._connect(stack), await self._connect(stack)
            driver = _Driver(listening, asking, self._lost)
            self._queries = queries = Queries(driver, _ENVIRONMENT, _BUILDER)
            if (await queries.plan_upgrade()).statements:  # this PgQueuer is newer than its tables
                await queries.upgrade()
            self._managers = [self._manager(driver, lane) for lane in LANES]
            self._is_lost = False
            async with asyncio.TaskGroup() as group:
                for manager in self._managers:
                    group.create_task(_run(manager))

    def _lost(self) -> None:
        """Have nobody wait for what this connection brought: the engine waits for its waiters."""
        self._is_lost = True
        self._give_back()

    def _manager(self, driver: PsycopgDriver, lane: Lane) -> QueueManager:
        schedules = QuerySchedulerBuilder(_TABLES)
        gate = _Gate(driver, _ENVIRONMENT, _BUILDER, schedules, queue=self, lane=lane)
        manager = QueueManager(gate, channel=_TABLES.channel)
        manager.entrypoint(lane)(self._handed)
        return manager

    async def _connect(self, stack: AsyncExitStack) -> psycopg.AsyncConnection[Any]:
        try:
            connection = await psycopg.AsyncConnection.connect(**self._said | self._hints())
        except psycopg.OperationalError as error:
            if "unsupported startup parameter" not in str(error):
                raise
            connection = await psycopg.AsyncConnection.connect(**self._said)  # through PgBouncer
        await connection.set_autocommit(True)
        connection.prepare_threshold = None  # what is between us and the server may not know them
        return await stack.enter_async_context(connection)

    def _hints(self) -> dict[str, str]:
        """Ask that nothing waits for the disk: a message whose end is then forgotten comes again.

        Not with SET: in transaction mode PgBouncer hands the connection on to who writes records.
        """
        return {"options": f"{self._said.get('options', '')} -c synchronous_commit=off".strip()}
