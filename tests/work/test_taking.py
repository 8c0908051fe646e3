"""What a node takes: found without hints, with submissions, while it stops, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.model.chunks import Submitted
from app.model.jobs import Counts, Job, JobStatus, NewItem, NewJob, Step
from app.records import ending, intake, queue, reading
from app.records.intake import Taker
from app.stores.base import Row, Tx
from app.stores.sqlite import SqliteDatabase
from tests.contracts.test_job_store import link, upload
from tests.work.test_chunks import MOST, At, alone, at_work, lane_of, opened, replace_writes

pytestmark = pytest.mark.anyio


@pytest.fixture
def hints_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody find anything without a hint."""
    monkeypatch.setattr("app.work.loop.POLL_EVERY_S", 60)
    monkeypatch.setattr("app.work.taking.POLL_EVERY_S", 60)


@asynccontextmanager
async def another_process(folder: Path) -> AsyncIterator[SqliteDatabase]:
    """Give the same records as they are used elsewhere: no hint comes from there."""
    database = SqliteDatabase(folder / "offload.db")
    await database.open()
    yield database
    await database.close()


async def submitted(
    database: SqliteDatabase,
    *items: NewItem,
    taker: Taker | None = None,
    stops: bool = False,
) -> Submitted:
    new = NewJob("shop", (Step("compress"),), items, retention_s=60, stops=stops, weigh=float)
    return await database.write(intake.submit, new, MOST, taker)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)


async def counted(at: At, job: Job, counts: Counts) -> None:
    async with asyncio.timeout(10):
        while (await at.job_now(job)).counts != counts:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0)


async def idle(at: At) -> None:
    lanes = [lane for lane in at.chunks._taking.lanes.values() if lane.slots]
    await until(lambda: not at.chunks._loop.running and not any(lane.more for lane in lanes))


def taken_by(tx: Tx, node: str) -> list[Row]:
    return tx.run("chunks_of", node=node)


# -- what another process does -----------------------------------------------------------------


async def test_what_another_process_submits_is_found(tmp_path: Path) -> None:
    async with at_work(tmp_path, cpu=1, io=1) as at, another_process(tmp_path) as other:
        at.gates.passing = {0}
        for item in (alone(0), link(0), alone(0)):
            job = (await submitted(other, item)).job
            await counted(at, job, Counts(succeeded=1))


@pytest.mark.parametrize("busy", ["io", "cpu"])
async def test_it_is_found_also_while_another_lane_has_more_than_it_can_take(
    tmp_path: Path, busy: str
) -> None:
    held, wanted = (link, alone) if busy == "io" else (alone, link)
    async with at_work(tmp_path, cpu=1, io=1) as at, another_process(tmp_path) as other:
        await at.submit(*map(held, range(80)))
        await at.gates.until(0)
        for number in (90, 91):
            items = [*map(held, range(number)), wanted(number)]
            await submitted(other, *items)
            await at.gates.until(0, number)
            at.gates.open[number].set()


@pytest.mark.parametrize("ends", [ending.cancel, ending.delete])
async def test_what_is_canceled_elsewhere_leaves_its_slots(tmp_path: Path, ends: Any) -> None:
    async with at_work(tmp_path, cpu=1, io=4) as at, another_process(tmp_path) as other:
        job = await at.submit(alone(0), *map(link, range(9)))
        await at.gates.until(0, 1, 2, 3, 4)
        await other.write(ends, job.id)
        await at.gates.until()
        assert sorted(at.gates.canceled) == [0, 1, 2, 3, 4]
        await idle(at)
        assert [lane_of(at, name).used for name in ("io", "cpu")] == [0, 0]
        await at.submit(alone(0), *map(link, range(9)))
        await at.gates.until(0, 1, 2, 3, 4)


async def test_what_is_canceled_as_it_is_taken_ends_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(tmp_path, cpu=3) as at:
        write = at.database.write
        canceled: list[int] = []

        async def take_and_cancel(rule: Any, *args: Any) -> Any:
            """Have the cancel come when chunks are taken, and the node is about to hear of it."""
            found = await write(rule, *args)
            if rule.__name__ == "take" and not canceled:
                canceled.extend({c.job_key for got in found.values() for c in got.chunks})
                if canceled:
                    await write(ending.cancel, job.id)
            return found

        replace_writes(monkeypatch, at, take_and_cancel)
        job = await at.submit(*map(alone, range(3)))
        await counted(at, job, Counts(canceled=3))
        await until(lambda: len(at.gates.canceled) == 3)
        assert (await at.job_now(job)).counts == Counts(canceled=3)
        other = await at.submit(alone(0))
        assert (await at.gates.pass_all(other, at)).status is JobStatus.SUCCEEDED


# -- with a submission -------------------------------------------------------------------------


@pytest.mark.usefixtures("hints_only")
async def test_what_is_taken_with_its_submission_runs_once_and_in_a_slot(tmp_path: Path) -> None:
    async with at_work(tmp_path, cpu=2) as at:
        await idle(at)
        with at.chunks.taking("cpu") as taker:
            assert taker is not None
            assert lane_of(at, "cpu").free == 1
            made = await submitted(at.database, alone(0), alone(1), alone(2), taker=taker)
            at.chunks.start(made.chunks)
        assert [claim.index for chunk in made.chunks for claim in chunk.claims] == [0]
        await at.gates.until(0, 1)
        assert lane_of(at, "cpu").used == 2
        # The third waits, so no other goes before it.
        with at.chunks.taking("cpu") as taker:
            assert taker is None
        assert (await at.gates.pass_all(made.job, at)).counts == Counts(succeeded=3)
        assert len(at.gates.order) == 3
        await idle(at)
        assert lane_of(at, "cpu").used == 0


