"""The pool against children that die, hang and raise."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.cpu import CpuPool, Ended, PoolSettings
from app.cpu.generation import Generation
from app.cpu.trips import unpacked
from app.errors import DeadlineExceeded, OperationFailed, WorkerLost
from app.ops.base import Limits, Source
from app.ops.tasks import ChainStep, ChainTask, Finished, Refused
from tests.service import wait_until_gone

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("plugin_installed")]


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
        self,
        how: str,
        content: bytes = b"content",
        pipe: str = "",
        time_s: float = 30,
        weight_ms: float = 50,
    ) -> ChainTask:
        self._made += 1
        own = self._folder / str(self._made)
        work = own / "work"
        work.mkdir(parents=True)
        source = own / "source"
        source.write_bytes(content)
        return ChainTask(
            (Source(source, "name", "text/plain", len(content)),),
            (ChainStep("misbehave", {"how": how, "pipe": pipe, "weight_ms": weight_ms}),),
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


async def test_work_goes_to_children_by_path(pool: CpuPool, tasks: Tasks) -> None:
    finished = await pool.run(tasks("copy", b"bytes"))
    assert finished.outputs[0].path.read_bytes() == b"bytes"
    assert worker_of(finished) != os.getpid()


async def test_an_exception_that_does_not_pickle_fails_its_item_and_no_other(
    pool: CpuPool, tasks: Tasks
) -> None:
    with pytest.raises(OperationFailed):
        await pool.run(tasks("raise"))
    await pool.run(tasks("copy"))


async def test_progress_is_told_while_the_work_goes_on(pool: CpuPool, tasks: Tasks) -> None:
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


async def test_work_is_told_how_many_cores_nobody_else_uses(pool: CpuPool, tasks: Tasks) -> None:
    alone = await pool.run(tasks("copy"))
    gate = tasks.gate()
    other = asyncio.create_task(pool.run(tasks("wait", pipe=gate.path)))
    await gate.began()
    beside = await pool.run(tasks("copy"))
    await gate.open()
    assert alone.facts["misbehave"]["cores"] == 2
    assert beside.facts["misbehave"]["cores"] == 1
    assert (await other).facts["misbehave"]["cores"] == 2


async def test_a_killed_child_costs_no_item(pool: CpuPool, tasks: Tasks) -> None:
    gates = [tasks.gate(), tasks.gate()]
    running = [asyncio.create_task(pool.run(tasks("wait", pipe=g.path))) for g in gates]
    pids = [await g.began() for g in gates]
    os.kill(pids[0], signal.SIGKILL)
    await asyncio.gather(*(g.pass_one() for g in gates))  # each runs again, alone
    results = await asyncio.gather(*running)
    assert {worker_of(r) for r in results}.isdisjoint(pids)
    assert pool.ready


async def test_the_death_of_an_idle_child_is_noticed_and_mended(
    pool: CpuPool, tasks: Tasks
) -> None:
    before = pool._generation.board.pids()
    os.kill(before[0], signal.SIGKILL)
    while pool.ready:
        await asyncio.to_thread(wait_until_gone, before[:1])
    await pool._ready.wait()
    assert set(pool._generation.board.pids()).isdisjoint(before)
    assert isinstance(await pool.run(tasks("copy")), Finished)


async def test_a_poison_item_fails_alone(pool: CpuPool, tasks: Tasks) -> None:
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


async def test_a_cancelled_call_holds_its_worker_until_the_work_ends(
    pool_of_one: CpuPool, tasks: Tasks
) -> None:
    gate = tasks.gate()
    first = asyncio.create_task(pool_of_one.run(tasks("wait", pipe=gate.path)))
    await gate.began()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(pool_of_one.run(tasks("copy", time_s=5)))
    done, _ = await asyncio.wait([second], timeout=0.2)
    assert not done
    await gate.open()
    assert isinstance(await second, Finished)


async def test_workers_are_replaced_after_so_many_items_and_none_is_lost(tasks: Tasks) -> None:
    async with opened(recycle_after=3) as pool:
        workers = set()
        for _ in range(2):
            results = await asyncio.gather(*(pool.run(tasks("copy")) for _ in range(8)))
            workers |= {worker_of(r) for r in results}
            await asyncio.gather(*pool._background)
        assert len(workers) > 2
        wait_until_gone(list(workers - set(pool._generation.board.pids())))


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


# -- many in one trip ----------------------------------------------------------------------------


def count_trips(pool: CpuPool, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note for each trip from now on how many tasks it has, until the pool breaks."""
    sizes: list[int] = []
    run = pool._generation.run

    def counted(row: int, payload: bytes) -> asyncio.Future[bytes]:
        sizes.append(len(unpacked(payload)))
        return run(row, payload)

    monkeypatch.setattr(pool._generation, "run", counted)
    return sizes


