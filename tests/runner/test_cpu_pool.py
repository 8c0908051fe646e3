"""The pool against children that die, hang and raise."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.cpu import CpuPool, PoolSettings
from app.errors import DeadlineExceeded, OperationFailed, WorkerLost
from app.ops.base import Limits, Source
from app.ops.chain import ChainStep, ChainTask, Finished
from tests.service import wait_until_gone

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _children_find_the_plugin(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(plugin)


@asynccontextmanager
async def opened(**settings: float) -> AsyncIterator[CpuPool]:
    pool = CpuPool(PoolSettings.model_validate({"workers": 2, **settings}))
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


class Tasks:
    """Makes tasks, each with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    def __call__(
        self, how: str, content: bytes = b"content", pipe: str = "", time_s: float = 30
    ) -> ChainTask:
        self._made += 1
        own = self._folder / str(self._made)
        work = own / "work"
        work.mkdir(parents=True)
        source = own / "source"
        source.write_bytes(content)
        return ChainTask(
            (Source(source, "name", "text/plain", len(content)),),
            (ChainStep("misbehave", {"how": how, "pipe": pipe}),),
            work,
            Limits(time_s=time_s),
        )

    def gate(self) -> Gate:
        self._made += 1
        return Gate(self._folder / f"gate{self._made}")


class Gate:
    """Where an operation says that it has begun, and waits to be let go."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(path)
        os.mkfifo(self.path + ".began")

    async def began(self) -> int:
        """Wait until an operation stands here; gives its process id."""
        return int(await asyncio.to_thread(Path(self.path + ".began").read_text))

    async def open(self) -> None:
        """Let the operation that stands here go on."""
        await asyncio.to_thread(Path(self.path).write_bytes, b"")

    async def pass_one(self) -> None:
        await self.began()
        await self.open()


@pytest.fixture
def tasks(tmp_path: Path) -> Tasks:
    return Tasks(tmp_path)


def worker_of(finished: Finished) -> int:
    return int(finished.facts["misbehave"]["by"])


async def test_work_goes_to_children_by_path(tasks: Tasks) -> None:
    async with opened() as pool:
        finished = await pool.run(tasks("copy", b"bytes"))
        assert finished.outputs[0].path.read_bytes() == b"bytes"
        assert worker_of(finished) != os.getpid()


async def test_an_exception_that_does_not_pickle_fails_its_item_and_no_other(tasks: Tasks) -> None:
    async with opened() as pool:
        with pytest.raises(OperationFailed):
            await pool.run(tasks("raise"))
        await pool.run(tasks("copy"))


async def test_progress_is_told_while_the_work_goes_on(tasks: Tasks) -> None:
    async with opened() as pool:
        gate, told = tasks.gate(), asyncio.Event()
        heard: list[tuple[int, int]] = []

        def tell(done: int, total: int) -> None:
            heard.append((done, total))
            told.set()

        running = asyncio.create_task(pool.run(tasks("wait", pipe=gate.path), tell))
        await gate.began()
        await told.wait()
        assert heard == [(3, 10)]
        await gate.open()
        await running


async def test_work_is_told_how_many_cores_nobody_else_uses(tasks: Tasks) -> None:
    async with opened() as pool:
        alone = await pool.run(tasks("copy"))
        gate = tasks.gate()
        other = asyncio.create_task(pool.run(tasks("wait", pipe=gate.path)))
        await gate.began()
        beside = await pool.run(tasks("copy"))
        await gate.open()
        assert alone.facts["misbehave"]["cores"] == 2
        assert beside.facts["misbehave"]["cores"] == 1
        assert (await other).facts["misbehave"]["cores"] == 2


async def test_a_killed_child_costs_no_item(tasks: Tasks) -> None:
    async with opened() as pool:
        gates = [tasks.gate(), tasks.gate()]
        running = [asyncio.create_task(pool.run(tasks("wait", pipe=g.path))) for g in gates]
        pids = [await g.began() for g in gates]
        os.kill(pids[0], signal.SIGKILL)
        await asyncio.gather(*(g.pass_one() for g in gates))  # each runs again, alone
        results = await asyncio.gather(*running)
        assert {worker_of(r) for r in results}.isdisjoint(pids)
        assert pool.ready


async def test_the_death_of_an_idle_child_is_noticed_and_mended(tasks: Tasks) -> None:
    async with opened() as pool:
        before = pool._generation.pids()
        os.kill(before[0], signal.SIGKILL)
        while pool.ready:
            await asyncio.to_thread(wait_until_gone, before[:1])
        await pool._ready.wait()
        assert set(pool._generation.pids()).isdisjoint(before)
        assert isinstance(await pool.run(tasks("copy")), Finished)


async def test_a_poison_item_fails_alone(tasks: Tasks) -> None:
    async with opened() as pool:
        contents = [b"good"] * 5 + [b"poison"] + [b"good"] * 5
        results = await asyncio.gather(
            *(pool.run(tasks("die_if_poison", c)) for c in contents), return_exceptions=True
        )
        assert [type(r) for r in results] == [Finished] * 5 + [WorkerLost] + [Finished] * 5
        assert isinstance(await pool.run(tasks("copy")), Finished)


async def test_a_child_that_ignores_its_deadline_is_killed_and_replaced(tasks: Tasks) -> None:
    async with opened(kill_grace_s=0.1) as pool:
        hanging = pool.run(tasks("ignore_alarm", time_s=0.1))
        neighbour = pool.run(tasks("copy"))
        results = await asyncio.gather(hanging, neighbour, return_exceptions=True)
        assert isinstance(results[0], DeadlineExceeded)
        assert isinstance(results[1], Finished)
        await pool.run(tasks("copy"))


async def test_a_cancelled_call_holds_its_worker_until_the_work_ends(tasks: Tasks) -> None:
    async with opened(workers=1) as pool:
        gate = tasks.gate()
        first = asyncio.create_task(pool.run(tasks("wait", pipe=gate.path)))
        await gate.began()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = asyncio.create_task(pool.run(tasks("copy", time_s=5)))
        done, _ = await asyncio.wait([second], timeout=0.2)
        assert not done
        await gate.open()
        assert isinstance(await second, Finished)


async def test_workers_are_replaced_after_so_many_items_and_none_is_lost(tasks: Tasks) -> None:
    async with opened(recycle_after=3) as pool:
        workers = set()
        for _ in range(3):
            results = await asyncio.gather(*(pool.run(tasks("copy")) for _ in range(8)))
            workers |= {worker_of(r) for r in results}
            await asyncio.gather(*pool._background)
        assert len(workers) > 2
        wait_until_gone(list(workers - set(pool._generation.pids())))


async def test_closing_ends_the_children_even_at_work(tasks: Tasks) -> None:
    pool = CpuPool(PoolSettings(workers=2))
    await pool.open()
    pid = worker_of(await pool.run(tasks("copy")))
    hanging = asyncio.create_task(pool.run(tasks("ignore_alarm")))
    await asyncio.wait([hanging], timeout=0.2)
    await pool.close(grace_s=0.1)
    wait_until_gone([pid])
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)


ORPHANS = """
import asyncio, os
from app.cpu import CpuPool, PoolSettings

async def main():
    pool = CpuPool(PoolSettings(workers=2))
    await pool.open()
    print(*pool._generation.pids(), flush=True)
    await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_no_child_outlives_a_killed_service(tmp_path: Path) -> None:
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as parent:
        try:
            assert parent.stdout is not None
            pids = [int(pid) for pid in parent.stdout.readline().split()]
            assert len(pids) == 2
        finally:
            parent.kill()
        parent.wait()
        wait_until_gone(pids)
