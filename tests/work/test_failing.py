"""Bugs, full disks and deaths beneath work: the guilty fails alone, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from app.blobs.base import BlobStore
from app.errors import StorageFull
from app.model.chunks import MAX_INTERRUPTIONS, Claim
from app.model.jobs import Counts, NewJob, Step
from app.nodes.chores import Chores
from app.records import bites, ending, outcome, reading
from app.stores.base import Tx
from app.submissions import Submissions
from app.work.loop import Loop, Recorder
from tests.contracts.test_job_store import upload
from tests.work.test_chunks import alone, at_work, opened
from tests.work.test_taking import counted, until

pytestmark = pytest.mark.anyio


class Fails:
    """Wraps what fails so many times before it does what it should."""

    def __init__(self, inner: Any, error: Exception, times: int) -> None:
        self._inner, self._error, self.left = inner, error, times

    def __call__(self, *args: Any) -> Any:
        if self.left:
            self.left -= 1
            raise self._error
        return self._inner(*args)


def full() -> StorageFull:
    return StorageFull("The disk is full.")


@pytest.fixture(autouse=True)
def _soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.work.loop.RETRY_S", 0.01)


# -- bugs --------------------------------------------------------------------------------------


async def test_a_bug_fails_the_guilty_after_so_many_times_and_its_mates_succeed(
    tmp_path: Path,
) -> None:
    async with at_work(tmp_path, cpu=2) as at:

        def on(claim: Claim) -> None:
            at.chunks._telling.begin(claim)
            if claim.index == 3:
                raise ZeroDivisionError

        at.gates.on, at.gates.passing = on, {*range(8)}
        with capture_logs() as logged:
            job = await at.submit(*(upload(str(n)) for n in range(8)))
            await counted(at, job, Counts(succeeded=7, failed=1))
        crashes = [line for line in logged if line["event"] == "chunk_crashed"]
        assert len(crashes) == MAX_INTERRUPTIONS
        items, _ = await at.database.read(reading.list_items, job.id)
        assert items[3].problem is not None
        assert items[3].problem.code == "internal.interrupted"
        assert items[3].attempt == MAX_INTERRUPTIONS
        assert {item.attempt for item in items if item.index != 3} <= {1, 2}
        assert at.chunks.alive
        await counted(at, await at.submit(alone(0)), Counts(succeeded=1))


async def test_an_outcome_that_cannot_be_written_costs_no_other_an_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = outcome.finish

    def finish(tx: Tx, node: str, ended: Sequence[Any], over: Any = ()) -> set[int]:
        if any(one.claim.index == 5 for one in ended):
            raise ZeroDivisionError
        return real(tx, node, ended, over)

    monkeypatch.setattr(outcome, "finish", finish)
    async with at_work(tmp_path, cpu=8) as at:
        job = await at.submit(*map(alone, range(8)))
        await at.gates.until(*range(8))
        at.gates.on, at.gates.passing = at.chunks._telling.begin, {5}
        with capture_logs() as logged:
            for gate in at.gates.open.values():  # all of them end in one group
                gate.set()
            await counted(at, job, Counts(succeeded=7, failed=1))
        failures = [line for line in logged if line["event"] == "recording_failed"]
        assert len(failures) == MAX_INTERRUPTIONS
        items, _ = await at.database.read(reading.list_items, job.id)
        assert items[5].problem is not None
        assert [item.attempt for item in items if item.index != 5] == [1] * 7


async def test_a_recorder_goes_on_behind_what_fails() -> None:
    written: list[int] = []

    async def write(entries: Sequence[int]) -> None:
        if 3 in entries:
            raise ZeroDivisionError
        written.extend(entries)

    recorder = Recorder(write, "numbers")
    ends = await asyncio.gather(*map(recorder.record, range(6)), return_exceptions=True)
    assert [type(end) for end in ends] == [type(None)] * 3 + [ZeroDivisionError] + [type(None)] * 2
    await recorder.record(6)
    assert written == [0, 1, 2, 4, 5, 6]


async def test_a_loop_says_what_bug_kept_it_from_taking_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.work.loop.RETRY_S", 0.0)
    ran = asyncio.Event()
    was_alive = []

    async def take() -> Any:
        was_alive.append(loop.alive)
        if len(was_alive) == 1:
            raise ZeroDivisionError
        yield 1

    async def run(_: int) -> None:
        ran.set()

    loop = Loop(take, run, lambda _: None)
    with capture_logs() as logged:
        loop.begin()
        await ran.wait()
        await loop.drain(1)
    assert was_alive[:2] == [True, False]
    assert [line["event"] for line in logged] == ["taking_failed"]


async def test_what_was_taken_runs_although_the_next_look_fails() -> None:
    ran: list[int] = []
    look = Fails(lambda: None, full(), 1)

    async def take() -> Any:
        if not ran:
            yield 1
            look()

    async def run(one: int) -> None:
        ran.append(one)

    loop = Loop(take, run, lambda _: None)
    loop.begin()
    await until(lambda: bool(ran) and not look.left)
    await loop.drain(1)
    assert ran == [1]


# -- full disks --------------------------------------------------------------------------------


async def test_a_chunk_whose_crash_cannot_be_written_at_first_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Fails(outcome.crashed, full(), 3)
    failing.__dict__["__name__"] = "crashed"
    monkeypatch.setattr(outcome, "crashed", failing)
    async with at_work(tmp_path, cpu=1) as at:
        at.gates.on, at.gates.passing = Fails(lambda _: None, ZeroDivisionError(), 1), {0}
        job = await at.submit(alone(0))
        await counted(at, job, Counts(succeeded=1))
        assert failing.left == 0


async def test_large_jobs_go_on_ending_after_a_look_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, failing = bites.waiting, Fails(bites.waiting, full(), 1)
    monkeypatch.setattr("app.nodes.chores.bites.waiting", failing)
    monkeypatch.setattr("app.nodes.chores.BITE_EVERY_S", 0.01)
    async with opened(tmp_path) as at:
        blobs = cast("BlobStore", SimpleNamespace(may_remove=_never, unused_since=_none))
        job = await at.submit(*map(alone, range(bites.BITE_ROWS + 1)))
        await at.database.write(ending.cancel, job.id)
        async with Chores(at.database, at.node.id, blobs, grace_s=60, deliveries_s=60):
            async with asyncio.timeout(20):
                while await at.database.read(waiting):  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0)
        assert failing.left == 0


async def _never() -> bool:
    return False


async def _none(_: float) -> Any:
    for keys in list[list[str]]():
        yield keys


# -- a submission, and a node that leaves ------------------------------------------------------


async def test_a_submission_under_way_as_the_node_leaves_is_answered_and_given_back(
    tmp_path: Path,
) -> None:
    async with at_work(tmp_path, cpu=1) as at:
        submissions = Submissions(at.database, 100)
        submissions.starter = at.chunks
        new = NewJob("shop", (Step("compress"),), (alone(0),), retention_s=60)
        submitting = asyncio.create_task(submissions.submit(new))
        await asyncio.sleep(0)
        submissions.starter = None  # as the crew leaves
        at.chunks.stop()
        made = await submitting
        await at.chunks.drain(0)
        assert (await at.job_now(made.job)).counts == Counts(queued=1)
        assert await at.database.read(lambda tx: tx.run("chunks_of", node=at.node.id)) == []
