"""Children: what the pool has unless it is told otherwise."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress

import structlog

from app.cpu.board import Board
from app.cpu.child import run_trip, start_worker
from app.cpu.generation import Generation

log = structlog.get_logger(__name__)

START_TIMEOUT_S = 60.0


class Processes(Generation):
    """So many children of one `ProcessPoolExecutor`."""

    mortal = True

    def __init__(self, workers: int, memory_bytes: int, items: float) -> None:
        """Start nothing yet.

        Args:
            workers: how many children.
            memory_bytes: see `prepare_worker`.
            items: after so many the children are worn.
        """
        spawn = multiprocessing.get_context("spawn")
        board = Board.shared(spawn, workers)
        self._watched: list[int] = []
        executor = ProcessPoolExecutor(
            workers,
            mp_context=spawn,
            initializer=start_worker,
            initargs=(
                board,
                spawn.Barrier(workers, timeout=START_TIMEOUT_S),
                os.getpid(),
                memory_bytes,
            ),
        )
        super().__init__(board, executor, items)

    async def start(self, on_death: Callable[[Generation], None]) -> None:
        """See `Generation`; a child's death is told by its pidfd."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(self._executor, os.getpid) for _ in range(self.board.workers))
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

    def run(self, row: int, payload: bytes) -> asyncio.Future[bytes]:
        """See `Generation`."""
        return asyncio.get_running_loop().run_in_executor(self._executor, run_trip, row, payload)

    def kill(self, row: int) -> None:
        """See `Generation`."""
        pid = self.board.pid(row)
        log.error("worker_killed", pid=pid, reason="item deadline")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    async def end(self, grace_s: float | None) -> None:
        """See `Generation`."""
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
