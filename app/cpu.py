"""The only owner of the process pool: CPU work goes to children, by path, and comes back a value.

What is decided here, and measured in `docs/concurrency.md`:

- Paths, never bytes, cross the pipe.
- No more work is handed over than there are children, so the clock of an item starts when its
  work does, and a deadline never counts time spent in a queue.
- A dead child breaks a `ProcessPoolExecutor` for everybody. The pool is then rebuilt once, and
  what was in flight runs again, one suspect at a time: a task that kills its child fails alone.
- The limits live in the child (`app/ops/chain.py`). Behind them stands a kill from here.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.synchronize import Barrier
from multiprocessing.util import Finalize
from typing import Any

import structlog
from pydantic import BaseModel, Field

from app.errors import DeadlineExceeded, WorkerLost
from app.ops.chain import ChainTask, Finished, Refused, prepare_worker, run_chain, unwrapped

log = structlog.get_logger(__name__)

PR_SET_PDEATHSIG = 1
IDLE = 0
"""Task number of a child that has nothing to do."""
COLUMNS = 4
"""Of the board, for each child: process id, task number, how much is done, of how much."""
PROGRESS_EVERY_S = 1.0
REBUILD_PAUSE_S = 1.0
START_TIMEOUT_S = 60.0
"""For all children to be up; a pool that takes longer counts as broken."""


class PoolSettings(BaseModel):
    """OFFLOAD_POOL_*: the worker processes."""

    workers: int = Field(
        0, ge=0, le=256, description="Worker processes; 0 is one per available core."
    )
    memory_bytes: int = Field(
        1 << 30,
        ge=256 << 20,
        le=1 << 40,
        description="Address space of one worker (RLIMIT_AS).",
    )
    recycle_after: int = Field(
        500,
        ge=1,
        le=1_000_000,
        description="Items per worker after which the workers are replaced.",
    )
    kill_grace_s: float = Field(
        5,
        gt=0,
        le=3600,
        description="Seconds past an item's deadline until its worker is killed.",
    )

    @property
    def worker_count(self) -> int:
        """How many children that makes on this machine."""
        return self.workers or len(os.sched_getaffinity(0))


class _Turnstile:
    """Counts free workers; one may be taken, or all of them at once, in order of asking."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._order = asyncio.Lock()
        self._freed = asyncio.Event()

    async def take(self, *, all_of_them: bool) -> int:
        """Wait for one worker, or for all; returns how many were taken."""
        wanted = self._size if all_of_them else 1
        async with self._order:
            while self._free < wanted:
                self._freed.clear()
                await self._freed.wait()
            self._free -= wanted
        return wanted

    def give_back(self, taken: int) -> None:
        self._free += taken
        self._freed.set()


@dataclass(slots=True)
class _Generation:
    """One executor, and the board on which its children say who they are and what they run."""

    executor: ProcessPoolExecutor
    board: Any
    """Shared array: `COLUMNS` numbers for each child."""
    tasks_left: int
    watched: list[int] = field(default_factory=list)
    """Descriptors that become readable when a child dies."""

    def pids(self) -> list[int]:
        return [pid for pid in self.board[0::COLUMNS] if pid]

    def pid_running(self, task_number: int) -> int | None:
        place = self._place(task_number)
        return None if place is None else self.board[place]

    def progress(self, task_number: int) -> tuple[int, int] | None:
        place = self._place(task_number)
        if place is None:
            return None
        _, _, done, total = self.board[place : place + COLUMNS]
        return (min(done, total), total) if total else None

    def _place(self, task_number: int) -> int | None:
        numbers = self.board[1::COLUMNS]
        return COLUMNS * numbers.index(task_number) if task_number in numbers else None


