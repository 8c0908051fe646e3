"""The pool against children that die, hang and raise."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from app.cpu import CpuPool, PoolSettings
from app.cpu.generation import Generation
from app.cpu.trips import unpacked
from app.errors import DeadlineExceeded, OperationFailed, WorkerLost
from app.ops.base import Limits, Source
from app.ops.tasks import ChainStep, ChainTask, Finished
from tests.service import wait_until_gone
from tests.work.pool_tasks import Tasks, codes, finished, names_in, opened, worker_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("plugin_installed")]


async def test_work_goes_to_children_by_path(pool: CpuPool, tasks: Tasks) -> None:
    finished = await pool.run(tasks("copy", b"bytes"))
    assert finished.outputs[0].path.read_bytes() == b"bytes"
    assert worker_of(finished) != os.getpid()


async def test_an_exception_that_does_not_pickle_fails_its_item_and_no_other(
    any_pool: CpuPool, tasks: Tasks
) -> None:
    with pytest.raises(OperationFailed):
        await any_pool.run(tasks("raise"))
    await any_pool.run(tasks("copy"))


async def test_progress_is_told_while_the_work_goes_on(any_pool: CpuPool, tasks: Tasks) -> None:
    gate, told = tasks.gate(), asyncio.Event()
    heard: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        heard.append((done, total))
        told.set()

    running = asyncio.create_task(any_pool.run(tasks("wait", pipe=gate.path), tell))
    await gate.began()
    await told.wait()
    assert heard == [(3, 10)]
    await gate.open()
    await running


async def test_work_is_told_how_many_cores_nobody_else_uses(
    any_pool: CpuPool, tasks: Tasks
) -> None:
    alone = await any_pool.run(tasks("copy"))
    gate = tasks.gate()
    other = asyncio.create_task(any_pool.run(tasks("wait", pipe=gate.path)))
    await gate.began()
    beside = await any_pool.run(tasks("copy"))
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
    any_pool_of_one: CpuPool, tasks: Tasks
) -> None:
    gate = tasks.gate()
    first = asyncio.create_task(any_pool_of_one.run(tasks("wait", pipe=gate.path)))
    await gate.began()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(any_pool_of_one.run(tasks("copy", time_s=5)))
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
    any_pool: CpuPool, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = count_trips(any_pool, monkeypatch)
    contents = [b"%d" % number for number in range(20)]
    ends = await any_pool.run_many([tasks("copy", one, weight_ms=0.1) for one in contents])
    assert trips == [16, 4]
    outcomes = [end.outcome for end in ends]
    assert [one.outputs[0].path.read_bytes() for one in finished(outcomes)] == contents
    began = [end.began_at for end in ends[:16]]
    assert began == sorted(began)
    assert all(0 < end.began_at <= time.monotonic() - end.worked_s for end in ends)
    assert all(end.folder for end in ends)


async def test_values_come_and_go_without_a_folder(any_pool: CpuPool, tmp_path: Path) -> None:
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
    ends = await any_pool.run_many(made)
    packed = [one.outputs[0].data for one in finished([end.outcome for end in ends])]
    assert [gzip.decompress(data or b"") for data in packed] == [
        b"value 0",
        b"value 1",
        b"value 2",
    ]
    assert [end.folder for end in ends] == [False] * 3
    assert names_in(tmp_path) == []


async def test_heavy_tasks_go_singly_and_side_by_side(any_pool: CpuPool, tasks: Tasks) -> None:
    gates = [tasks.gate(), tasks.gate()]
    both = asyncio.create_task(any_pool.run_many([tasks("wait", pipe=gate.path) for gate in gates]))
    for gate in gates:
        await gate.began()
    assert any_pool.busy == 2
    for gate in gates:
        await gate.open()
    assert len(finished([end.outcome for end in await both])) == 2


async def test_what_waits_is_put_together_whoever_asked_for_it(
    any_pool_of_one: CpuPool, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tasks.gate()
    first = asyncio.create_task(any_pool_of_one.run(tasks("wait", pipe=gate.path)))
    await gate.began()
    trips = count_trips(any_pool_of_one, monkeypatch)
    others = [
        asyncio.create_task(any_pool_of_one.run_many([tasks("copy", weight_ms=0.1)]))
        for _ in range(5)
    ]
    await asyncio.sleep(0)
    await gate.open()
    assert len(await asyncio.gather(first, *others)) == 6
    assert trips == [5]


async def test_one_that_fails_leaves_its_mates_alone(any_pool: CpuPool, tasks: Tasks) -> None:
    hows = ["copy", "raise", "copy"]
    ends = await any_pool.run_many([tasks(how, weight_ms=0.1) for how in hows])
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


async def test_what_does_not_pickle_fails_by_itself(any_pool: CpuPool, tasks: Tasks) -> None:
    good = [tasks("copy", weight_ms=0.1) for _ in range(3)]
    unsendable = replace(good[1], steps=(ChainStep("misbehave", {"how": lambda: 0}),))
    made = [good[0], tasks("unpicklable", weight_ms=0.1), unsendable, good[2]]
    before = any_pool._generation
    ends = await any_pool.run_many(made)
    assert codes(ends) == ["", "internal.operation", "internal.operation", ""]
    # This one pickles, and cannot be read here.
    ends = await any_pool.run_many([tasks("unreadable", weight_ms=0.1), tasks("copy")])
    assert codes(ends) == ["internal.operation", ""]
    assert any_pool._generation is before


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
    any_pool_of_one: CpuPool, tasks: Tasks
) -> None:
    gate = tasks.gate()
    never = [tasks("copy", weight_ms=0.1) for _ in range(2)]
    trip = [tasks("wait", pipe=gate.path, weight_ms=0.1), *never]
    running = asyncio.create_task(any_pool_of_one.run_many(trip))
    await gate.began()
    waiting = asyncio.create_task(any_pool_of_one.run_many([tasks("copy")]))
    await asyncio.sleep(0)
    for call in (running, waiting):
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    await gate.open()
    assert codes(await any_pool_of_one.run_many([tasks("copy")])) == [""]
    assert [names_in(task.folder) for task in never] == [[], []]


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
