"""A trip while it is under way, looked at from outside: how far it is, and if it is overdue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.cpu.board import NOTHING, Board
from app.cpu.generation import Generation
from app.cpu.line import Wanted
from app.cpu.trips import Ended

LOOK_EVERY_S = 1.0


class Watch:
    """Watches one trip from `begin` until `stop`."""

    def __init__(self, board: Board, row: int, wanted: Sequence[Wanted], grace_s: float) -> None:
        """Look at nothing yet.

        Args:
            board: of the trip's workers.
            row: the trip's.
            wanted: its tasks.
            grace_s: so long after a task's limit the trip is overdue.
        """
        self._board = board
        self._row = row
        self._wanted = wanted
        self._limits_s = [one.task.limits.time_s + grace_s for one in wanted]
        self._told: object = None
        self.overdue = NOTHING
        """The place of the task that made the trip overdue."""

    def begin(self, on_overdue: Callable[[], None]) -> None:
        """Begin to watch; `on_overdue` is called if the trip is, and then nothing more is done."""
        self._on_overdue = on_overdue
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
        self.overdue = place
        self._on_overdue()

    def _tell(self, place: int, now: tuple[int, int] | None) -> None:
        tell = self._wanted[place].tell
        if tell is not None and now is not None and (place, now) != self._told:
            tell(*now)
            self._told = (place, now)


@dataclass(frozen=True, slots=True, eq=False)
class Trip:
    """Some tasks on their way through one worker."""

    wanted: list[Wanted]
    generation: Generation
    workers: int
    """How many it holds: one, or all."""
    row: int
    watch: Watch
    unsent: dict[int, Ended]
    """By place, those that stayed behind."""

    def let_go(self) -> None:
        """Have nobody tell its worker any more that a task is unwanted."""
        for one in self.wanted:
            one.forget = None
