"""How long one fetch may take, and how many may be under way to one host."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.errors import FetchTimeout
from app.model.shares import WHOLE, Share

Origin = tuple[str, str, int]
Queue = tuple[str, Origin]
"""Whose turns they are, and at which origin; the empty name is the service's."""


class Budget:
    """A total deadline that runs while an origin is waited for: not one's turn, nor the store."""

    def __init__(self, total_s: float, clock: Callable[[], float]) -> None:
        self._total_s = total_s
        self._clock = clock
        self._left_s = total_s
        self._since: float | None = None
        self._deadline = asyncio.timeout(None)

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
            async with asyncio.timeout(max(self._left_s, 0.0)) as self._deadline:
                yield
        except TimeoutError as exc:
            if not self._deadline.expired():
                raise
            raise FetchTimeout(
                f"The fetch took longer than {self._total_s:g} seconds.", phase="total"
            ) from exc
        finally:
            self._stop()

    async def timed(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Give chunks on; while they are being stored, and once all are there, no time goes by."""
        async for chunk in chunks:
            self.stand()
            yield chunk
            self.go_on()
        self.stand()

    def stand(self) -> None:
        """Let the time stand still within `running`."""
        self._stop()
        self._deadline.reschedule(None)

    def go_on(self) -> None:
        """Let it run again."""
        self._since = self._clock()
        self._deadline.reschedule(asyncio.get_running_loop().time() + max(self._left_s, 0.0))

    def _stop(self) -> None:
        self._left_s, self._since = self.left_s, None


class _Queue:
    """Those who have one of so many turns, and those who wait for one, in the order they came."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        """Of all nodes together."""
        self.users = 0
        """Those who have a turn, and those who wait for one."""
        self._held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self, share: Share) -> None:
        if self._held < share.of(self.at_once) and not self._waiting:
            self._held += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it had just been given
                self.release(share)
            raise

    def release(self, share: Share) -> None:
        self._held -= 1
        self.give(share)

    def give(self, share: Share) -> None:
        """Give what turns there are to those who wait."""
        while self._waiting and self._held < share.of(self.at_once):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._held += 1


class HostTurns:
    """Bounds the requests under way to one origin; what nobody uses is forgotten at once.

    Of nodes that share their work each has a share of the turns: together they have no more than
    one would have by itself.
    """

    def __init__(self, per_host: int) -> None:
        """Take how many turns all nodes together have at one origin."""
        self._per_host = per_host
        self._share = WHOLE
        self._queues: dict[Queue, _Queue] = {}

    def __len__(self) -> int:
        """Count the queues in use."""
        return len(self._queues)

    def have(self, share: Share) -> None:
        """Have another share from now on; what is under way goes on."""
        self._share = share
        for queue in self._queues.values():
            queue.give(share)

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
            per_host: how many turns the batch has, on all nodes together; None or more than the
                service's: no less than any other's.
        """
        wanted = [("", self._per_host)]
        if batch and per_host is not None and per_host < self._per_host:
            wanted.insert(0, (batch, per_host))
        asked: list[tuple[Queue, _Queue]] = []
        held: list[_Queue] = []

        def give_back() -> None:
            while held:
                held.pop().release(self._share)

        try:
            for whose, at_once in wanted:
                queue = self._queue((whose, origin), at_once)
                asked.append(((whose, origin), queue))
                await queue.acquire(self._share)
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
            queue = self._queues[name] = _Queue(at_once)
        queue.users += 1
        return queue