@pytest.mark.usefixtures("hints_only")
async def test_what_a_submission_leaves_is_taken_although_it_kept_all_the_room(
    tmp_path: Path,
) -> None:
    async with at_work(tmp_path, io=8) as at:
        await idle(at)
        with at.chunks.taking("io") as taker:
            assert taker is not None
            assert lane_of(at, "io").free == 0
            items = [link(n) for n in range(8)]
            made = await submitted(at.database, *items, taker=taker, stops=True)
            assert len(made.chunks) == 1
            for _ in range(50):  # the loop has heard of the rest, and found no room
                await asyncio.sleep(0)
            at.chunks.start(made.chunks)
        await at.gates.until(*range(8))


async def test_what_is_taken_with_its_submission_as_the_node_stops_is_given_back(
    tmp_path: Path,
) -> None:
    async with at_work(tmp_path, cpu=1) as at:
        await idle(at)
        with at.chunks.taking("cpu") as taker:
            assert taker is not None
            at.chunks.stop()
            made = await submitted(at.database, alone(0), taker=taker)
            at.chunks.start(made.chunks)
        with at.chunks.taking("cpu") as taker:
            assert taker is None
        await at.chunks.drain(0)
        assert await at.database.read(taken_by, at.node.id) == []
        [again] = await at.database.write(queue.take, at.node.id, "cpu", 9)
        assert [claim.attempt for claim in again.claims] == [1]


# -- while it stops ----------------------------------------------------------------------------


async def test_what_is_being_taken_as_the_node_stops_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(tmp_path, cpu=3) as at:
        write = at.database.write

        async def take_and_stop(rule: Any, *args: Any) -> Any:
            found = await write(rule, *args)
            if rule.__name__ == "take" and found:
                at.chunks.stop()
            return found

        replace_writes(monkeypatch, at, take_and_stop)
        job = await at.submit(*map(alone, range(3)))
        await until(lambda: at.chunks._loop.stopping)
        await at.chunks.drain(0)
        assert at.gates.open == {}
        assert await at.database.read(taken_by, at.node.id) == []
        assert (await at.job_now(job)).counts == Counts(queued=3)
        again = await at.database.write(queue.take, at.node.id, "cpu", 9)
        # None of them was known to have begun.
        assert [claim.attempt for chunk in again for claim in chunk.claims] == [1, 1, 1]


async def test_what_a_record_takes_as_the_node_ends_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit that ended one chunk took the next, and nobody was there to hear of it."""
    async with opened(tmp_path) as after:
        async with at_work(tmp_path, cpu=1) as at:
            job = await at.submit(alone(0), alone(1))
            await at.gates.until(0)
            write, taken = at.database.write, asyncio.Event()

            async def unheard(rule: Any, *args: Any) -> Any:
                found = await write(rule, *args)
                if rule.__name__ == "_finish_and_take":
                    taken.set()
                    await asyncio.Event().wait()
                return found

            replace_writes(monkeypatch, at, unheard)
            at.gates.open[0].set()
            await taken.wait()
            assert len(await after.database.read(taken_by, at.node.id)) == 1
        assert (await after.job_now(job)).counts == Counts(queued=1, succeeded=1)
        [again] = await after.database.write(queue.take, after.node.id, "cpu", 9)
        assert [(claim.index, claim.attempt) for claim in again.claims] == [(1, 1)]
        assert again.deaths == 0


# -- who waits for whom ------------------------------------------------------------------------


async def test_a_small_job_waits_for_two_chunks_however_many_another_client_has(
    tmp_path: Path,
) -> None:
    short = upload("5 ms!")
    async with at_work(tmp_path, cpu=1) as at:
        large = await at.submit(*[short] * 3000, client="large")
        await at.gates.until(*range(16))
        small = await at.submit(short, client="small")
        for chunk in (range(16), range(16, 32)):  # the one at work, and the one whose turn it was
            await at.gates.until(*chunk)
            for gate in at.gates.open.values():
                gate.set()
        await at.gates.until(0)
        jobs = [job for job, _ in at.gates.order]
        assert jobs == [large.id] * 32 + [small.id]


async def test_a_pace_holds_for_all_nodes_together(tmp_path: Path) -> None:
    async with at_work(tmp_path, io=32) as one, at_work(tmp_path, io=32) as two:
        job = await one.submit(*map(link, range(60)), pace=6)
        most = 0
        async with asyncio.timeout(60):
            while not (now := await one.job_now(job)).status.done:
                open_gates = [*one.gates.open.values(), *two.gates.open.values()]
                most = max(most, len(open_gates))
                for gate in open_gates:
                    gate.set()
                await asyncio.sleep(0.001)
        assert now.counts == Counts(succeeded=60)
        assert 2 <= most <= 6
        indexes = [index for at in (one, two) for _, index in at.gates.order]
        assert sorted(indexes) == list(range(60))


async def test_two_nodes_share_the_work_and_nothing_runs_twice(tmp_path: Path) -> None:
    async with at_work(tmp_path, cpu=2) as one, at_work(tmp_path, cpu=2) as two:
        job = await one.submit(*map(alone, range(40)))
        await until(lambda: len(one.gates.open) + len(two.gates.open) == 4)
        one.gates.passing = two.gates.passing = {*range(40)}
        for gate in [*one.gates.open.values(), *two.gates.open.values()]:
            gate.set()
        await counted(one, job, Counts(succeeded=40))
        assert {len(at.gates.canceled) for at in (one, two)} == {0}
        indexes = [index for at in (one, two) for _, index in at.gates.order]
        assert sorted(indexes) == list(range(40))
        items, _ = await one.database.read(reading.list_items, job.id)
        assert {item.attempt for item in items} == {1}