class CpuPool:
    """One shared `ProcessPoolExecutor`, used only through `loop.run_in_executor`."""

    def __init__(self, settings: PoolSettings) -> None:
        """Keep the settings; the children start with `open`."""
        self._settings = settings
        self.workers = settings.worker_count
        self._free = _Turnstile(self.workers)
        self._numbers = 0
        self._overdue: set[int] = set()
        self._ready = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()
        self._replacing = False

    async def open(self) -> None:
        """Start the children and wait until each has answered."""
        self._generation = self._new_generation()
        await self._warm_up(self._generation)
        self._ready.set()

    async def close(self, grace_s: float = 0.2) -> None:
        """End the children: at once if idle, by SIGKILL if still at work after `grace_s`."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._ready.clear()
        await _end(self._generation, grace_s)

    @property
    def ready(self) -> bool:
        """False while the pool is broken and its replacement has not answered yet."""
        return self._ready.is_set()

    async def run(
        self,
        task: ChainTask,
        tell: Callable[[int, int], None] | None = None,
        began: Callable[[], None] = lambda: None,
    ) -> Finished:
        """Run a chain of steps in a child.

        Waits for a free child first; `task.limits.time_s` counts from the moment the work starts.
        Cancelling the call abandons the result; the child is free again when its work ends.

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
        for alone in (False, True):
            if alone:
                # A child that died has left half of its work behind.
                task = replace(task, folder=task.folder / "again")
            try:
                result = await self._run_once(task, tell, began, alone=alone)
            except BrokenProcessPool:
                continue  # whose fault it was shows when each suspect has run alone
            return unwrapped(result)
        raise WorkerLost("The worker process died each time it ran this item.")

    async def _run_once(
        self,
        task: ChainTask,
        tell: Callable[[int, int], None] | None,
        began: Callable[[], None],
        *,
        alone: bool,
    ) -> Finished | Refused:
        taken = await self._free.take(all_of_them=alone)
        try:
            await self._ready.wait()
            generation = self._generation
            self._numbers += 1
            number = self._numbers
            running = asyncio.get_running_loop().run_in_executor(
                generation.executor, _run_numbered, number, task
            )
        except BaseException as error:
            self._free.give_back(taken)
            if isinstance(error, BrokenProcessPool):
                self._replace(generation)
            raise
        self._count(generation)
        killer = asyncio.get_running_loop().call_later(
            task.limits.time_s + self._settings.kill_grace_s, self._kill, generation, number
        )

        def ended(done: asyncio.Future[Finished | Refused]) -> None:
            # Not when the await ends: a cancelled caller leaves the child busy.
            killer.cancel()
            self._free.give_back(taken)
            if not done.cancelled() and isinstance(done.exception(), BrokenProcessPool):
                self._replace(generation)

        running.add_done_callback(ended)
        began()
        try:
            if tell is not None:
                await _told(running, partial(generation.progress, number), tell)
            result = await asyncio.shield(running)
        except BrokenProcessPool:
            if number in self._overdue:
                self._overdue.discard(number)
                raise DeadlineExceeded(
                    f"The work took longer than {task.limits.time_s:g} s and was stopped.",
                    limit_s=task.limits.time_s,
                ) from None
            raise
        return result

    def _kill(self, generation: _Generation, number: int) -> None:
        """Stop a child whose own timer did not: it is inside one long C call."""
        if pid := generation.pid_running(number):
            self._overdue.add(number)
            log.error("worker_killed", pid=pid, reason="item deadline")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # -- generations -------------------------------------------------------------------------

    def _new_generation(self) -> _Generation:
        spawn = multiprocessing.get_context("spawn")
        board = spawn.Array(ctypes.c_uint64, COLUMNS * self.workers)
        all_up = spawn.Barrier(self.workers, timeout=START_TIMEOUT_S)
        executor = ProcessPoolExecutor(
            self.workers,
            mp_context=spawn,
            initializer=_start_worker,
            initargs=(board, all_up, os.getpid(), self._settings.memory_bytes),
        )
        return _Generation(executor, board, self._settings.recycle_after * self.workers)

    async def _warm_up(self, generation: _Generation) -> None:
        """Start every child, and return when all have imported what they need.

        From then on a child's death is noticed when it happens, not at the next task.
        """
        loop = asyncio.get_running_loop()
        answers = (
            loop.run_in_executor(generation.executor, os.getpid) for _ in range(self.workers)
        )
        await asyncio.gather(*answers)
        for pid in generation.pids():
            try:
                watched = os.pidfd_open(pid)
            except ProcessLookupError:
                self._replace(generation)
                continue
            generation.watched.append(watched)
            loop.add_reader(watched, self._child_died, generation, watched)

    def _child_died(self, generation: _Generation, watched: int) -> None:
        # It stays readable for ever.
        asyncio.get_running_loop().remove_reader(watched)
        self._replace(generation)

    def _replace(self, broken: _Generation) -> None:
        """Build a new pool, once for each break, however many calls report it."""
        if broken is self._generation and self._ready.is_set():
            self._ready.clear()
            log.error("pool_broken", workers=self.workers)
            self._spawn_background(self._rebuild())

    async def _rebuild(self) -> None:
        old = self._generation
        while True:
            await _end(old, grace_s=0)
            self._generation = old = self._new_generation()
            try:
                await self._warm_up(old)
            except BrokenProcessPool:
                log.exception("pool_not_rebuilt")
                await asyncio.sleep(REBUILD_PAUSE_S)
            else:
                break
        self._ready.set()
        log.info("pool_rebuilt", workers=self.workers)

    def _count(self, generation: _Generation) -> None:
        generation.tasks_left -= 1
        if generation.tasks_left <= 0 and not self._replacing:
            self._replacing = True
            self._spawn_background(self._recycle(generation))

    async def _recycle(self, worn: _Generation) -> None:
        """Swap in fresh children: a worker that has done hundreds of pictures has grown.

        `max_tasks_per_child` would do this inside the executor, and can deadlock there
        (python/cpython#115634); a second executor cannot.
        """
        fresh = self._new_generation()
        grace_s = None
        try:
            await self._warm_up(fresh)
        except BrokenProcessPool:
            grace_s = 0.0
        except asyncio.CancelledError:
            await _end(fresh, grace_s=0)
            raise
        else:
            if self._generation is worn and self._ready.is_set():
                self._generation, fresh = fresh, worn
        finally:
            self._replacing = False
        # Whichever of the two is not in use ends when its last task has ended.
        await _end(fresh, grace_s)

    def _spawn_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _told(
    running: asyncio.Future[Any],
    progress: Callable[[], tuple[int, int] | None],
    tell: Callable[[int, int], None],
) -> None:
    """Wait for the end of `running`, however it ends, and tell of the progress until then."""
    last = None
    while not running.done():
        await asyncio.wait([running], timeout=PROGRESS_EVERY_S)
        now = progress()
        if now is not None and now != last:
            last = now
            tell(*now)


