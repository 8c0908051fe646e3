"""What an engine promises: items that are queued get run, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

from app.model import Claim, Lane

ClaimItems = Callable[[Lane, int], Awaitable[list[Claim]]]
"""Takes up to so many queued items of a lane; `JobStore.claim`."""
Execute = Callable[[Claim], Awaitable[None]]
"""Runs one claimed item to its recorded outcome; raises nothing but CancelledError."""


class Engine(Protocol):
    """All that differs between one process and many nodes, when it comes to running items."""

    def wake(self) -> None:
        """Say that items may be waiting. A hint: the rows are the queue."""

    def cancel(self, item_keys: Iterable[int]) -> None:
        """Stop items that run here; those that do not are ignored."""

    async def run(
        self,
        claim: ClaimItems,
        execute: Execute,
        slots: Mapping[Lane, int],
        stop: asyncio.Event,
    ) -> list[Claim]:
        """Run items until `stop` is set and those under way have ended.

        Returns claims that were taken and not begun; the caller gives them back. Cancelling the
        call cancels the items under way.
        """
