"""The board: shared memory on which children say who they are and what they do.

One row for each trip that may be under way. The parent gives a trip its row, so that it finds what
a child wrote there, also when that child is dead.
"""

from __future__ import annotations

import ctypes
import os
import time
from multiprocessing.context import SpawnContext
from typing import Any

NOTHING = -1
_PID, _BEGAN, _DONE, _TOTAL, _PLACE, _UNWANTED = range(6)
"""The place last of what a child writes: who sees it sees the rest as well."""
_COLUMNS = 6


class Board:
    """For so many children and as many trips; goes to each child when it starts."""

    def __init__(self, context: SpawnContext, workers: int) -> None:
        """Make one with nothing on it."""
        self.workers = workers
        self._lock = context.Lock()
        # Behind the rows, the process ids of all children.
        self._cells: Any = context.RawArray(ctypes.c_int64, (_COLUMNS + 1) * workers)

    def sign(self) -> None:
        """Say that the calling process is a child."""
        with self._lock:
            self._cells[_COLUMNS * self.workers + len(self.pids())] = os.getpid()

    def pids(self) -> list[int]:
        """Give the process ids of the children that have signed."""
        return [pid for pid in self._cells[_COLUMNS * self.workers :] if pid]

    # -- what the parent does ----------------------------------------------------------------

    def clear(self, row: int) -> None:
        """Give a row to a new trip."""
        at = row * _COLUMNS
        self._cells[at : at + _COLUMNS] = [0] * _COLUMNS

    def place(self, row: int) -> int:
        """Tell at which of a trip's tasks its child is, or was when it died; or `NOTHING`."""
        return int(self._cells[row * _COLUMNS + _PLACE]) - 1

    def pid(self, row: int) -> int:
        """Tell which child is on a trip; 0 before it has begun."""
        return int(self._cells[row * _COLUMNS + _PID])

    def worked_s(self, row: int) -> float:
        """Tell for how long the child has been at its task."""
        began_ms: int = self._cells[row * _COLUMNS + _BEGAN]
        return time.monotonic() - began_ms / 1e3

    def progress(self, row: int) -> tuple[int, int] | None:
        """Tell how much of the current step is done, and of how much, if it has told."""
        at = row * _COLUMNS
        done, total = self._cells[at + _DONE], self._cells[at + _TOTAL]
        return (min(done, total), total) if total else None

    def forget(self, row: int, place: int) -> None:
        """Say that nobody waits for a task any more: if it has not begun, it need not."""
        self._cells[row * _COLUMNS + _UNWANTED] |= 1 << place

    # -- what a child does -------------------------------------------------------------------

    def begin(self, row: int, place: int) -> bool:
        """Say which task is begun; False if nobody waits for it."""
        at = row * _COLUMNS
        if self._cells[at + _UNWANTED] >> place & 1:
            return False
        now_ms = int(time.monotonic() * 1e3)
        self._cells[at : at + _UNWANTED] = [os.getpid(), now_ms, 0, 0, place + 1]
        return True

    def tell(self, row: int, done: int, total: int) -> None:
        """Say how much of the current step is done."""
        at = row * _COLUMNS
        self._cells[at + _DONE], self._cells[at + _TOTAL] = done, total

    def end(self, row: int) -> None:
        """Say that a trip is over."""
        self._cells[row * _COLUMNS + _PLACE] = 0

    def idle(self) -> int:
        """Count the children that have nothing to do."""
        count: int = self._cells[_PLACE : _COLUMNS * self.workers : _COLUMNS].count(0)
        return count
