"""The only owner of the worker processes: CPU work goes to children, and comes back a value.

What is decided here, and measured in `docs/concurrency.md`:

- Large bodies cross the line as paths, small ones as values, and small tasks go together: a trip
  there and back costs more than the work of most.
- A child has one trip at a time, so the clock of an item starts when its work does, and a deadline
  never counts time spent in a queue.
- A dead child costs its own trip and no other. Another takes its place, and what was on the trip
  runs again, one task at a time and with nobody else at work: one that kills its child fails alone.
- The limits live in the child (`app/ops/bounds.py`). Behind them stands a kill from here.

A `ProcessPoolExecutor` is not used: there a dead child breaks the work of all, and a child can be
replaced after so many tasks only at the risk of a deadlock (python/cpython#115634).
"""

from __future__ import annotations

import asyncio
import ctypes
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from app.cpu.line import Wanted, next_trip
from app.cpu.settings import PoolSettings
from app.cpu.trips import Ended, packed, unpacked_ends
from app.cpu.watch import Watch
from app.cpu.worker import SPAWN, Worker
from app.errors import DeadlineExceeded, OperationFailed, WorkerLost
from app.ops.tasks import ChainTask, Finished, Refused, unwrapped
from app.tasks import cancel

log = structlog.get_logger(__name__)

START_AGAIN_S = 1.0
WEARS_MS = 5.0
"""Shorter work counts in proportion towards `recycle_after`: what wears are pictures."""


