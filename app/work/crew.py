"""All that a node with the role `work` runs, begun and ended together."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Self

from app.runtime import Runtime
from app.work.chunks import Chunks
from app.work.deliveries import Deliveries

DELIVERIES_DRAIN_S = 1.0
"""How long attempts under way may hold a shutdown, after the items: what is cut off is only sent
again."""


class Crew:
    """Use it as an async context manager."""

    def __init__(self, runtime: Runtime) -> None:
        """Keep what work is done with."""
        self._runtime = runtime
        self._stack = AsyncExitStack()
        self._drained_at: float | None = None
        self.chunks = Chunks(runtime)
        self.deliveries = deliveries_of(runtime)

    async def __aenter__(self) -> Self:
        """Begin."""
        for have in (self._runtime.fetcher.turns.have, self.deliveries.have):
            self._runtime.node.shared(have)
        # Ended after the chunks: what the last jobs have to tell still goes out.
        await self._stack.enter_async_context(self.deliveries)
        await self._stack.enter_async_context(self.chunks)
        self._runtime.submissions.starter = self.chunks
        return self

    def leave(self) -> float:
        """Take no more items; gives when, on the loop's clock, work under way has had its time."""
        if self._drained_at is None:
            drain_timeout_s = self._runtime.settings.drain_timeout_s
            self._drained_at = asyncio.get_running_loop().time() + drain_timeout_s
        self._runtime.submissions.starter = None
        self.chunks.stop()
        return self._drained_at

    async def __aexit__(self, *_: object) -> None:
        """Take no more, let work under way end for a while, give the rest back."""
        left_s = self.leave() - asyncio.get_running_loop().time()
        await self._runtime.submissions.all_submitted()
        await self.chunks.drain(left_s)
        drain_timeout_s = min(self._runtime.settings.drain_timeout_s, DELIVERIES_DRAIN_S)
        await self.deliveries.drain(drain_timeout_s)
        await self._stack.aclose()

    @property
    def alive(self) -> dict[str, bool]:
        """Whether items and deliveries are being taken."""
        return {"items": self.chunks.alive, "deliveries": self.deliveries.alive}


def deliveries_of(runtime: Runtime) -> Deliveries:
    """Make what carries out the deliveries of a runtime."""
    settings = runtime.settings
    # Without a base, links are paths; as clients reach them, those too.
    base_url = settings.webhooks.base_url or settings.root_path
    return Deliveries(
        runtime.database,
        runtime.node.id,
        runtime.blobs,
        runtime.fetcher,
        settings.webhooks.model_copy(update={"base_url": base_url}),
        settings.push,
        # Receivers hold the time of a webhook against their own; one machine's may be off.
        clock=runtime.node.now,
    )
