"""The board: memory on which workers, children or threads, say who they are and what they do.

One row for each trip that may be under way. The parent gives a trip its row, so that it finds what
a child wrote there, also when that child is dead.
"""

from __future__ import annotations

import ctypes
import threading
import time
from multiprocessing.context import SpawnContext
from typing import Any, Self

NOTHING = -1
_PID, _BEGAN, _DONE, _TOTAL, _PLACE, _UNWANTED = range(6)
"""The place last of what a child writes: who sees it sees the rest as well."""
_COLUMNS = 6
_ALL_PLACES = -1


class Board:
    """For so many workers and as many trips; goes to each worker when it starts."""

    def __init__(self, workers: int, cells: Any, lock: Any) -> None:
        """Take what holds the numbers, see `shared` and `local`."""
        self.workers = workers
        self._lock = lock
        # Behind the rows, the ids of all workers.
        self._cells = cells

    @classmethod
    def shared(cls, context: SpawnContext, workers: int) -> Self:
        """Make one for processes, with nothing on it."""
        return cls(workers, context.RawArray(ctypes.c_int64, cells_of(workers)), context.Lock())

    @classmethod
    def local(cls, workers: int) -> Self:
        """Make one for threads, with nothing on it."""
        return cls(workers, (ctypes.c_int64 * cells_of(workers))(), threading.Lock())

    @classmethod
    def over(cls, memory: memoryview, workers: int) -> Self:
        """Make one that is another one's `memory`; nobody signs on it."""
        return cls(workers, (ctypes.c_int64 * cells_of(workers)).from_buffer(memory), None)

    @property
    def memory(self) -> memoryview:
        """The numbers themselves, for who cannot have the board: an interpreter."""
        return memoryview(self._cells).cast("B")

    def sign(self, who: int) -> None:
        """Say that there is a worker of this id: of a process or a thread."""
        with self._lock:
            self._cells[_COLUMNS * self.workers + len(self.pids())] = who

    def pids(self) -> list[int]:
        """Give the ids of the workers that have signed."""
        return [pid for pid in self._cells[_COLUMNS * self.workers :] if pid]

    # -- what the parent does ----------------------------------------------------------------

    def clear(self, row: int) -> None:
        """Give a row to a new trip."""
        at = row * _COLUMNS
        self._cells[at : at + _COLUMNS] = [0] * _COLUMNS

    def place(self, row: int) -> int:
        """Tell at which of a trip's tasks its worker is, or was when it died; or `NOTHING`."""
        return int(self._cells[row * _COLUMNS + _PLACE]) - 1

    def pid(self, row: int) -> int:
        """Tell which worker is on a trip; 0 before it has begun."""
        return int(self._cells[row * _COLUMNS + _PID])

    def worked_s(self, row: int) -> float:
        """Tell for how long the worker has been at its task."""
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

    def forget_all(self, row: int) -> None:
        """Say that of all tasks of a trip."""
        self._cells[row * _COLUMNS + _UNWANTED] = _ALL_PLACES

    # -- what a worker does ------------------------------------------------------------------

    def begin(self, row: int, place: int, who: int) -> bool:
        """Say which task is begun, and by whom; False if nobody waits for it."""
        if self.unwanted(row, place):
            return False
        at = row * _COLUMNS
        now_ms = int(time.monotonic() * 1e3)
        self._cells[at : at + _UNWANTED] = [who, now_ms, 0, 0, place + 1]
        return True

    def unwanted(self, row: int, place: int) -> bool:
        """Tell whether nobody waits for a task any more."""
        return bool(self._cells[row * _COLUMNS + _UNWANTED] >> place & 1)

    def tell(self, row: int, done: int, total: int) -> None:
        """Say how much of the current step is done."""
        at = row * _COLUMNS
        self._cells[at + _DONE], self._cells[at + _TOTAL] = done, total

    def end(self, row: int) -> None:
        """Say that a trip is over."""
        self._cells[row * _COLUMNS + _PLACE] = 0

    def idle(self) -> int:
        """Count the workers that have nothing to do."""
        count: int = self._cells[_PLACE : _COLUMNS * self.workers : _COLUMNS].count(0)
        return count


def cells_of(workers: int) -> int:
    """Give how many numbers a board for so many workers has."""
    return (_COLUMNS + 1) * workers