class CpuPool:
    """The children of this process, as many as there are to be."""

    def __init__(self, settings: PoolSettings) -> None:
        """Keep the settings; the children start with `open`."""
        self._settings = settings
        self.workers = settings.worker_count
        self._line: deque[Wanted] = deque()
        self._left: dict[Worker, float] = {}
        """Those in service, each with how many items it may still run."""
        self._idle: list[Worker] = []
        self._idle_count: ctypes.c_int = SPAWN.RawValue(ctypes.c_int)
        """For the children to see."""
        self._busy: dict[Worker, list[Wanted]] = {}
        self._trips: set[asyncio.Task[None]] = set()
        self._background: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Start the children and wait until each has answered; raises as `Worker.start` does."""
        starting = [asyncio.create_task(self._add()) for _ in range(self.workers)]
        try:
            await asyncio.gather(*starting)
        except BaseException:
            await cancel(*starting)
            await self.close()
            raise

    async def close(self, grace_s: float = 0.2) -> None:
        """End the children: at once if idle, by SIGKILL if still at work after `grace_s`."""
        ending = {*self._left, *self._busy}
        self._left.clear()
        self._idle.clear()
        await cancel(*self._background)
        await asyncio.gather(*(worker.end(grace_s) for worker in ending))
        await asyncio.gather(*self._trips)

    @property
    def ready(self) -> bool:
        """False while a child is dead and what takes its place has not answered yet."""
        return len(self._left) >= self.workers

    async def run(
        self,
        task: ChainTask,
        tell: Callable[[int, int], None] | None = None,
        began: Callable[[], None] | None = None,
    ) -> Finished:
        """Run one task: see `run_many`.

        Args:
            task: what to do.
            tell: called every second or so, if there is news, with how much the current step has
                done and of how much, in units that are the step's own.
            began: called when a child takes the work; again, if that child dies, with the next.

        Raises:
            OffloadError: what the operation refused with, as it refused.
            DeadlineExceeded: the work took longer than it may.
            WorkerLost: the child died while it ran this task, and nothing else, again.
        """
        [ended] = await self._all([Wanted(task, tell, began, _future())])
        return unwrapped(ended.outcome)

    async def run_many(
        self,
        tasks: Sequence[ChainTask],
        tell: Callable[[int, int, int], None] | None = None,
        began: Callable[[int], None] | None = None,
    ) -> list[Ended]:
        """Run tasks, each a chain of steps, in children; those that are small together.

        Up to `TRIP_TASKS` of at most `TRIP_MS` by their operations' estimates are one trip; larger
        ones go singly, on as many children as are free. While all are busy, what waits is put
        together whoever asked for it. `limits.time_s` of each counts from the moment its own work
        starts. Cancelling the call abandons the results: tasks that have not begun do not, and a
        child is free again when the work that it is at ends.

        Args:
            tasks: what to do; any number. Their order is the order of what comes back.
            tell: as `run` has it, with the task's place before the others.
            began: called with a task's place when a child takes its trip.

        Returns:
            How each ended. A failure is a value, and its neighbours' outcomes are their own: also
            where it killed the child (`internal.worker_lost`), or does not pickle.
        """
        return await self._all(
            [
                Wanted(task, tell and partial(tell, at), began and partial(began, at), _future())
                for at, task in enumerate(tasks)
            ]
        )

    async def _all(self, wanted: list[Wanted]) -> list[Ended]:
        self._line.extend(wanted)
        self._send()
        try:
            return [await one.ended for one in wanted]
        finally:
            for one in wanted:
                if not one.ended.done() or one.ended.cancelled():
                    self._forget(one)

    def _forget(self, one: Wanted) -> None:
        one.ended.cancel()
        if one in self._line:
            self._line.remove(one)
        if one.forget is not None:
            one.forget()
        self._send()  # it may have been what the others waited behind

    # -- trips -------------------------------------------------------------------------------

    def _send(self) -> None:
        """Begin as many trips as there are idle children."""
        while self._line and self._idle and not self._held_up():
            worker, wanted = self._idle.pop(), next_trip(self._line)
            self._busy[worker] = wanted
            self._wear(worker, wanted)
            for place, one in enumerate(wanted):
                one.forget = partial(worker.board.forget, place)
                if one.began is not None:
                    one.began()
            _spawn(self._trip(worker, wanted), self._trips)
        self._idle_count.value = len(self._idle)

    def _held_up(self) -> bool:
        """Tell whether somebody runs alone, or is to be the next who does."""
        alone = self._line[0].alone or any(trip[0].alone for trip in self._busy.values())
        return bool(self._busy) and alone

    async def _trip(self, worker: Worker, wanted: list[Wanted]) -> None:
        """Not ended by a caller that is cancelled: its child is busy all the same."""
        payload, ends = packed([one.task for one in wanted])
        watch = Watch(worker, wanted, self._settings.kill_grace_s)
        died = False
        try:
            ends |= _read(await worker.run(payload))
        except (EOFError, OSError):
            died = True
            await worker.end(0)  # it may have closed its end of the line only
        watch.stop()
        del self._busy[worker]
        self._settle(wanted, ends, watch.killed, died=died)
        if worker in self._left:
            self._idle.append(worker)
        elif not died:
            _spawn(worker.end(None), self._background)
        self._send()

    def _settle(
        self, wanted: list[Wanted], ends: dict[int, Ended], killed: int, *, died: bool
    ) -> None:
        """Tell how the tasks of a trip ended; those of which nothing is known go once more, alone.

        So each has two chances.
        """
        again = []
        for place, one in enumerate(wanted):
            one.forget = None
            if one.ended.done():
                continue
            if place in ends:
                one.ended.set_result(ends[place])
            elif place == killed:
                limit_s = one.task.limits.time_s
                said = f"The work took longer than {limit_s:g} s and was stopped."
                one.ended.set_result(_refusal(DeadlineExceeded, said, limit_s=limit_s))
            elif died and one.alone:
                said = "The worker process died each time it ran this item."
                one.ended.set_result(_refusal(WorkerLost, said))
            elif not died and len(wanted) == 1:
                one.ended.set_result(_refusal(OperationFailed, "The operation failed."))
            else:
                one.task = replace(one.task, deaths=one.task.deaths + 1)
                again.append(one)
        self._line.extendleft(reversed(again))

    # -- children ----------------------------------------------------------------------------

    async def _add(self) -> None:
        worker = await Worker.start(self._idle_count, self._settings.memory_bytes, self._replace)
        self._left[worker] = self._settings.recycle_after
        self._idle.append(worker)
        self._send()

    async def _add_in_time(self) -> None:
        """Add a child, however long it takes until one can start."""
        while True:
            try:
                return await self._add()
            except (EOFError, OSError):
                log.exception("worker_not_started")
                await asyncio.sleep(START_AGAIN_S)

    def _replace(self, dead: Worker) -> None:
        """Have another take a dead child's place, if it was in service."""
        left = self._out_of_service(dead)
        if left is None:
            return
        log.error("worker_died", pid=dead.pid)
        if left > 0:  # else another is on its way
            _spawn(self._add_in_time(), self._background)

    def _out_of_service(self, worker: Worker) -> float | None:
        if worker in self._idle:
            self._idle.remove(worker)
        return self._left.pop(worker, None)

    def _wear(self, worker: Worker, wanted: list[Wanted]) -> None:
        fresh = self._left[worker] > 0
        self._left[worker] -= sum(min(1.0, one.weight_ms / WEARS_MS) for one in wanted)
        if fresh and self._left[worker] <= 0:
            _spawn(self._renew(worker), self._background)

    async def _renew(self, worn: Worker) -> None:
        """Swap in a fresh child: one that has done hundreds of pictures has grown."""
        await self._add_in_time()
        self._out_of_service(worn)
        if worn not in self._busy:
            await worn.end(None)


def _spawn(work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _read(payload: bytes) -> dict[int, Ended]:
    """Read what a child says of a trip's tasks; nothing where that cannot be read."""
    try:
        return unpacked_ends(payload) if payload else {}
    except Exception:  # a value of an operation's own class may do anything
        log.exception("results_not_read")
        return {}


def _future() -> asyncio.Future[Ended]:
    return asyncio.get_running_loop().create_future()


def _refusal(
    kind: type[DeadlineExceeded | WorkerLost | OperationFailed], detail: str, **extra: Any
) -> Ended:
    return Ended(Refused(kind.code, detail, "", extra))
