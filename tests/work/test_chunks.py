"""Chunks at work over real records: slots, cancels, suspects, ends. Only the items are ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.blobs.unrecorded import Unrecorded
from app.errors import StorageFull
from app.model.blobs import NamedBlob
from app.model.chunks import MAX_INTERRUPTIONS, Claim, Done, Ended, Outcome
from app.model.jobs import Counts, Job, JobStatus, Lane, NewItem, NewJob, Step
from app.nodes.node import BEAT_EVERY_S, COUNTED_AT_MOST_S, DEAD_AFTER_S, Node
from app.records import ending, intake, nodes, outcome, queue, reading
from app.stores.sqlite import SqliteDatabase
from app.work import loop
from app.work.chunks import Chunks
from tests.contracts.test_job_store import blob, link, settle, upload

pytestmark = pytest.mark.anyio

MOST = 100_000


class Gates:
    """Items at work, each until it is let go."""

    def __init__(self) -> None:
        self.open: dict[int, asyncio.Event] = {}
        self.most_at_once = 0
        self.canceled: list[int] = []
        self.order: list[tuple[str, int]] = []
        self.passing: set[int] = set()
        """Those that need not wait."""
        self.on: Callable[[Claim], None] = lambda _: None
        self.changed = asyncio.Event()

    def is_small(self, _: Claim) -> bool:
        return False

    def tell_ended(self, _: Ended) -> None:
        """It is not looked at."""

    async def outcome(self, claim: Claim, _: Unrecorded) -> Outcome:
        self.on(claim)
        gate = self.open[claim.index] = asyncio.Event()
        self.order.append((claim.job_id, claim.index))
        self.most_at_once = max(self.most_at_once, len(self.open))
        self.changed.set()
        try:
            if claim.index not in self.passing:
                await gate.wait()
        except asyncio.CancelledError:
            self.canceled.append(claim.index)
            raise
        finally:
            del self.open[claim.index]
            self.changed.set()
        return Done((), {})

    async def until(self, *indexes: int) -> None:
        """Wait until exactly these items are at work."""
        async with asyncio.timeout(10):
            while set(self.open) != set(indexes):
                self.changed.clear()
                await self.changed.wait()

    async def pass_all(self, job: Job, at: At) -> Job:
        """Let everything through as it comes, until a job is done."""
        async with asyncio.timeout(30):
            while not (now := await at.job_now(job)).status.done:
                for gate in self.open.values():
                    gate.set()
                await asyncio.sleep(0)
        return now


class At:
    """A node at work, without a pool and without a network."""

    def __init__(self, database: SqliteDatabase, node: Node) -> None:
        self.database, self.node = database, node
        self.gates = Gates()

        async def abandon(_: list[str]) -> None:
            """Nothing is stored."""

        runtime: Any = SimpleNamespace(
            database=database,
            node=node,
            operations={},
            cpu=SimpleNamespace(workers=1),
            settings=SimpleNamespace(
                fetch=SimpleNamespace(concurrency=2),
                log=SimpleNamespace(items="info"),
                shared=False,
            ),
            item_limits=None,
            blobs=None,
            engine=None,
            unrecorded=lambda: Unrecorded(None, abandon),  # type: ignore[arg-type]
        )
        self.chunks = Chunks(runtime)
        self.chunks._items = self.gates  # type: ignore[assignment]

    async def submit(self, *items: NewItem, client: str = "shop", **others: Any) -> Job:
        steps = (Step("compress"),)
        new = NewJob(
            client, steps, items or (upload("a"),), **{"retention_s": 60, "weigh": float} | others
        )
        return (await self.database.write(intake.submit, new, MOST)).job

    async def job_now(self, job: Job) -> Job:
        found = await self.database.look(reading.get_job, job.id)
        assert found is not None
        return found


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[At]:
    database = SqliteDatabase(folder / "offload.db")
    await database.open()
    async with Node(database, {"work"}, alone=False) as node:
        yield At(database, node)
    await database.close()


@asynccontextmanager
async def at_work(folder: Path, **slots: int) -> AsyncIterator[At]:
    async with opened(folder) as at:
        for lane in at.chunks._taking.lanes.values():
            lane.slots = slots.get(lane.name, 0)
            lane.turn = asyncio.Semaphore(lane.slots)
        async with at.chunks:
            yield at
            await at.chunks.drain(0)


def replace_writes(monkeypatch: pytest.MonkeyPatch, at: At, write: Callable[..., Any]) -> None:
    """Have `write` called for whatever is written, the short way too."""
    monkeypatch.setattr(at.database, "write", write)
    monkeypatch.setattr(at.database, "note", write)


def alone(number: int) -> NewItem:
    """An item that is a chunk of its own."""
    content = replace(blob(str(number)), size_bytes=1000)  # by its size: see `At.submit`
    return NewItem(upload=NamedBlob(content, f"{number}.txt"))


def lane_of(at: At, name: Lane) -> Any:
    return at.chunks._taking.lanes[name]


async def test_no_more_chunks_run_at_once_than_there_are_slots(tmp_path: Path) -> None:
    async with at_work(tmp_path, cpu=3) as at:
        job = await at.submit(*map(alone, range(10)))
        for first in range(10):
            await at.gates.until(*range(first, min(first + 3, 10)))
            at.gates.open[first].set()
        assert (await at.gates.pass_all(job, at)).status is JobStatus.SUCCEEDED
        assert at.gates.most_at_once == 3
        await at.chunks.drain(10)  # the records know of the end before the tasks do
        assert lane_of(at, "cpu").used == 0


async def test_lanes_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async with at_work(tmp_path, cpu=1, io=2) as at:
        await at.submit(alone(0), alone(1), *map(link, range(3)))
        await at.gates.until(0, 2, 3)
        at.gates.open[3].set()
        await at.gates.until(0, 2, 4)
        at.gates.open[0].set()
        await at.gates.until(1, 2, 4)


async def test_one_slow_url_of_a_chunk_holds_one_slot(tmp_path: Path) -> None:
    async with at_work(tmp_path, io=4) as at:
        slow = await at.submit(*map(link, range(32)))
        await at.gates.until(0, 1, 2, 3)
        at.gates.passing = {*range(1, 32)}
        for gate in [gate for index, gate in at.gates.open.items() if index]:
            gate.set()
        await at.gates.until(0)
        other = await at.submit(*map(link, range(40, 43)))
        async with asyncio.timeout(10):
            while len(at.gates.order) < 32 + 3:
                at.gates.changed.clear()
                await at.gates.changed.wait()
        assert [job for job, _ in at.gates.order[32:]] == [other.id] * 3
        assert not (await at.job_now(slow)).status.done


async def test_an_idle_node_wakes_for_what_is_submitted(tmp_path: Path) -> None:
    async with at_work(tmp_path, cpu=2) as at:
        for pauses in range(20):
            submitting = asyncio.create_task(at.submit())
            for _ in range(pauses):
                await asyncio.sleep(0)
            at.chunks._loop.wake()
            await at.gates.until(0)
            at.gates.open[0].set()
            assert (await at.gates.pass_all(await submitting, at)).status is JobStatus.SUCCEEDED


async def test_clients_take_turns_and_nobody_is_overtaken(tmp_path: Path) -> None:
    async with at_work(tmp_path, cpu=1) as at:
        large = await at.submit(*map(alone, range(30)), client="bank")
        await at.gates.until(0)
        small = [await at.submit(alone(n)) for n in range(3)]
        await at.gates.pass_all(large, at)
        jobs = [job for job, _ in at.gates.order]
        places = [jobs.index(job.id) for job in small]
        assert places == sorted(places)
        assert places[-1] < 10


async def test_a_running_item_is_canceled_and_its_slot_is_free(tmp_path: Path) -> None:
    async with at_work(tmp_path, cpu=1) as at:
        job = await at.submit()
        await at.gates.until(0)
        await at.database.write(ending.cancel, job.id)
        await at.gates.until()
        assert at.gates.canceled == [0]
        assert (await at.job_now(job)).status is JobStatus.CANCELED
        other = await at.submit()
        assert (await at.gates.pass_all(other, at)).status is JobStatus.SUCCEEDED


async def test_what_another_process_cancels_stops_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.work.chunks.LOOK_EVERY_S", 0.01)
    async with at_work(tmp_path, cpu=1) as at:
        job = await at.submit()
        await at.gates.until(0)
        other = SqliteDatabase(tmp_path / "offload.db")
        await other.open()
        await other.write(ending.cancel, job.id)
        await other.close()
        await at.gates.until()
        assert at.gates.canceled == [0]


async def test_stopping_lets_what_runs_end_and_begins_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as at:
        lane_of(at, "cpu").slots = 2
        async with at.chunks:
            job = await at.submit(*map(alone, range(4)))
            await at.gates.until(0, 1)
            draining = asyncio.create_task(at.chunks.drain(20))
            await settle()
            for gate in at.gates.open.values():
                gate.set()
            await draining
        assert (await at.job_now(job)).counts == Counts(queued=2, succeeded=2)
        assert not await at.database.read(queue.still_held, at.node.id, [(1, 1), (2, 1)])


async def test_what_is_cut_off_is_given_back_and_counts_as_an_attempt(tmp_path: Path) -> None:
    async with at_work(tmp_path, cpu=2) as at:
        at.gates.on = at.chunks._telling.begin
        job = await at.submit(*map(alone, range(2)))
        await at.gates.until(0, 1)
        await at.chunks.drain(0)
        assert sorted(at.gates.canceled) == [0, 1]
        assert (await at.job_now(job)).counts == Counts(queued=2)
        items, _ = await at.database.read(reading.list_items, job.id)
        assert [item.attempt for item in items] == [1, 1]
        again = await at.database.write(queue.take, at.node.id, "cpu", 9)
        assert [len(chunk.claims) for chunk in again] == [1, 1]


async def test_a_suspect_runs_alone_and_fails_alone(tmp_path: Path) -> None:
    """An item that kills its node: its mates succeed, and it ends after so many deaths."""
    poison = 2
    database = SqliteDatabase(tmp_path / "offload.db")
    await database.open()
    at = At(database, Node(database, {"work"}, alone=False))
    job = await at.submit(*(upload(str(n)) for n in range(6)))
    deaths = 0
    while not (await at.job_now(job)).status.done:
        deaths += 1
        assert deaths <= MAX_INTERRUPTIONS + 1
        await at.database.write(nodes.join, f"node {deaths}", frozenset({"work"}))
        [chunk] = await at.database.write(queue.take, f"node {deaths}", "cpu", 9)
        if not chunk.deaths:
            assert len(chunk.claims) == 6
        else:
            await _until_it_dies(at, f"node {deaths}", chunk, poison)
        for seen in await database.read(nodes.seen):
            await at.database.write(outcome.bury, seen.id, seen.beat)
    items, _ = await database.read(reading.list_items, job.id)
    codes = [item.problem.code if item.problem else None for item in items]
    assert codes == [None, None, "internal.interrupted", None, None, None]
    await database.close()


async def test_no_chunk_stays_taken_because_a_write_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "RETRY_S", 0.0)
    failures = [StorageFull("The disk is full.")] * 4
    crashes = [RuntimeError("A bug.")]

    async with at_work(tmp_path, cpu=2) as at:
        write = at.database.write

        async def failing(asked: Callable[..., Any], *args: Any) -> Any:
            if asked in (queue.next_suspect, outcome.crashed) and failures:
                raise failures.pop()
            return await write(asked, *args)

        def crash(_: Claim) -> None:
            if crashes:
                raise crashes.pop()

        replace_writes(monkeypatch, at, failing)
        at.gates.on = crash
        job = await at.submit(upload("a"), upload("b"))
        assert (await at.gates.pass_all(job, at)).counts == Counts(succeeded=2)
    assert not failures


async def _until_it_dies(at: At, node: str, chunk: Any, poison: int) -> None:
    while claim := await at.database.write(queue.next_suspect, node, chunk):
        if claim.index == poison:
            return
        await at.database.write(outcome.finish, node, [Ended(claim, Done((), {}))])


async def test_a_node_whose_beat_stands_still_is_buried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as dead, opened(tmp_path) as at:
        for node in (dead.node, at.node):
            node._beating.cancel()  # they are beaten by hand
        job = await dead.submit()
        [chunk] = await dead.database.write(queue.take, dead.node.id, "cpu", 9)
        clock = asyncio.get_running_loop().time()
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock, raising=False)

        async def beaten(*passed: float) -> list[Any]:
            nonlocal clock
            for passed_s in passed:
                clock += passed_s
                await at.node.beat()
            return await at.database.write(queue.take, at.node.id, "cpu", 9)

        beats = round(DEAD_AFTER_S / BEAT_EVERY_S)
        assert await beaten(0.0, *[BEAT_EVERY_S] * (beats - 1)) == []
        await dead.node.beat()  # a sign of life: the time begins anew
        assert await beaten(*[BEAT_EVERY_S] * beats) == []
        await dead.node.beat()
        # Who looks after an hour has not seen it stand still for one.
        assert COUNTED_AT_MOST_S < DEAD_AFTER_S
        assert await beaten(BEAT_EVERY_S, 3600.0) == []
        [again] = await beaten(BEAT_EVERY_S)
        assert (again.key, again.deaths) == (chunk.key, 1)
        assert (await at.job_now(job)).counts.queued == 1


async def test_a_failing_write_of_an_end_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(tmp_path, cpu=1) as at:
        failed: list[Sequence[Any]] = []
        write = at.chunks._recorder._write

        async def once(entries: Sequence[Any]) -> None:
            if not failed:
                failed.append(entries)
                raise ZeroDivisionError
            await write(entries)

        monkeypatch.setattr(at.chunks._recorder, "_write", once)
        job = await at.submit()
        assert (await at.gates.pass_all(job, at)).status is JobStatus.SUCCEEDED
        [item], _ = await at.database.read(reading.list_items, job.id)
        assert (len(failed), item.attempt) == (1, 2)
