"""The line of tasks that wait for a child, and which of them go together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from app.cpu.trips import Ended
from app.ops.tasks import ChainTask

TRIP_TASKS = 16
TRIP_MS = 40.0
"""Estimated work of a trip: so long the small tasks of one wait for each other, while there may
be a worker with nothing to do."""

How = Literal["any", "apart", "alone"]
"""With whom a task may travel. First with anybody; after a break with those that were with it, or,
if it was what the child was at, with nobody else at work; then so do all."""


@dataclass(slots=True, eq=False)
class Wanted:
    """A task that somebody waits for."""

    task: ChainTask
    tell: Callable[[int, int], None] | None
    began: Callable[[], None] | None
    ended: asyncio.Future[Ended]
    how: How = "any"
    group: object = None
    """What those have in common that are `apart` from others together."""
    forget: Callable[[], None] | None = None
    """While it is on a trip: lets the child know that nobody waits any more."""
    weight_ms: float = field(init=False)

    def __post_init__(self) -> None:
        """Weigh it once."""
        self.weight_ms = self.task.weight_ms


class Line:
    """First come, first served, in trips."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._waiting: deque[Wanted] = deque()

    def __bool__(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    @property
    def alone_next(self) -> bool:
        """Whether the first one must not run beside others."""
        return self._waiting[0].how == "alone"

    def add(self, wanted: Iterable[Wanted]) -> None:
        """Have them wait behind all others."""
        self._waiting.extend(wanted)

    def add_first(self, wanted: list[Wanted]) -> None:
        """Have them wait before all others: they have had their turn once."""
        self._waiting.extendleft(reversed(wanted))

    def remove(self, one: Wanted) -> None:
        """Let one go, if it waits."""
        if one in self._waiting:
            self._waiting.remove(one)

    def next_trip(self) -> list[Wanted]:
        """Take out what makes a trip: the first, and those right behind it that fit."""
        first = self._waiting.popleft()
        together, weight_ms = [first], first.weight_ms
        while self._waiting and len(together) < TRIP_TASKS and first.how != "alone":
            following = self._waiting[0]
            weight_ms += following.weight_ms
            same = (following.how, following.group) == (first.how, first.group)
            if not same or weight_ms > TRIP_MS:
                break
            together.append(self._waiting.popleft())
        return together
