"""Looking at a trip from outside while it is under way: how far it is, and if it is overdue."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

import structlog

from app.cpu.board import NOTHING, Board
from app.cpu.line import Wanted

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0


class Watch:
    """Watches one trip from the moment it is made until `stop`."""

    def __init__(self, board: Board, row: int, wanted: Sequence[Wanted], grace_s: float) -> None:
        """Begin to watch.

        Args:
            board: of the trip's children.
            row: the trip's.
            wanted: its tasks.
            grace_s: so long after a task's limit its child is killed.
        """
        self._board = board
        self._row = row
        self._wanted = wanted
        self._limits_s = [one.task.limits.time_s + grace_s for one in wanted]
        self._told: object = None
        self.killed = NOTHING
        """The place of the task for whose sake the child was killed."""
        self._look_in(min(self._limits_s))

    def stop(self) -> None:
        """Watch no more."""
        self._timer.cancel()

    def _look_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(min(seconds, LOOK_EVERY_S), self._look)

    def _look(self) -> None:
        place, now = self._board.place(self._row), self._board.progress(self._row)
        left_s = LOOK_EVERY_S
        if place != NOTHING:
            self._tell(place, now)
            left_s = self._limits_s[place] - self._board.worked_s(self._row)
        if left_s > 0:
            self._look_in(left_s)
            return
        # Its own timer did not end the task: it is inside one long C call.
        self.killed = place
        pid = self._board.pid(self._row)
        log.error("worker_killed", pid=pid, reason="item deadline")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _tell(self, place: int, now: tuple[int, int] | None) -> None:
        tell = self._wanted[place].tell
        if tell is not None and now is not None and (place, now) != self._told:
            tell(*now)
            self._told = (place, now)
