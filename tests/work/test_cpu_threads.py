"""The pool of threads: what it promises without a kernel's help, and what becomes of the rest."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from resource import RLIMIT_AS, RLIMIT_CORE, RLIMIT_FSIZE, getrlimit

import pytest

from app.cpu import CpuPool
from app.cpu.board import Board
from app.cpu.threads import left
from app.errors import DeadlineExceeded
from app.ops.tasks import Finished
from tests.work.pool_tasks import Tasks, codes, opened

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("plugin_installed")]


OF_LIBRARIES = ("VIPS_CONCURRENCY", "OPENBLAS_NUM_THREADS")
"""What they read when they are loaded, which may be now."""


@pytest.fixture
async def impatient() -> AsyncIterator[CpuPool]:
    """One thread, which counts as lost 0.1 s after a deadline."""
    async with opened(executor="thread", workers=1, kill_grace_s=0.1) as made:
        yield made


async def test_work_past_its_deadline_ends_when_it_tells(impatient: CpuPool, tasks: Tasks) -> None:
    endless = tasks("tell_on", weight_ms=0.1, time_s=0.05)
    mates = [tasks("copy", weight_ms=0.1) for _ in range(2)]
    ends = await impatient.run_many([mates[0], endless, mates[1]])
    assert codes(ends) == ["", "limit.time", ""]
    assert impatient.ready


async def test_what_never_tells_is_failed_and_its_thread_lost_until_it_ends(
    impatient: CpuPool, tasks: Tasks
) -> None:
    gate = tasks.gate()
    deaf = tasks("wait", pipe=gate.path, weight_ms=0.1, time_s=0.05)
    mates = [tasks("copy", weight_ms=0.1) for _ in range(2)]
    running = asyncio.create_task(impatient.run_many([mates[0], deaf, mates[1]]))
    assert await gate.began() == os.getpid()
    while impatient.ready:
        await asyncio.wait([running], timeout=0.05)
    assert impatient.busy == 1
    assert not running.done()  # its mates wait for the one thread that there is
    await gate.open()
    assert codes(await running) == ["", "limit.time", ""]
    assert impatient.ready
    assert impatient.busy == 0


async def test_the_other_threads_go_on_while_one_is_lost(tasks: Tasks) -> None:
    async with opened(executor="thread", workers=2, kill_grace_s=0.1) as pool:
        gate = tasks.gate()
        deaf = asyncio.create_task(pool.run(tasks("wait", pipe=gate.path, time_s=0.05)))
        await gate.began()
        with pytest.raises(DeadlineExceeded):
            await deaf
        assert pool.ready
        assert isinstance(await pool.run(tasks("copy")), Finished)
        await gate.open()


async def test_work_that_nobody_waits_for_ends_when_it_tells(
    impatient: CpuPool, tasks: Tasks
) -> None:
    begun = asyncio.Event()
    running = asyncio.create_task(impatient.run(tasks("tell_on"), began=begun.set))
    await begun.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert isinstance(await impatient.run(tasks("copy")), Finished)


async def test_closing_leaves_what_does_not_end(tasks: Tasks) -> None:
    gate = tasks.gate()
    async with opened(executor="thread", workers=2) as pool:
        telling = asyncio.create_task(pool.run(tasks("tell_on")))
        deaf = asyncio.create_task(pool.run(tasks("wait", pipe=gate.path)))
        await gate.began()
    assert left() == 1
    await gate.open()
    for call in (telling, deaf):
        call.cancel()
    await asyncio.gather(telling, deaf, return_exceptions=True)
    assert left(timeout_s=10) == 0


def test_a_board_can_be_had_as_plain_memory() -> None:
    """As an interpreter gets it, which shares no objects."""
    board = Board.local(2)
    other = Board.over(memoryview(board.memory), 2)
    row = 1
    board.forget(row, 1)
    assert other.begin(row, 0, who=7)
    assert not other.begin(row, 1, who=7)
    other.tell(row, 3, 10)
    assert (board.place(row), board.pid(row), board.progress(row)) == (0, 7, (3, 10))
    assert board.idle() == 1


async def test_nothing_that_belongs_to_the_process_is_touched(
    monkeypatch: pytest.MonkeyPatch, tasks: Tasks
) -> None:
    monkeypatch.setenv("OFFLOAD_TEST", "here")
    before = _state_of_the_process()
    async with opened(executor="thread") as pool:
        await asyncio.gather(*(pool.run(tasks("copy")) for _ in range(8)))
        assert _state_of_the_process() == before
    assert _state_of_the_process() == before


def _state_of_the_process() -> list[object]:
    handlers = [signal.getsignal(number) for number in sorted(signal.valid_signals())]
    limits = [getrlimit(which) for which in (RLIMIT_AS, RLIMIT_FSIZE, RLIMIT_CORE)]
    timer = signal.getitimer(signal.ITIMER_PROF)
    environment = {name: value for name, value in os.environ.items() if name not in OF_LIBRARIES}
    return [handlers, limits, timer, environment, Path.cwd()]
