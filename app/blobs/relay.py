"""A stream handed on, a piece at a time, from the task that reads it to what sends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any


class _GivenUp(Exception):
    pass


class _Relay:
    """Pieces on their way: never more than one waits."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._over = False
        self._given_up = False

    def __aiter__(self) -> _Relay:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._queue.get()
        if self._given_up:
            raise _GivenUp
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def give(self, piece: bytes | None) -> None:
        if not self._over:
            await self._queue.put(piece)

    def end(self) -> None:
        """Take nothing more: who waits to give is let go."""
        self._over = True
        while not self._queue.empty():
            self._queue.get_nowait()

    def give_up(self) -> None:
        """Have the sender fail, were it waiting for a piece or not."""
        self._given_up = True
        self.end()
        self._queue.put_nowait(None)


async def relayed(
    pieces: AsyncIterator[bytes],
    send: Callable[[AsyncIterator[bytes]], Awaitable[Any]],
) -> None:
    """Read a stream in this task, whose time-outs hold for it, and have `send` send it.

    When this returns or raises, `send` has ended: what goes wrong with the stream, cancellation
    too, is an exception in what `send` reads, so that it can undo what it has begun.
    """
    relay = _Relay()
    sending = asyncio.ensure_future(send(relay))
    sending.add_done_callback(lambda _: relay.end())
    try:
        async for piece in pieces:
            if sending.done():
                break
            await relay.give(piece)
        await relay.give(None)
        await asyncio.shield(sending)
    except BaseException:
        relay.give_up()
        await asyncio.shield(asyncio.gather(sending, return_exceptions=True))
        raise
