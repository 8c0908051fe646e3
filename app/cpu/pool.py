"""The only owner of the process pool: CPU work goes to children, and comes back a value.

Where the operator says so, the children are threads (`threads.py`); the rest is as it is.

What is decided here, and measured in `docs/concurrency.md`:

- Large bodies cross the pipe as paths, small ones as values, and small tasks go together: a trip
  there and back costs more than the work of most.
- No more trips are under way than there are children, so the clock of an item starts when its
  work does, and a deadline never counts time spent in a queue.
- A dead child breaks a `ProcessPoolExecutor` for everybody. The pool is then rebuilt once, and
  what was in flight runs again, one task at a time: one that kills its child fails alone.
- The limits live in the child (`app/ops/bounds.py`). Behind them stands a kill from here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from app import metrics
from app.cpu.generation import Generation
from app.cpu.kinds import generation_of, lost_with
from app.cpu.line import Wanted, next_trip
from app.cpu.settings import PoolSettings
from app.cpu.trips import Ended, packed, unpacked_ends
from app.cpu.watch import Trip, Watch
from app.errors import DeadlineExceeded, OperationFailed, WorkerLost
from app.ops.tasks import ChainTask, Finished, Refused, unwrapped
from app.tasks import cancel

log = structlog.get_logger(__name__)

REBUILD_PAUSE_S = 1.0
WEARS_MS = 5.0
"""Shorter work counts in proportion towards `recycle_after`: what wears are pictures."""


class CpuPool:
    """One shared `ProcessPoolExecutor`, or another, only through `loop.run_in_executor`."""

    def __init__(self, settings: PoolSettings) -> None:
        """Keep the settings; the children start with `open`."""
        self._settings = settings
        self.executor = settings.executor
        self.lost = lost_with(settings.executor)
        """What processes isolate and these workers do not, see `LOST`."""
        self.workers = settings.worker_count
        self._free = self.workers
        self._line: deque[Wanted] = deque()
        self._ready = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()
        self._astray: set[Trip] = set()
        """Of threads: past their deadlines, and given up."""
        self._replacing = False

    async def open(self) -> None:
        """Start the children and wait until each has answered."""
        if self.lost:
            log.warning("not_isolated", executor=self.executor, lost=",".join(self.lost))
        self._generation = self._new_generation()
        await self._generation.start(self._replace)
        self._ready.set()

    async def close(self, grace_s: float = 0.2) -> None:
        """End the children: at once if idle, by SIGKILL if still at work after `grace_s`."""
        await cancel(*self._background)
        self._ready.clear()
        await self._generation.end(grace_s)

    @property
    def busy(self) -> int:
        """Count the children that are at work."""
        return self.workers - self._free

    @property
    def ready(self) -> bool:
        """False while the pool is broken and its replacement has not answered yet.

        And while all threads are lost in what is past its deadline, where threads it has.
        """
        return self._ready.is_set() and len(self._astray) < self.workers

    @property
    def why_not(self) -> str:
        """Say why it is not ready, if it is not."""
        if self._astray:
            return "all threads are lost in items past their deadline"
        return "the worker pool is broken and being rebuilt"

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
        """Begin as many trips as there are free children."""
        while self._line and self._free and self._ready.is_set():
            suspect = self._line[0].alone and self._generation.mortal
            workers = self.workers if suspect else 1
            if self._free < workers:
                return
            self._free -= workers
            self._begin(next_trip(self._line), self._generation, workers)

    def _begin(self, wanted: list[Wanted], generation: Generation, workers: int) -> None:
        row = generation.take_row()
        payload, unsent = packed([one.task for one in wanted])
        watch = Watch(generation.board, row, wanted, self._settings.kill_grace_s)
        trip = Trip(wanted, generation, workers, row, watch, unsent)
        try:
            running = generation.run(row, payload)
        except BrokenProcessPool:
            self._over(trip)
            self._line.extendleft(reversed(wanted))
            self._replace(generation)
            return
        running.add_done_callback(partial(self._ended, trip))
        watch.begin(partial(self._overdue, trip))
        self._count(trip)
        for place, one in enumerate(wanted):
            one.forget = partial(generation.board.forget, row, place)
            if one.began is not None:
                one.began()

    def _ended(self, trip: Trip, running: asyncio.Future[bytes]) -> None:
        # Not when the await ends: a cancelled caller leaves the child busy.
        self._over(trip)
        error = running.exception()
        if trip in self._astray:
            self._astray.remove(trip)
            log.info("thread_found", lost=len(self._astray))
        elif isinstance(error, BrokenProcessPool):
            self._replace(trip.generation)
            self._again(trip)
        else:
            if error is not None:
                log.error("trip_failed", exc_info=error)
            self._tell_ends(trip, b"" if error else running.result())
        self._send()

    def _over(self, trip: Trip) -> None:
        trip.watch.stop()
        if trip not in self._astray:  # else they have gone on without it
            trip.let_go()
        trip.generation.give_row(trip.row)
        self._free += trip.workers

    def _tell_ends(self, trip: Trip, payload: bytes) -> None:
        try:
            ends = trip.unsent | unpacked_ends(payload)
        except Exception:  # a value of an operation's own class may do anything
            log.exception("results_not_read")
            ends = trip.unsent
        missing = []
        for place, one in enumerate(trip.wanted):
            if one.ended.done():
                continue
            if place in ends:
                one.ended.set_result(ends[place])
            elif len(trip.wanted) == 1:
                one.ended.set_result(_refusal(OperationFailed, "The operation failed."))
            else:
                missing.append(one)
        self._once_more(missing)

    # -- when a worker dies, or is lost ------------------------------------------------------

    def _overdue(self, trip: Trip) -> None:
        trip.generation.kill(trip.row)
        if not trip.generation.mortal:
            self._astray.add(trip)
            trip.let_go()
            self._again(trip)
            self._send()

    def _again(self, trip: Trip) -> None:
        """Have the tasks of a trip that broke run again, each alone: so each has two chances."""
        again = []
        for place, one in enumerate(trip.wanted):
            if one.ended.done():
                continue
            if place == trip.watch.overdue:
                limit_s = one.task.limits.time_s
                became = "stopped" if trip.generation.mortal else "given up"
                said = f"The work took longer than {limit_s:g} s and was {became}."
                one.ended.set_result(_refusal(DeadlineExceeded, said, limit_s=limit_s))
            elif one.alone:
                said = "The worker process died each time it ran this item."
                one.ended.set_result(_refusal(WorkerLost, said))
            else:
                again.append(one)
        self._once_more(again)

    def _once_more(self, wanted: list[Wanted]) -> None:
        """Have tasks wait before all others, to run alone."""
        for one in wanted:
            one.task = replace(one.task, deaths=one.task.deaths + 1)
        self._line.extendleft(reversed(wanted))

    # -- generations -------------------------------------------------------------------------

    def _new_generation(self) -> Generation:
        return generation_of(self._settings)

    def _replace(self, broken: Generation) -> None:
        """Build a new pool, once for each break, however many calls report it."""
        if broken is self._generation and self._ready.is_set():
            self._ready.clear()
            metrics.workers_restarted("died")
            log.error("pool_broken", workers=self.workers)
            self._spawn_background(self._rebuild())

    async def _rebuild(self) -> None:
        old = self._generation
        while True:
            await old.end(grace_s=0)
            self._generation = old = self._new_generation()
            try:
                await old.start(self._replace)
            except BrokenProcessPool:
                log.exception("pool_not_rebuilt")
                await asyncio.sleep(REBUILD_PAUSE_S)
            else:
                break
        self._ready.set()
        log.info("pool_rebuilt", workers=self.workers)
        self._send()

    def _count(self, trip: Trip) -> None:
        generation = trip.generation
        generation.items_left -= sum(min(1.0, one.weight_ms / WEARS_MS) for one in trip.wanted)
        if generation.items_left <= 0 and not self._replacing:
            self._replacing = True
            self._spawn_background(self._recycle(generation))

    async def _recycle(self, worn: Generation) -> None:
        """Swap in fresh children: a worker that has done hundreds of pictures has grown.

        `max_tasks_per_child` would do this inside the executor, and can deadlock there
        (python/cpython#115634); a second executor cannot.
        """
        fresh = self._new_generation()
        grace_s = None
        try:
            await fresh.start(self._replace)
        except BrokenProcessPool:
            grace_s = 0.0
        except asyncio.CancelledError:
            await fresh.end(grace_s=0)
            raise
        else:
            if self._generation is worn and self._ready.is_set():
                self._generation, fresh = fresh, worn
                metrics.workers_restarted("worn")
        finally:
            self._replacing = False
        # Whichever of the two is not in use ends when its last task has ended.
        await fresh.end(grace_s)

    def _spawn_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _future() -> asyncio.Future[Ended]:
    return asyncio.get_running_loop().create_future()


def _refusal(
    kind: type[DeadlineExceeded | WorkerLost | OperationFailed], detail: str, **extra: Any
) -> Ended:
    return Ended(Refused(kind.code, detail, "", extra))
