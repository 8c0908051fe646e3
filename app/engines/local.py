"""The embedded engine: a fixed set of workers on this event loop, fed from the job store."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from app.engines.base import ClaimItems, Execute
from app.model import Claim, Lane


@dataclass(slots=True)
class _Queue:
    """What the idle workers of one lane share."""

    lane: Lane
    claimed: deque[Claim] = field(default_factory=deque)
    refilling: asyncio.Lock = field(default_factory=asyncio.Lock)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    idle: int = 0


class LocalEngine:
    """`Engine` for one process: N workers over one queue, not one task for each queued item."""

    def __init__(self) -> None:
        """Make an engine with nothing to do."""
        self._queues: dict[Lane, _Queue] = {"io": _Queue("io"), "cpu": _Queue("cpu")}
        self._running: dict[int, asyncio.Future[None]] = {}

    def wake(self) -> None:
        """See `Engine.wake`."""
        for queue in self._queues.values():
            queue.wake.set()

    def cancel(self, item_keys: Iterable[int]) -> None:
        """See `Engine.cancel`."""
        canceled = set(item_keys)
        # In place: a worker that waits for a claim goes on to add it to this same queue.
        for queue in self._queues.values():
            for claim in [claim for claim in queue.claimed if claim.item_key in canceled]:
                queue.claimed.remove(claim)
        for key in canceled & self._running.keys():
            self._running[key].cancel()

    async def run(
        self,
        claim: ClaimItems,
        execute: Execute,
        slots: Mapping[Lane, int],
        stop: asyncio.Event,
    ) -> list[Claim]:
        """See `Engine.run`."""

        async def worker(queue: _Queue) -> None:
            while (item := await self._next(queue, claim, stop)) is not None:
                task = asyncio.ensure_future(execute(item))
                self._running[item.item_key] = task
                try:
                    await asyncio.wait([task])
                except asyncio.CancelledError:
                    task.cancel()
                    await asyncio.wait([task])
                    raise
                finally:
                    self._running.pop(item.item_key, None)
                if not task.cancelled():
                    task.result()  # `execute` raises nothing: whatever comes out here is a bug

        workers = [
            asyncio.create_task(worker(self._queues[lane]))
            for lane, count in slots.items()
            for _ in range(count)
        ]
        waker = asyncio.create_task(self._wake_on(stop))
        try:
            await asyncio.gather(*workers)
        finally:
            # Cancelled, or failed, `gather` returns before the workers have: their items first.
            for task in (waker, *workers):
                if not task.cancelling():
                    task.cancel()
            await asyncio.gather(waker, *workers, return_exceptions=True)
        not_begun = [item for queue in self._queues.values() for item in queue.claimed]
        for queue in self._queues.values():
            queue.claimed.clear()
        return not_begun

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.wake()

    async def _next(self, queue: _Queue, claim: ClaimItems, stop: asyncio.Event) -> Claim | None:
        queue.idle += 1
        try:
            async with queue.refilling:
                while not stop.is_set():
                    if queue.claimed:
                        return queue.claimed.popleft()
                    # Cleared before the rows are read: what is queued after that wakes us again.
                    queue.wake.clear()
                    queue.claimed.extend(await claim(queue.lane, queue.idle))
                    if not queue.claimed:
                        await queue.wake.wait()
            return None
        finally:
            queue.idle -= 1
