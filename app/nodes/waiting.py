"""Those who wait, in this process, for something to happen to a record.

A commit of this process wakes them at once. What another process commits, and what a hint that got
lost would have told, is found by a look at the records that are waited for: at the least every
`LOOK_EVERY_S`, and as often as that takes little of anybody's time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from app.errors import StorageError
from app.stores.base import Database, News, Tx

T = TypeVar("T")

LOOK_EVERY_S = 0.25
LOOK_AGAIN_S = 0.03
SHARE_OF_TIME = 0.2
"""At most so much of the time goes by in looks: there are more where few wait."""
LATELY = 4_096
"""So many ids that there was news of are remembered, for who is just about to wait."""

Look = Callable[[Tx, Iterable[str]], Mapping[str, tuple[Any, bool]]]
"""Gives, of those of some records that there are, what changes with them and whether they are
over."""


class Waiters:
    """Who waits for one kind of news, by the id of the record. Touched on the event loop only."""

    def __init__(
        self,
        database: Database,
        topic: str,
        look: Look,
        mark: Callable[[Any], Any] | None = None,
    ) -> None:
        """Listen to a topic.

        `mark` gives of a record what changes with it, as `look` does; None where nobody is to be
        told of what happens before the end.
        """
        self._database = database
        self._topic = topic
        self._look = look
        self._mark = mark
        self._by_id: dict[str, set[asyncio.Future[None]]] = {}
        self._marks: dict[str, Any] = {}
        self._lately: dict[str, None] = {}
        self._let_go = False
        database.listen(self._hear)

    def _hear(self, news: News) -> None:
        for record_id in news.get(self._topic, ()):
            self._lately[record_id] = None
            self.wake(record_id)
        while len(self._lately) > LATELY:
            del self._lately[next(iter(self._lately))]

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
                self._marks.pop(record_id, None)

    def wake(self, record_id: str) -> None:
        """Tell all who wait for news of a record that there is some."""
        self._marks.pop(record_id, None)
        for waiter in self._by_id.pop(record_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    def let_go(self) -> None:
        """Let nobody wait any more: those who do, and those to come, get the record as it is."""
        self._let_go = True
        for record_id in list(self._by_id):
            self.wake(record_id)

    async def look(self) -> None:
        """Wake those whose record is not what they have read any more, or has gone."""
        asked = {record_id: self._marks.get(record_id) for record_id in self._by_id}
        if not asked:
            return
        found = await self._database.read(self._look, list(asked))
        for record_id, seen in asked.items():
            mark, over = found.get(record_id, (None, True))
            if over or (self._mark is not None and mark != seen):
                self.wake(record_id)

    async def until(
        self,
        record_id: str,
        read: Callable[[str], Awaitable[T | None]],
        holds: Callable[[T], bool],
        timeout_s: float,
        *,
        is_new: bool = False,
    ) -> T | None:
        """Read the record at each of its news until it is gone or `holds`; give it as it is.

        After `timeout_s`, and after `let_go`, it is given as it is then. One that `is_new` was
        made here a moment ago, and nothing held of it: without news of it, it is not read at first.
        """
        give_up_at = asyncio.get_running_loop().time() + timeout_s
        while True:
            # Registered before the read: a commit between the two still wakes us. One before the
            # read may wake us too, with nothing new: then it all begins again.
            with self.registered(record_id) as woken:
                if not is_new or record_id in self._lately or self._let_go:
                    found = await read(record_id)
                    if found is None or holds(found) or self._let_go:
                        return found
                    if self._mark is not None:
                        self._marks.setdefault(record_id, self._mark(found))
                is_new = False
                try:
                    async with asyncio.timeout_at(give_up_at):
                        await woken
                except TimeoutError:
                    return await read(record_id)


async def watch(everybody: Iterable[Waiters], *, hasty: bool) -> None:
    """Look for news beneath the hints, for ever; `hasty` where others commit what is waited for."""
    waiting = tuple(everybody)
    clock = asyncio.get_running_loop().time
    pause_s = LOOK_EVERY_S
    while True:
        await asyncio.sleep(pause_s)
        began = clock()
        for waiters in waiting:
            try:
                await waiters.look()
            except StorageError:
                continue  # they wait on, and the next look tells
        if hasty:
            pause_s = pause_after(clock() - began)


def pause_after(look_s: float) -> float:
    """Give the seconds until the next look, after one that took so many."""
    return min(max(look_s / SHARE_OF_TIME, LOOK_AGAIN_S), LOOK_EVERY_S)