async def _end(generation: _Generation, grace_s: float | None) -> None:
    """Shut an executor down; kill the children that are still at work after `grace_s`.

    Without a limit (None) it waits for them, unless it is cancelled.
    """
    for watched in generation.watched:
        asyncio.get_running_loop().remove_reader(watched)
        os.close(watched)
    generation.watched.clear()
    # One call only: the first forgets the thread that a second would have to wait for.
    ending = asyncio.ensure_future(asyncio.to_thread(generation.executor.shutdown, wait=True))
    try:
        await asyncio.wait([ending], timeout=grace_s)
    finally:
        if not ending.done():
            for pid in generation.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        await ending


# -- in the child ------------------------------------------------------------------------------

_board: Any = None
_place = 0


def _start_worker(board: Any, all_up: Barrier, parent_pid: int, memory_bytes: int) -> None:
    """Initialise a child: sign the board, never outlive the service, take on the limits.

    None begins before all are up: otherwise the first one takes the greetings of the others, and
    the pool counts as warm with half of it missing.
    """
    global _board, _place  # noqa: PLW0603 - a child has one board and one place on it
    die_with_parent(parent_pid)
    with board.get_lock():
        _place = COLUMNS * sum(1 for pid in board[0::COLUMNS] if pid)
        board[_place] = os.getpid()
    _board = board.get_obj()
    # Nothing is left to do when a child has ended its work; taking apart the interpreter with all
    # its libraries would be half a second on every core, at each stop and each replacement.
    Finalize(None, os._exit, args=(0,), exitpriority=-100)
    prepare_worker(memory_bytes)
    all_up.wait()


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent dies, whatever it died of.

    Holds for the `spawn` method only: under `forkserver` the parent is the fork server.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the kernel was told
        os._exit(1)


def _run_numbered(number: int, task: ChainTask) -> Finished | Refused:
    _board[_place + 2 : _place + COLUMNS] = [0, 0]
    _board[_place + 1] = number
    try:
        return run_chain(task, _tell, _cores)
    finally:
        _board[_place + 1] = IDLE


def _tell(done: int, total: int) -> None:
    _board[_place + 2], _board[_place + 3] = done, total


def _cores() -> int:
    """Count this child's core and those of the children that are idle."""
    idle: int = _board[1::COLUMNS].count(IDLE)
    return 1 + idle
