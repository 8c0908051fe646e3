"""The embedded engine over real records: slots, wakes, cancels, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.engines.local import LocalEngine
from app.jobs.sqlite import SqliteJobStore
from app.model import Claim, Counts, Done, Job, JobStatus, Lane
from tests.contracts.backends import SqliteBackend
from tests.contracts.test_job_store import job_now, link, settle, submitted, upload

pytestmark = pytest.mark.anyio


class Work:
    """Items at work, each until it is let go; like the runner, it gives back what is cancelled."""

    def __init__(self, store: SqliteJobStore) -> None:
        self.store = store
        self.gates: dict[int, asyncio.Event] = {}
        self.most_at_once = 0
        self.cancelled: list[int] = []
        self._changed = asyncio.Event()

    async def __call__(self, claim: Claim) -> None:
        gate = self.gates[claim.index] = asyncio.Event()
        self.most_at_once = max(self.most_at_once, len(self.gates))
        self._changed.set()
        try:
            await gate.wait()
            await self.store.finish(claim, Done((), {}))
        except asyncio.CancelledError:
            await asyncio.shield(self.store.release([claim]))
            self.cancelled.append(claim.index)
            raise
        finally:
            del self.gates[claim.index]
            self._changed.set()

    async def until(self, *indexes: int) -> None:
        """Wait until exactly these items are at work."""
        async with asyncio.timeout(10):
            while set(self.gates) != set(indexes):
                self._changed.clear()
                await self._changed.wait()

    def let_go(self, *indexes: int) -> None:
        for index in indexes:
            self.gates[index].set()


class Running:
    """An engine at work."""

    def __init__(self, store: SqliteJobStore) -> None:
        self.store = store
        self.engine = LocalEngine()
        self.work = Work(store)
        self.stop = asyncio.Event()
        self.task: asyncio.Task[list[Claim]]


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    made = SqliteBackend(tmp_path)
    yield made
    await made.close()


@asynccontextmanager
async def running(records: SqliteBackend, **slots: int) -> AsyncIterator[Running]:
    made = Running(await records.open())
    records.on_queued = made.engine.wake
    lanes: dict[Lane, int] = {"io": slots.get("io", 0), "cpu": slots.get("cpu", 0)}
    made.task = asyncio.create_task(made.engine.run(made.store.claim, made.work, lanes, made.stop))
    try:
        yield made
    finally:
        made.task.cancel()
        await asyncio.gather(made.task, return_exceptions=True)


async def done(store: SqliteJobStore, job: Job) -> Job:
    async with asyncio.timeout(10):
        while not job.status.done:
            job = await store.changed(job.id, job.seq, 10) or job
    return job


async def test_no_more_items_run_at_once_than_there_are_slots(records: SqliteBackend) -> None:
    async with running(records, cpu=3) as on:
        job = await submitted(on.store, *(upload(str(n)) for n in range(10)))
        for first in range(10):
            await on.work.until(*range(first, min(first + 3, 10)))
            assert (await job_now(on.store, job)).counts.running <= 3
            on.work.let_go(first)
        assert (await done(on.store, job)).status is JobStatus.SUCCEEDED
        assert on.work.most_at_once == 3


async def test_lanes_do_not_wait_for_each_other(records: SqliteBackend) -> None:
    async with running(records, cpu=1, io=2) as on:
        await submitted(on.store, upload("a"), upload("b"), *(link(n) for n in range(3)))
        await on.work.until(0, 2, 3)
        on.work.let_go(3)
        await on.work.until(0, 2, 4)
        on.work.let_go(0)
        await on.work.until(1, 2, 4)


async def test_an_idle_engine_wakes_for_what_is_submitted(records: SqliteBackend) -> None:
    async with running(records, cpu=2) as on:
        for _ in range(20):
            await settle()
            job = await submitted(on.store)
            await on.work.until(0)
            on.work.let_go(0)
            await done(on.store, job)
            await on.work.until()


async def test_what_is_submitted_while_the_queue_is_read_is_not_overlooked(
    records: SqliteBackend,
) -> None:
    async with running(records, cpu=1) as on:
        for pauses in range(40):
            submitting = asyncio.create_task(submitted(on.store))
            for _ in range(pauses):
                await asyncio.sleep(0)
            on.engine.wake()
            await on.work.until(0)
            on.work.let_go(0)
            await done(on.store, await submitting)
            await on.work.until()


async def test_a_running_item_is_cancelled_and_its_slot_is_free(records: SqliteBackend) -> None:
    async with running(records, cpu=1) as on:
        job = await submitted(on.store, upload("a"))
        await on.work.until(0)
        on.engine.cancel(await on.store.cancel(job.id))
        await on.work.until()
        assert on.work.cancelled == [0]
        assert (await job_now(on.store, job)).status is JobStatus.CANCELED
        other = await submitted(on.store)
        await on.work.until(0)
        on.work.let_go(0)
        assert (await done(on.store, other)).status is JobStatus.SUCCEEDED


async def test_an_item_that_was_claimed_and_not_begun_never_begins_once_cancelled(
    records: SqliteBackend,
) -> None:
    store, engine, stop = await records.open(), LocalEngine(), asyncio.Event()
    begun: list[str] = []
    job = await submitted(store, upload("a"), upload("b"), upload("c"))

    async def claim_and_cancel(lane: Lane, limit: int) -> list[Claim]:
        """Lets the cancel come when the items are claimed and the engine is about to hear of it."""
        claims = await store.claim(lane, limit)
        if claims and claims[0].job_id == job.id:
            keys = await store.cancel(job.id)
            asyncio.get_running_loop().call_soon(engine.cancel, keys)
        return claims

    async def execute(claim: Claim) -> None:
        begun.append(claim.job_id)
        await store.finish(claim, Done((), {}))

    records.on_queued = engine.wake
    working = asyncio.create_task(engine.run(claim_and_cancel, execute, {"cpu": 3}, stop))
    other = await submitted(store)
    await done(store, other)
    assert begun.count(job.id) <= 1  # the one that a worker took in the same breath
    assert other.id in begun
    stop.set()
    assert await working == []


async def test_a_cancel_while_items_are_being_claimed_loses_none(records: SqliteBackend) -> None:
    store, engine, stop = await records.open(), LocalEngine(), asyncio.Event()
    job = await submitted(store, *(upload(str(n)) for n in range(5)))

    async def claim(lane: Lane, limit: int) -> list[Claim]:
        claims = await store.claim(lane, limit)
        engine.cancel([-1])  # another job's
        return claims

    async def execute(claim: Claim) -> None:
        await store.finish(claim, Done((), {}))

    working = asyncio.create_task(engine.run(claim, execute, {"cpu": 2}, stop))
    assert (await done(store, job)).counts == Counts(succeeded=5)
    stop.set()
    assert await working == []


async def test_stopping_finishes_what_is_at_work_and_begins_nothing(
    records: SqliteBackend,
) -> None:
    async with running(records, cpu=2) as on:
        job = await submitted(on.store, *(upload(str(n)) for n in range(4)))
        await on.work.until(0, 1)
        on.stop.set()
        await settle()
        assert not on.task.done()
        on.work.let_go(0, 1)
        assert await on.task == []
        now = await job_now(on.store, job)
        assert now.counts == Counts(queued=2, succeeded=2)


async def test_stopping_gives_back_what_was_claimed_and_not_begun(records: SqliteBackend) -> None:
    store, engine, stop = await records.open(), LocalEngine(), asyncio.Event()
    records.on_queued = engine.wake

    async def claim_and_stop(lane: Lane, limit: int) -> list[Claim]:
        if claims := await store.claim(lane, limit):
            stop.set()
        return claims

    async def execute(_: Claim) -> None:
        pytest.fail("nothing may begin after the stop")

    working = asyncio.create_task(engine.run(claim_and_stop, execute, {"cpu": 3}, stop))
    await settle()
    await submitted(store, *(upload(str(n)) for n in range(3)))
    given_back = await working
    assert [claim.index for claim in given_back] == [0, 1, 2]


async def test_cancelling_the_engine_cancels_its_items_and_waits_for_them(
    records: SqliteBackend,
) -> None:
    async with running(records, cpu=3, io=2) as on:
        job = await submitted(on.store, upload("a"), upload("b"), link(1))
        await on.work.until(0, 1, 2)
        on.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await on.task
        assert sorted(on.work.cancelled) == [0, 1, 2]  # each has been given back by now
        assert (await job_now(on.store, job)).counts == Counts(queued=3)


async def test_a_bug_in_what_runs_items_ends_the_engine_and_is_not_hidden(
    records: SqliteBackend,
) -> None:
    store, engine = await records.open(), LocalEngine()
    await submitted(store)

    async def execute(_: Claim) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await engine.run(store.claim, execute, {"cpu": 3}, asyncio.Event())
