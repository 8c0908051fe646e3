"""Those who wait, in this process, for something to happen to a record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Waiters:
    """Who waits for one kind of news, by the id of the record. Touched on the event loop only."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._by_id: dict[str, set[asyncio.Future[None]]] = {}
        self._let_go = False

    @contextmanager
    def registered(self, record_id: str) -> Iterator[asyncio.Future[None]]:
        """Give what is done at the record's next news."""
        waiter = asyncio.get_running_loop().create_future()
        self._by_id.setdefault(record_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            waiting = self._by_id.get(record_id, set())
            waiting.discard(waiter)
            if not waiting:
                self._by_id.pop(record_id, None)

    def wake(self, record_id: str) -> None:
        """Tell all who wait for news of a record that there is some."""
        for waiter in self._by_id.pop(record_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    def let_go(self) -> None:
        """Let nobody wait any more: those who do, and those to come, get the record as it is."""
        self._let_go = True
        for record_id in list(self._by_id):
            self.wake(record_id)

    async def until(
        self,
        record_id: str,
        read: Callable[[str], Awaitable[T | None]],
        holds: Callable[[T], bool],
        timeout_s: float,
    ) -> T | None:
        """Read the record at each of its news until it is gone or `holds`; give it as it is.

        After `timeout_s`, and after `let_go`, it is given as it is then.
        """
        give_up_at = asyncio.get_running_loop().time() + timeout_s
        while True:
            # Registered before the read: a commit between the two still wakes us. One before the
            # read may wake us too, with nothing new: then it all begins again.
            with self.registered(record_id) as woken:
                found = await read(record_id)
                if found is None or holds(found) or self._let_go:
                    return found
                try:
                    async with asyncio.timeout_at(give_up_at):
                        await woken
                except TimeoutError:
                    return await read(record_id)
