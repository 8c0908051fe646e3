"""One executor with its workers and its board; the pool has one, and two while they change."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ClassVar

from app.cpu.board import Board


class Generation(ABC):
    """So many workers, from start to end; `Processes` and `Threads` are the kinds."""

    mortal: ClassVar[bool]
    """Whether a worker can die, by its work or by our hand, and the service lives."""

    def __init__(self, board: Board, executor: Executor, items: float) -> None:
        """Start nothing yet.

        Args:
            board: of its workers.
            executor: what has them.
            items: after so many the workers are worn.
        """
        self.board = board
        self.items_left = items
        self._executor = executor
        self._rows = list(range(board.workers))

    @abstractmethod
    async def start(self, on_death: Callable[[Generation], None]) -> None:
        """Start every worker, and return when all have imported what they need.

        From then on a worker's death is told to `on_death` when it happens, not at the next task.

        Raises:
            BrokenProcessPool: a child could not start.
        """

    def take_row(self) -> int:
        """Give a trip a row of the board to itself; there are as many as workers."""
        row = self._rows.pop()
        self.board.clear(row)
        return row

    def give_row(self, row: int) -> None:
        """Take back the row of a trip that is over."""
        self._rows.append(row)

    @abstractmethod
    def run(self, row: int, payload: bytes) -> asyncio.Future[bytes]:
        """Have a worker run a trip: see `run_trip`. Raises `BrokenProcessPool` if none can."""

    @abstractmethod
    def kill(self, row: int) -> None:
        """End the worker of a trip, if it is mortal: its run then fails."""

    @abstractmethod
    async def end(self, grace_s: float | None) -> None:
        """Shut the executor down; kill the workers that are still at work after `grace_s`.

        Without a limit (None) it waits for them, unless it is cancelled. Those that are not mortal
        are left behind.
        """
