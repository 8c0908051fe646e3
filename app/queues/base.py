"""The seam between an engine that hands chunks to nodes, and the node that has room for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.model.jobs import Lane


@dataclass(eq=False, slots=True)
class Offer:
    """A chunk that an engine has handed to this node, until the node has taken it."""

    lane: Lane
    chunk: int
    is_back: bool = False
    """Whether another node is to have it."""
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    def settle(self, *, is_back: bool = False) -> None:
        """Say what has become of it."""
        self.is_back = is_back
        self.settled.set()


class Engine(Protocol):
    """Hands chunks to this node, in the order of their turns, while it has room for them.

    It carries keys of chunks, nothing else: what a chunk is, who has it and whether it is to be
    done at all stands in the records. A key may come twice, or too late.
    """

    def serve(self, room: Callable[[Lane], int], offered: Callable[[Lane], None]) -> None:
        """Begin. `room` says how many chunks more may be handed over; `offered`, that some were."""

    def offers(self, lane: Lane) -> Sequence[Offer]:
        """Give what the node has been handed and not taken."""

    def taken(self, lane: Lane, chunks: Collection[int]) -> None:
        """Say of which chunks the records know by now: taken, or nothing to be done."""

    def may_have_more(self, lane: Lane) -> bool:
        """Tell whether others wait for a lane, so that nobody overtakes them."""

    def room_made(self) -> None:
        """Say that there may be room for more."""

    async def tidy(self) -> None:
        """Send again what is missing. A chore: one node does it for all."""

    async def stop(self) -> None:
        """Take nothing more; what was not taken goes to other nodes."""
