"""The board: shared memory on which a child says what it does.

The parent finds there what the child wrote, also when that child is dead.
"""

from __future__ import annotations

import ctypes
import time

NOTHING = -1


class Board(ctypes.Structure):
    """One child's, for the trip that it is on."""

    _fields_ = tuple(
        (name, ctypes.c_int64) for name in ("_number", "_began_ms", "_done", "_total", "_unwanted")
    )
    _number: int
    """Of the task that the child is at, from 1; 0 for none. The last thing that a child writes of
    a task: who sees it sees the rest as well."""
    _began_ms: int
    _done: int
    _total: int
    _unwanted: int
    """A bit for each place."""

    # -- what the parent does ----------------------------------------------------------------

    def clear(self) -> None:
        """Begin a trip."""
        self._number = self._unwanted = 0

    @property
    def place(self) -> int:
        """At which of a trip's tasks the child is, or was when it died; or `NOTHING`."""
        return self._number - 1

    @property
    def worked_s(self) -> float:
        """For how long the child has been at its task."""
        return time.monotonic() - self._began_ms / 1e3

    @property
    def progress(self) -> tuple[int, int] | None:
        """How much of the current step is done, and of how much, if the child has told."""
        done, total = self._done, self._total
        return (min(done, total), total) if total else None

    def forget(self, place: int) -> None:
        """Say that nobody waits for a task any more: if it has not begun, it need not."""
        self._unwanted |= 1 << place

    # -- what the child does -----------------------------------------------------------------

    def begin(self, place: int) -> bool:
        """Say which task is begun; False if nobody waits for it."""
        if self._unwanted >> place & 1:
            return False
        self._done = self._total = 0
        self._began_ms = int(time.monotonic() * 1e3)
        self._number = place + 1
        return True

    def tell(self, done: int, total: int) -> None:
        """Say how much of the current step is done."""
        self._done, self._total = done, total

    def end(self) -> None:
        """Say that no task is under way."""
        self._number = 0
