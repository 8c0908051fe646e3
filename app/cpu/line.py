"""The line of tasks that wait for a child, and which of them go together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from app.cpu.trips import Ended
from app.ops.tasks import ChainTask

TRIP_TASKS = 16
TRIP_MS = 40.0
"""Estimated work of a trip: so long the small tasks of one wait for each other, while there may
be a worker with nothing to do."""


@dataclass(slots=True, eq=False)
class Wanted:
    """A task that somebody waits for."""

    task: ChainTask
    tell: Callable[[int, int], None] | None
    began: Callable[[], None] | None
    ended: asyncio.Future[Ended]
    forget: Callable[[], None] | None = None
    """While it is on a trip: lets the child know that nobody waits any more."""
    weight_ms: float = field(init=False)

    def __post_init__(self) -> None:
        """Weigh it once."""
        self.weight_ms = self.task.weight_ms

    @property
    def alone(self) -> bool:
        """Whether it runs with nobody else at work, as after a trip that broke: it may be why."""
        return self.task.deaths > 0


def next_trip(line: deque[Wanted]) -> list[Wanted]:
    """Take out what makes a trip: the first, and those right behind it that fit."""
    first = line.popleft()
    together, weight_ms = [first], first.weight_ms
    while line and len(together) < TRIP_TASKS and not (first.alone or line[0].alone):
        weight_ms += line[0].weight_ms
        if weight_ms > TRIP_MS:
            break
        together.append(line.popleft())
    return together