def count_pools(pool: CpuPool, monkeypatch: pytest.MonkeyPatch) -> list[Generation]:
    """Note each set of children from now on: one more for each break."""
    made: list[Generation] = []
    new = pool._new_generation

    def counted() -> Generation:
        made.append(new())
        return made[-1]

    monkeypatch.setattr(pool, "_new_generation", counted)
    return made


async def test_small_tasks_go_in_one_trip_and_keep_their_order(
    pool: CpuPool, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = count_trips(pool, monkeypatch)
    contents = [b"%d" % number for number in range(20)]
    ends = await pool.run_many([tasks("copy", one, weight_ms=0.1) for one in contents])
    assert trips == [16, 4]
    outcomes = [end.outcome for end in ends]
    assert [one.outputs[0].path.read_bytes() for one in finished(outcomes)] == contents
    began = [end.began_at for end in ends[:16]]
    assert began == sorted(began)
    assert all(0 < end.began_at <= time.monotonic() - end.worked_s for end in ends)
    assert all(end.folder for end in ends)


async def test_values_come_and_go_without_a_folder(pool: CpuPool, tmp_path: Path) -> None:
    made = [
        ChainTask(
            (Source.of(b"value %d" % number, "name", "text/plain"),),
            (ChainStep("compress"),),
            str(tmp_path / str(number)),
            Limits(),
            small_bytes=100,
        )
        for number in range(3)
    ]
    ends = await pool.run_many(made)
    packed = [one.outputs[0].data for one in finished([end.outcome for end in ends])]
    assert [gzip.decompress(data or b"") for data in packed] == [
        b"value 0",
        b"value 1",
        b"value 2",
    ]
    assert [end.folder for end in ends] == [False] * 3
    assert names_in(tmp_path) == []


async def test_heavy_tasks_go_singly_and_side_by_side(pool: CpuPool, tasks: Tasks) -> None:
    gates = [tasks.gate(), tasks.gate()]
    both = asyncio.create_task(pool.run_many([tasks("wait", pipe=gate.path) for gate in gates]))
    assert len({await gate.began() for gate in gates}) == 2
    for gate in gates:
        await gate.open()
    assert len(finished([end.outcome for end in await both])) == 2


async def test_what_waits_is_put_together_whoever_asked_for_it(
    pool_of_one: CpuPool, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tasks.gate()
    first = asyncio.create_task(pool_of_one.run(tasks("wait", pipe=gate.path)))
    await gate.began()
    trips = count_trips(pool_of_one, monkeypatch)
    others = [
        asyncio.create_task(pool_of_one.run_many([tasks("copy", weight_ms=0.1)])) for _ in range(5)
    ]
    await asyncio.sleep(0)
    await gate.open()
    assert len(await asyncio.gather(first, *others)) == 6
    assert trips == [5]


async def test_one_that_fails_leaves_its_mates_alone(pool: CpuPool, tasks: Tasks) -> None:
    hows = ["copy", "raise", "copy"]
    ends = await pool.run_many([tasks(how, weight_ms=0.1) for how in hows])
    assert codes(ends) == ["", "internal.operation", ""]


@pytest.mark.parametrize("bad", [[5], [0, 7, 15]])
async def test_poison_in_a_trip_fails_alone_after_few_deaths(
    pool: CpuPool, tasks: Tasks, bad: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = count_pools(pool, monkeypatch)
    contents = [b"poison" if place in bad else b"good" for place in range(16)]
    ends = await pool.run_many([tasks("die_if_poison", one, weight_ms=0.1) for one in contents])
    assert [place for place, code in enumerate(codes(ends)) if code] == bad
    assert {codes(ends)[place] for place in bad} == {"internal.worker_lost"}
    assert len(pools) <= 1 + len(bad)  # together, and each alone


async def test_what_does_not_pickle_fails_by_itself(pool: CpuPool, tasks: Tasks) -> None:
    good = [tasks("copy", weight_ms=0.1) for _ in range(3)]
    unsendable = replace(good[1], steps=(ChainStep("misbehave", {"how": lambda: 0}),))
    made = [good[0], tasks("unpicklable", weight_ms=0.1), unsendable, good[2]]
    before = pool._generation
    ends = await pool.run_many(made)
    assert codes(ends) == ["", "internal.operation", "internal.operation", ""]
    # This one pickles, and cannot be read here.
    ends = await pool.run_many([tasks("unreadable", weight_ms=0.1), tasks("copy")])
    assert codes(ends) == ["internal.operation", ""]
    assert pool._generation is before


async def test_a_time_limit_in_a_trip_is_one_tasks(pool_of_one: CpuPool, tasks: Tasks) -> None:
    gate = tasks.gate()
    slow = tasks("wait", pipe=gate.path, weight_ms=0.1, time_s=0.3)
    running = asyncio.create_task(
        pool_of_one.run_many([tasks("copy", weight_ms=0.1), slow, tasks("copy", weight_ms=0.1)])
    )
    await gate.began()  # and it is never opened
    assert codes(await running) == ["", "limit.time", ""]


async def test_a_child_killed_for_one_task_costs_its_mates_nothing(tasks: Tasks) -> None:
    async with opened(workers=1, kill_grace_s=0.1) as pool:
        deaf = tasks("ignore_alarm", weight_ms=0.1, time_s=0.1)
        mates = [tasks("copy", weight_ms=0.1) for _ in range(2)]
        assert codes(await pool.run_many([mates[0], deaf, mates[1]])) == ["", "limit.time", ""]


async def test_cancelling_keeps_what_has_not_begun_from_beginning(
    pool_of_one: CpuPool, tasks: Tasks
) -> None:
    gate = tasks.gate()
    never = [tasks("copy", weight_ms=0.1) for _ in range(2)]
    trip = [tasks("wait", pipe=gate.path, weight_ms=0.1), *never]
    running = asyncio.create_task(pool_of_one.run_many(trip))
    await gate.began()
    waiting = asyncio.create_task(pool_of_one.run_many([tasks("copy")]))
    await asyncio.sleep(0)
    for call in (running, waiting):
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    await gate.open()
    assert codes(await pool_of_one.run_many([tasks("copy")])) == [""]
    assert [names_in(task.folder) for task in never] == [[], []]


def names_in(folder: Path | str) -> list[str]:
    return [path.name for path in Path(folder).iterdir()]


def finished(outcomes: list[Finished | Refused]) -> list[Finished]:
    assert [one for one in outcomes if not isinstance(one, Finished)] == []
    return [one for one in outcomes if isinstance(one, Finished)]


def codes(ends: list[Ended]) -> list[str]:
    """The code of each that was refused."""
    return [end.outcome.code if isinstance(end.outcome, Refused) else "" for end in ends]


ORPHANS = """
import asyncio, os
from app.cpu import CpuPool, PoolSettings

async def main():
    pool = CpuPool(PoolSettings(workers=2))
    await pool.open()
    print(*pool._generation.board.pids(), flush=True)
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
