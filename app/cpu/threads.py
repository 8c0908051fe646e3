"""Threads instead of children: of this process, or each with an interpreter of its own.

Nothing from outside ends a thread. What is past its deadline stops when it next tells of its
progress; what never does is failed all the same, and its thread is lost until it ends.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import structlog

from app.cpu.board import Board
from app.cpu.generation import Generation
from app.cpu.running import run_on
from app.ops.worker import warm_up

log = structlog.get_logger(__name__)

NAME = "offload-cpu"


class Threads(Generation):
    """So many threads of one `ThreadPoolExecutor`. They never wear out."""

    mortal = False

    def __init__(self, workers: int, executor: ThreadPoolExecutor | None = None) -> None:
        """Start nothing yet."""
        executor = executor or ThreadPoolExecutor(workers, NAME)
        super().__init__(Board.local(workers), executor, math.inf)
        self._under_way: dict[int, asyncio.Future[bytes]] = {}

    async def start(self, on_death: Callable[[Generation], None]) -> None:
        """Load what the first item should not have to wait for; no thread ever dies."""
        await asyncio.get_running_loop().run_in_executor(self._executor, warm_up)

    def run(self, row: int, payload: bytes) -> asyncio.Future[bytes]:
        """See `Generation`."""
        loop = asyncio.get_running_loop()
        function, args = self._call(row, payload)
        running = loop.run_in_executor(self._executor, function, *args)
        self._under_way[row] = running
        running.add_done_callback(lambda _: self._under_way.pop(row))
        return running

    def _call(self, row: int, payload: bytes) -> tuple[Callable[..., bytes], tuple[Any, ...]]:
        return run_here, (self.board, row, payload)

    def kill(self, row: int) -> None:
        """Have the trip begin no more of its tasks: all that can be done."""
        self.board.forget_all(row)
        log.error("thread_lost", thread=self.board.pid(row), reason="item deadline")

    async def end(self, grace_s: float | None) -> None:
        """See `Generation`."""
        for row in self._under_way:
            self.board.forget_all(row)
        self._executor.shutdown(wait=False)
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()), timeout=grace_s)
        if self._under_way:
            log.error("threads_left", threads=len(self._under_way))


class Interpreters(Threads):
    """So many threads, each with an interpreter, and so a GIL, of its own."""

    def __init__(self, workers: int) -> None:
        """Start nothing yet."""
        super().__init__(workers, _interpreter_pool(workers))

    async def start(self, on_death: Callable[[Generation], None]) -> None:
        """Start every interpreter, and have it import what it needs."""
        loop = asyncio.get_running_loop()
        starting = (loop.run_in_executor(self._executor, int) for _ in range(self.board.workers))
        await asyncio.gather(*starting)

    def _call(self, row: int, payload: bytes) -> tuple[Callable[..., bytes], tuple[Any, ...]]:
        # Only what has no references crosses into another interpreter: memory, bytes, numbers.
        return run_there, (self.board.memory, self.board.workers, row, payload)


def _interpreter_pool(workers: int) -> ThreadPoolExecutor:
    # By name: before Python 3.14, see `check_interpreters`, there is none to import.
    futures: Any = import_module("concurrent.futures")
    pool: ThreadPoolExecutor = futures.InterpreterPoolExecutor(workers, NAME, warm_up)
    return pool


def run_there(memory: memoryview, workers: int, row: int, payload: bytes) -> bytes:
    """Run a trip in the calling interpreter: see `run_on`."""
    return run_here(Board.over(memory, workers), row, payload)


def run_here(board: Board, row: int, payload: bytes) -> bytes:
    """Run a trip on the calling thread: see `run_on`."""
    return run_on(board, row, payload, threading.get_native_id())


def left(timeout_s: float = 0.0) -> int:
    """Count the threads that have work under way, also of a pool that is closed.

    With a timeout, once it is over or there are none.
    """
    until = time.monotonic() + timeout_s
    for thread in _all():
        thread.join(max(0.0, until - time.monotonic()))
    return len(_all())


def _all() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(NAME)]
