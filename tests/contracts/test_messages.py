"""PgQueuer beneath the records: what it hands over, when, and what becomes of a message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import psycopg
import pytest
from pgqueuer import PsycopgDriver, Queries

from app.model.chunks import Chunk
from app.model.jobs import Lane
from app.nodes import chores
from app.nodes.chores import Chores
from app.queues import pgqueuer
from app.queues.pgqueuer import PgQueuerEngine
from app.records import ending, intake, queue
from app.stores.base import Tx
from app.stores.postgres import PostgresDatabase
from app.stores.postgres_link import Messages
from tests.contracts.records import Store
from tests.contracts.test_batches import batch, url
from tests.contracts.test_job_store import new_job, upload
from tests.postgres import Server

pytestmark = pytest.mark.anyio

MOST = 10_000


class Node(Store):
    """A node with an engine that hands it chunks, as many as it has room for."""

    db: PostgresDatabase  # type: ignore[assignment]

    def __init__(self, url: str) -> None:
        super().__init__(PostgresDatabase(url, messages=MESSAGES), MOST)  # type: ignore[arg-type]
        self.engine = PgQueuerEngine(url, self.db)
        self.room: dict[Lane, int] = {"cpu": 0, "io": 0}
        self._news_of_offers = asyncio.Condition()

    def serve(self, **room: int) -> None:
        self.room |= room  # type: ignore[arg-type]
        self.engine.serve(lambda lane: self.room[lane], self._offered)

    def _offered(self, _: Lane) -> None:
        async def tell() -> None:
            async with self._news_of_offers:
                self._news_of_offers.notify_all()

        self._telling = asyncio.ensure_future(tell())

    async def offered(self, count: int, lane: Lane = "cpu") -> list[int]:
        """Wait until so many chunks have been handed over; give their keys."""
        async with asyncio.timeout(20), self._news_of_offers:
            await self._news_of_offers.wait_for(lambda: len(self.engine.offers(lane)) >= count)
        return [offer.chunk for offer in self.engine.offers(lane)]

    async def take(self, count: int, lane: Lane = "cpu") -> list[Chunk]:
        keys = await self.offered(count, lane)
        chunks, left = await self.db.write(queue.take_named, self.node, keys, 10_000)
        self.engine.taken(lane, set(keys) - left)
        return chunks


MESSAGES = Messages(pgqueuer.install, pgqueuer.send)


class Deployment:
    def __init__(self, server: Server) -> None:
        self.server, self.database = server, server.new_database()

    @asynccontextmanager
    async def node(self) -> AsyncIterator[Node]:
        made = Node(self.server.url(self.database))
        await made.open()
        try:
            yield made
        finally:
            await made.engine.stop()
            await made.close()

    def messages(self) -> list[str]:
        found = self.server.execute(
            "SELECT status || ' ' || dedupe_key FROM pgqueuer ORDER BY id", self.database
        )
        return [str(row[0]) for row in found]

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Wait for what the engine does by itself, in its own time."""
        async with asyncio.timeout(20):
            while not wanted():  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.02)


@pytest.fixture
def deployment(postgres: Server) -> Deployment:
    return Deployment(postgres)


async def submit(node: Node, *names: str, client: str = "shop") -> None:
    new = replace(new_job(*map(upload, names), weigh=lambda _: 80.0), client=client)
    await node.db.write(intake.submit, new, MOST)


async def test_a_chunk_is_handed_to_one_node_and_its_message_goes(deployment: Deployment) -> None:
    async with deployment.node() as one, deployment.node() as other:
        one.serve(cpu=4)
        other.serve(cpu=4)
        await submit(one, "a")
        first, second = (asyncio.ensure_future(node.offered(1)) for node in (one, other))
        await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
        taker, late = (one, second) if first.done() else (other, first)
        late.cancel()
        [chunk] = await taker.take(1)
        assert [claim.name for claim in chunk.claims] == ["a.txt"]
        await deployment.until(lambda: deployment.messages() == [])


async def test_no_more_are_handed_over_than_there_is_room_for(deployment: Deployment) -> None:
    async with deployment.node() as node:
        await submit(node, *"abcdefg")
        node.serve(cpu=3)
        assert len(await node.offered(3)) == 3
        assert [m.split()[0] for m in deployment.messages()].count("queued") == 4
        assert len(await node.take(3)) == 3
        assert len(await node.offered(3)) == 3
        node.room["cpu"] = 0
        await node.take(3)
        assert len(deployment.messages()) >= 1
        assert node.engine.may_have_more("cpu")


async def test_clients_are_served_in_turns(deployment: Deployment) -> None:
    many, few = [f"m{n}" for n in range(200)], ["f"]
    async with deployment.node() as node:
        await submit(node, *many, client="many")
        await submit(node, *few, client="few")
        node.serve(cpu=16)
        order: list[str] = []
        while "f.txt" not in order:
            order += [claim.name for chunk in await node.take(1) for claim in chunk.claims]
        # A message knows turns to 64 items, not to one.
        assert order.index("f.txt") <= 64 + 16


async def test_lanes_do_not_wait_for_each_other(deployment: Deployment) -> None:
    async with deployment.node() as node:
        node.serve(cpu=0, io=2)
        await submit(node, "a", "b")
        await node.db.write(intake.submit, batch(url(1)), MOST)
        [chunk] = await node.take(1, "io")
        assert chunk.claims[0].url == "http://o/1"
        assert node.engine.offers("cpu") == node.engine.offers("io")  # both empty


async def test_what_is_undone_sends_nothing(deployment: Deployment) -> None:
    def broken(tx: Tx) -> None:
        intake.submit(tx, new_job(upload("a")), MOST)
        raise ValueError("undone")

    async with deployment.node() as node:
        with pytest.raises(ValueError, match="undone"):
            await node.db.write(broken)
        assert deployment.messages() == []


