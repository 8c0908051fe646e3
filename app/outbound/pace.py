"""How long one fetch may take, and how many may be under way to one host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.errors import FetchTimeout

Origin = tuple[str, str, int]
Queue = tuple[str, Origin]
"""Whose turns they are, and at which origin; the empty name is the service's."""


class Budget:
    """A total deadline that only runs while there is something to wait for but one's turn."""

    def __init__(self, total_s: float, clock: Callable[[], float]) -> None:
        self._total_s = total_s
        self._clock = clock
        self._left_s = total_s
        self._since: float | None = None

    @property
    def left_s(self) -> float:
        """Seconds left."""
        running_s = 0.0 if self._since is None else self._clock() - self._since
        return self._left_s - running_s

    @property
    def spent_s(self) -> float:
        """Seconds used up so far."""
        return self._total_s - self.left_s

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let the time run; raises `FetchTimeout`, with phase `total`, when it is up."""
        self._since = self._clock()
        try:
            async with asyncio.timeout(max(self._left_s, 0.0)) as deadline:
                yield
        except TimeoutError as exc:
            if not deadline.expired():
                raise
            raise FetchTimeout(
                f"The fetch took longer than {self._total_s:g} seconds.", phase="total"
            ) from exc
        finally:
            self._left_s, self._since = self.left_s, None


@dataclass(slots=True)
class _Queue:
    free: asyncio.Semaphore
    users: int = 0
    """Those who have a turn, and those who wait for one."""


class HostTurns:
    """Bounds the requests under way to one origin; what nobody uses is forgotten at once."""

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._queues: dict[Queue, _Queue] = {}

    def __len__(self) -> int:
        """Count the queues in use."""
        return len(self._queues)

    @asynccontextmanager
    async def turn(
        self, origin: Origin, *, batch: str = "", per_host: int | None = None
    ) -> AsyncIterator[Callable[[], None]]:
        """Wait for a turn at `origin` and hold it until the end, or until it is given back.

        Gives the function that gives it back early, for when the origin has done its part and
        what is left to do is ours.

        Never held twice by one fetch: a redirect gives the first turn back before it asks for the
        next, or two hosts that redirect to each other would lock each other up.

        Args:
            origin: scheme, host and port.
            batch: which batch it is for; its own turn is waited for before the service's.
            per_host: how many turns the batch has; None or more than the service's: no less
                than any other's.
        """
        wanted = [("", self._per_host)]
        if batch and per_host is not None and per_host < self._per_host:
            wanted.insert(0, (batch, per_host))
        asked: list[tuple[Queue, _Queue]] = []
        held: list[_Queue] = []

        def give_back() -> None:
            while held:
                held.pop().free.release()

        try:
            for whose, at_once in wanted:
                queue = self._queue((whose, origin), at_once)
                asked.append(((whose, origin), queue))
                await queue.free.acquire()
                held.append(queue)
            yield give_back
        finally:
            give_back()
            for name, queue in asked:
                queue.users -= 1
                if not queue.users:
                    del self._queues[name]

    def _queue(self, name: Queue, at_once: int) -> _Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue(asyncio.Semaphore(at_once))
        queue.users += 1
        return queue
