"""How much of each kind of work a node has room for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from app.model.chunks import Chunk
from app.model.jobs import Lane


@dataclass(slots=True)
class LaneRoom:
    """What one kind of waiting has room for."""

    name: Lane
    slots: int
    by_item: bool
    """Whether a slot is for an item or for a chunk."""
    used: int = 0
    more: bool = True
    """Whether there may be something to take."""
    hints: int = 0
    turn: asyncio.Semaphore = field(init=False)
    _held: dict[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.turn = asyncio.Semaphore(self.slots)

    @property
    def free(self) -> int:
        """Count the slots that nobody holds."""
        return max(0, self.slots - self.used)

    def size(self, chunk: Chunk) -> int:
        """Say how many slots a chunk takes."""
        return max(1, len(chunk.claims)) if self.by_item else 1

    def left_of(self, chunk: Chunk) -> int:
        """Say how many of them it still holds."""
        return self._held.get((chunk.key, chunk.delivery), 0)

    def hold(self, chunk: Chunk) -> None:
        """Take them."""
        self._held[chunk.key, chunk.delivery] = self.size(chunk)
        self.used += self.size(chunk)

    def let_go(self, chunk: Chunk, slots: int) -> None:
        """Give some of them back before its end."""
        slots = min(slots, self.left_of(chunk))
        self._held[chunk.key, chunk.delivery] = self.left_of(chunk) - slots
        self.used -= slots

    def end(self, chunk: Chunk) -> None:
        """Give back what it still holds."""
        self.used -= self._held.pop((chunk.key, chunk.delivery), 0)
