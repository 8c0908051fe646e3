"""Nodes on one database: who is dead, who comes back, and who hears of what another commits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.api.download import download
from app.errors import StorageError
from app.model.blobs import NamedBlob
from app.model.jobs import Counts, Job
from app.model.shares import LEAST, WHOLE, Share
from app.nodes.node import Node
from app.nodes.waiting import LOOK_AGAIN_S, LOOK_EVERY_S, Waiters, pause_after, watch
from app.records import ending, files, nodes, outcome, queue, reading, topics
from app.stores.sqlite import SqliteDatabase
from tests.contracts.test_job_store import blob, settle
from tests.work.test_chunks import At, alone, at_work, opened, replace_writes

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(anyio_backend: str, tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    made = SqliteDatabase(tmp_path / "offload.db")
    await made.open()
    yield made
    await made.close()


async def there(database: SqliteDatabase) -> set[str]:
    return {seen.id for seen in await database.read(nodes.seen)}


async def beat_of(database: SqliteDatabase, node: Node) -> int:
    return next(seen.beat for seen in await database.read(nodes.seen) if seen.id == node.id)


# -- who lives -------------------------------------------------------------------------------------


async def test_who_was_given_up_and_lives_is_there_again_and_its_work_is_void(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.work.chunks.LOOK_EVERY_S", 0.01)
    async with opened(tmp_path) as other, at_work(tmp_path, cpu=1) as at:
        at.node._beating.cancel()
        job = await at.submit(alone(0))
        await at.gates.until(0)
        beat = await beat_of(other.database, at.node)
        assert await other.database.write(outcome.bury, at.node.id, beat) == 1
        await at.gates.until()  # it has seen that this is not its any more
        assert at.gates.canceled == [0]
        assert await there(other.database) == {other.node.id}
        await at.node.beat()
        assert await there(other.database) == {other.node.id, at.node.id}
        await at.gates.until(0)
        assert (await at.gates.pass_all(job, at)).counts == Counts(succeeded=1)
        [item], _ = await at.database.read(reading.list_items, job.id)
        assert item.attempt == 2


async def test_who_starts_alone_buries_at_once_who_had_its_roles_and_nobody_else(
    database: SqliteDatabase,
) -> None:
    for name, roles in (("a", "work"), ("b", "api"), ("c", "api work")):
        await database.write(nodes.join, name, frozenset(roles.split()))
    async with Node(database, {"work"}, alone=True) as node:
        assert await there(database) == {"b", node.id}
    assert await there(database) == {"b"}
    async with Node(database, {"work"}, alone=False) as node:
        await database.write(nodes.join, "d", frozenset({"work"}))
        assert await there(database) == {"b", "d", node.id}


async def test_no_two_nodes_have_one_name(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(["twice", "twice", "twice", "once"])
    monkeypatch.setattr("app.nodes.node._new_id", lambda: next(names))
    async with (
        Node(database, {"work"}, alone=False) as first,
        Node(database, {"work"}, alone=False) as second,
    ):
        assert (first.id, second.id) == ("twice", "once")
        assert await there(database) == {"twice", "once"}


async def test_who_leaves_gives_back_what_it_has_and_nobody_pays_for_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as other:
        async with opened(tmp_path) as at:
            job = await at.submit(alone(0), alone(1))
            taken = await at.database.write(queue.take, at.node.id, "cpu", 9)
            claims = [claim for chunk in taken for claim in chunk.claims]
            await at.database.write(queue.begun, at.node.id, [(claims[0], 0.0)])
        assert (await other.job_now(job)).counts == Counts(queued=2)
        again = await other.database.write(queue.take, other.node.id, "cpu", 9)
        assert [chunk.deaths for chunk in again] == [0, 0]
        # What had begun is begun once more.
        assert [claim.attempt for chunk in again for claim in chunk.claims] == [2, 1]


async def test_a_beat_that_cannot_be_written_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.nodes.node.BEAT_EVERY_S", 0.001)
    async with opened(tmp_path) as at:
        write, failed = at.database.write, asyncio.Event()

        async def full_once(rule: Any, *args: Any) -> Any:
            if rule is nodes.beat and not failed.is_set():
                failed.set()
                raise StorageError("The disk is full.")
            return await write(rule, *args)

        replace_writes(monkeypatch, at, full_once)
        await failed.wait()
        before = await beat_of(at.database, at.node)
        async with asyncio.timeout(10):
            while await beat_of(at.database, at.node) == before:  # noqa: ASYNC110 - a row
                await asyncio.sleep(0)


async def test_a_node_goes_by_the_clock_of_the_records_and_not_by_its_own(tmp_path: Path) -> None:
    ahead_ms = 3_600_000
    clock = lambda: time.time_ns() // 1_000_000 + ahead_ms  # noqa: E731 - as short as it is
    records = SqliteDatabase(tmp_path / "offload.db", clock=clock)
    await records.open()
    async with Node(records, {"work"}, alone=True) as node:
        assert abs((node.now() - datetime.now(UTC)).total_seconds() - 3600) < 5
        ahead_ms = 0  # it was this one that was off, and is put right
        await node.beat()
        assert abs((node.now() - datetime.now(UTC)).total_seconds()) < 5
    await records.close()


async def test_what_is_read_is_kept_by_the_clock_of_the_records(tmp_path: Path) -> None:
    day_s, ahead_ms = 86_400, 0
    clock = lambda: time.time_ns() // 1_000_000 + ahead_ms  # noqa: E731 - as short as it is
    records = SqliteDatabase(tmp_path / "offload.db", clock=clock)
    await records.open()
    async with Node(records, {"api"}, alone=True) as node:
        jobs = SimpleNamespace(retention_s=day_s)
        runtime: Any = SimpleNamespace(
            database=records, node=node, blobs=None, settings=SimpleNamespace(jobs=jobs)
        )
        file = await records.write(files.add, "shop", NamedBlob(blob("x"), "x.txt"), day_s)
        ahead_ms = 12 * 3_600_000  # half of its time has gone by, and not for this machine
        await node.beat()
        await download(runtime, file)
        kept = await records.read(files.get, file.id)
        assert kept is not None
        assert file.expires_at is not None
        assert kept.expires_at is not None
        assert kept.expires_at - file.expires_at >= timedelta(hours=12)
    await records.close()


async def test_those_who_work_share_what_is_limited_for_all(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.nodes.node.DEAD_AFTER_S", 1e-9)
    monkeypatch.setattr("app.nodes.node.BEAT_EVERY_S", 3600.0)
    told: list[Share] = []
    async with Node(database, {"api", "work"}, alone=False) as first, AsyncExitStack() as stack:
        first.shared(told.append)
        await first.beat()
        second, door = [
            await stack.enter_async_context(Node(database, {role}, alone=False))
            for role in ("work", "api")
        ]
        assert (told, second.share) == ([WHOLE], LEAST)
        halves = {Share(0, 2), Share(1, 2)}
        for known in (False, True):
            for node in (first, second, door):
                await node.beat()
            # The others have a smaller share before the new one has more than the least.
            assert first.share in halves
            assert (second.share in halves) == known
        assert {first.share, second.share} == halves
        await door.beat()
        await first.beat()  # and nothing of the second: it is dead
        assert told[-1] == first.share == WHOLE
        await second.beat()  # it is not
        assert second.share == LEAST
        await door.beat()
        await first.beat()
        await second.beat()
        assert {first.share, second.share} == halves
        assert told == [WHOLE, first.share, WHOLE, first.share]


# -- who hears of it -------------------------------------------------------------------------------


def waiters(at: At, *, for_end: bool) -> Waiters:
    topic = topics.OVER if for_end else topics.JOB
    mark: Callable[[Any], Any] | None = None if for_end else attrgetter("seq")
    return Waiters(at.database, topic, reading.seqs, mark)


def waiting(at: At, made: Waiters, job: Job, holds: Callable[[Job], bool]) -> asyncio.Task[Any]:
    async def read(job_id: str) -> Job | None:
        return await at.database.look(reading.get_job, job_id)

    return asyncio.create_task(made.until(job.id, read, holds, 60))


@pytest.mark.parametrize("for_end", [False, True])
@pytest.mark.parametrize("ends", [ending.cancel, ending.delete])
async def test_a_commit_elsewhere_wakes_who_waits_here_soon(
    tmp_path: Path, database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch,
    for_end: bool, ends: Any,
) -> None:  # fmt: skip
    assert LOOK_EVERY_S <= 0.3
    async with opened(tmp_path) as at:
        made = waiters(at, for_end=for_end)
        job = await at.submit(alone(0))
        read, looks = at.database.read, 0

        async def full_at_first(rule: Any, *args: Any) -> Any:
            nonlocal looks
            if rule is reading.seqs:
                looks += 1
                if looks == 1:
                    raise StorageError("The disk is full.")
            return await read(rule, *args)

        monkeypatch.setattr(at.database, "read", full_at_first)
        watching = asyncio.create_task(watch([made], hasty=True))
        task = waiting(at, made, job, lambda now: now.status.done)
        await settle()
        await database.write(ends, job.id)
        async with asyncio.timeout(10):
            found = await task
        assert looks >= 2
        assert (found is None) == (ends is ending.delete)
        assert made._by_id == {}
        assert made._marks == {}
        watching.cancel()


def test_looks_take_little_of_the_time_and_are_never_far_apart() -> None:
    assert pause_after(0) == pause_after(0.001) == LOOK_AGAIN_S
    assert pause_after(0.02) == pytest.approx(0.1)
    assert pause_after(1) == LOOK_EVERY_S


async def test_who_waits_for_an_end_is_not_woken_before_it(
    tmp_path: Path, database: SqliteDatabase
) -> None:
    async with opened(tmp_path) as at:
        made = waiters(at, for_end=True)
        job = await at.submit(alone(0))
        reads = 0

        def holds(now: Job) -> bool:
            nonlocal reads
            reads += 1
            return now.status.done

        task = waiting(at, made, job, holds)
        await settle()
        [chunk] = await at.database.write(queue.take, at.node.id, "cpu", 9)
        await at.database.write(queue.begun, at.node.id, [(chunk.claims[0], 0.0)])
        for _ in range(3):
            await made.look()
            await settle()
        assert reads == 1
        await database.write(ending.cancel, job.id)
        await made.look()
        assert (await task).counts == Counts(canceled=1)


async def test_nobody_waits_once_they_are_let_go(tmp_path: Path) -> None:
    async with opened(tmp_path) as at:
        made = waiters(at, for_end=True)
        job = await at.submit(alone(0))
        tasks = [waiting(at, made, job, lambda now: now.status.done) for _ in range(3)]
        await settle()
        made.let_go()
        tasks.append(waiting(at, made, job, lambda now: now.status.done))
        async with asyncio.timeout(10):
            found = await asyncio.gather(*tasks)
        assert [one.counts for one in found] == [Counts(queued=1)] * 4
