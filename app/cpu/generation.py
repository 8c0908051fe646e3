"""One executor with its children and its board; the pool has one, and two while they change."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress

from app.cpu.board import Board
from app.cpu.child import run_trip, start_worker

START_TIMEOUT_S = 60.0
"""For all children to be up; a pool that takes longer counts as broken."""


class Generation:
    """So many children, from start to end."""

    def __init__(self, workers: int, memory_bytes: int, items: float) -> None:
        """Start nothing yet.

        Args:
            workers: how many children.
            memory_bytes: see `prepare_worker`.
            items: after so many the children are worn.
        """
        spawn = multiprocessing.get_context("spawn")
        self.board = Board(spawn, workers)
        self.items_left = items
        self._rows = list(range(workers))
        self._workers = workers
        self._watched: list[int] = []
        self._executor = ProcessPoolExecutor(
            workers,
            mp_context=spawn,
            initializer=start_worker,
            initargs=(
                self.board,
                spawn.Barrier(workers, timeout=START_TIMEOUT_S),
                os.getpid(),
                memory_bytes,
            ),
        )

    async def start(self, on_death: Callable[[Generation], None]) -> None:
        """Start every child, and return when all have imported what they need.

        From then on a child's death is told to `on_death` when it happens, not at the next task.

        Raises:
            BrokenProcessPool: a child could not start.
        """
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(self._executor, os.getpid) for _ in range(self._workers))
        )
        for pid in self.board.pids():
            try:
                watched = os.pidfd_open(pid)
            except ProcessLookupError:
                on_death(self)
                continue
            self._watched.append(watched)
            loop.add_reader(watched, self._died, on_death, watched)

    def _died(self, on_death: Callable[[Generation], None], watched: int) -> None:
        # It stays readable for ever.
        asyncio.get_running_loop().remove_reader(watched)
        on_death(self)

    def take_row(self) -> int:
        """Give a trip a row of the board to itself; there are as many as children."""
        row = self._rows.pop()
        self.board.clear(row)
        return row

    def give_row(self, row: int) -> None:
        """Take back the row of a trip that is over."""
        self._rows.append(row)

    def run(self, row: int, payload: bytes) -> asyncio.Future[bytes]:
        """Have a child run a trip: see `run_trip`. Raises `BrokenProcessPool` if none can."""
        return asyncio.get_running_loop().run_in_executor(self._executor, run_trip, row, payload)

    async def end(self, grace_s: float | None) -> None:
        """Shut the executor down; kill the children that are still at work after `grace_s`.

        Without a limit (None) it waits for them, unless it is cancelled.
        """
        for watched in self._watched:
            asyncio.get_running_loop().remove_reader(watched)
            os.close(watched)
        self._watched.clear()
        # One call only: the first forgets the thread that a second would have to wait for.
        ending = asyncio.ensure_future(asyncio.to_thread(self._executor.shutdown, wait=True))
        try:
            await asyncio.wait([ending], timeout=grace_s)
        finally:
            if not ending.done():
                for pid in self.board.pids():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            await ending