async def test_what_was_not_taken_goes_to_others_when_a_node_stops(deployment: Deployment) -> None:
    async with deployment.node() as one, deployment.node() as other:
        await submit(one, *"abc")
        one.serve(cpu=3)
        await one.offered(3)
        other.serve(cpu=3)
        await one.engine.stop()
        assert [len(chunk.claims) for chunk in await other.take(3)] == [1, 1, 1]


async def test_what_is_given_back_has_a_message_again(deployment: Deployment) -> None:
    async with deployment.node() as node:
        node.serve(cpu=1)
        await submit(node, "a")
        [chunk] = await node.take(1)
        await node.db.write(queue.give_back, node.node, [chunk])
        [again] = await node.take(1)
        assert (again.key, again.delivery) == (chunk.key, chunk.delivery + 1)


async def test_a_message_of_what_is_over_is_nothing_to_be_done(deployment: Deployment) -> None:
    async with deployment.node() as node:
        made = await node.db.write(intake.submit, new_job(upload("a")), MOST)
        await node.db.write(ending.delete, made.job.id)
        node.serve(cpu=1)
        assert await node.take(1) == []
        await deployment.until(lambda: deployment.messages() == [])


async def test_what_is_ready_without_a_message_is_sent_again(deployment: Deployment) -> None:
    async with deployment.node() as node:
        await submit(node, *"abc")
        deployment.server.execute("DELETE FROM pgqueuer WHERE id % 2 = 0", deployment.database)
        before = deployment.messages()
        assert await node.db.write(queue.send_again, 100) == 3 - len(before)
        assert sorted(deployment.messages()) == [f"queued chunk:{n}:0" for n in (1, 2, 3)]
        assert await node.db.write(queue.send_again, 100) == 0


async def test_the_engines_own_log_is_short(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "PURGE_EVERY_S", 0.05)
    logged = partial(deployment.server.execute, "SELECT id FROM pgqueuer_log", deployment.database)
    async with deployment.node() as node:
        await submit(node, "a")
        assert logged()
        node.serve(cpu=1)
        await node.take(1)
        blobs: Any = SimpleNamespace(may_remove=AsyncMock(return_value=False))
        keeping = Chores(
            node.db,
            node.node,
            blobs,
            grace_s=60,
            deliveries_s=60,
            messages=node.engine.tidy,
        )
        monkeypatch.setattr(keeping, "sweep", AsyncMock())
        async with keeping:
            await deployment.until(lambda: not deployment.messages() and not logged())


async def lost_all(deployment: Deployment) -> None:
    deployment.server.disconnect(deployment.database)


async def lost_listener(deployment: Deployment) -> None:
    deployment.server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{deployment.database}' AND query LIKE 'LISTEN%'"
    )


async def restarted(deployment: Deployment) -> None:
    def restart() -> None:
        deployment.server.stop("immediate")
        deployment.server.start()

    await asyncio.to_thread(restart)


@pytest.mark.parametrize("lose", [lost_all, lost_listener, restarted])
async def test_it_goes_on_after_its_connections_were_lost(
    deployment: Deployment, lose: Callable[[Deployment], Awaitable[None]]
) -> None:
    async with deployment.node() as node:
        node.serve(cpu=2)
        await submit(node, "a", "b")
        await node.offered(2)  # handed over, and then nobody knows of it any more
        await lose(deployment)
        await submit(node, "c")
        taken: set[str] = set()
        while taken != {"a.txt", "b.txt", "c.txt"}:
            taken |= {claim.name for chunk in await node.take(1) for claim in chunk.claims}


async def test_the_engine_finds_its_tables_as_its_version_wants_them(
    deployment: Deployment,
) -> None:
    async with deployment.node():
        url = deployment.server.url(deployment.database)
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
            queries = Queries(PsycopgDriver(db), pgqueuer._ENVIRONMENT, pgqueuer._BUILDER)
            assert not (await queries.plan_upgrade()).statements
            await db.execute("DROP INDEX pgqueuer_ep_ea_idx")
            assert (await queries.plan_upgrade()).statements
    async with deployment.node() as node:  # one that is behind is brought up to date
        await submit(node, "a")
        node.serve(cpu=1)
        assert len(await node.take(1)) == 1
        found = "SELECT count(*) FROM pg_indexes WHERE indexname = 'pgqueuer_ep_ea_idx'"
        assert deployment.server.execute(found, deployment.database) == [(1,)]


async def test_what_is_sent_is_heard_of_without_asking_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgqueuer, "POLL_EVERY_S", 60.0)
    async with deployment.node() as sender, deployment.node() as node:
        node.serve(cpu=3)
        await node.engine.tidy()
        for count in (1, 7, 1, 2):
            sending = [asyncio.create_task(submit(sender, "a.txt")) for _ in range(count)]
            taken = 0
            while taken < count:  # while others are being sent
                taken += len(await node.take(1))
            await asyncio.gather(*sending)
            await deployment.until(lambda: not deployment.messages())


async def test_only_the_engine_does_not_wait_for_the_disk(deployment: Deployment) -> None:
    shown = "SHOW synchronous_commit"
    async with deployment.node() as node:
        node.serve(cpu=1)
        await submit(node, "a.txt")
        await node.offered(1)
        assert node.engine._queries is not None
        assert await node.engine._queries.driver.fetch(shown) == [{"synchronous_commit": "off"}]

        def of_records(tx: Any) -> str:
            [[said]] = tx.db.execute(shown).fetchall()
            return str(said)

        assert await node.db.write(of_records) == "on"
