"""How far items are: what has begun, and how much of it is done, written down now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Self

import structlog

from app.errors import StorageError
from app.model.chunks import Claim
from app.model.jobs import Progress
from app.records import queue
from app.stores.base import Database, write_of
from app.tasks import cancel

log = structlog.get_logger(__name__)

TELL_EVERY_S = 1.0
BEGUN_AFTER_S = 0.1
"""So old is work when it is written down that it has begun: what is over by then needs no write of
its own, its outcome says when it began."""


class Telling:
    """What this node knows of items under way. Use it as an async context manager."""

    def __init__(self, database: Database, node: str) -> None:
        """Know of none."""
        self._database = database
        self._node = node
        self._began: dict[int, float] = {}
        """By the key of an item: when its work began."""
        self._untold: dict[int, Claim] = {}
        """Those of them of which it is to be written down."""
        self._some_untold = asyncio.Event()
        self._progress: dict[int, tuple[Claim, Progress]] = {}

    async def __aenter__(self) -> Self:
        """Begin to write."""
        self._tasks = [asyncio.create_task(self._begun()), asyncio.create_task(self._told())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write no more."""
        await cancel(*self._tasks)

    def begin(self, claim: Claim) -> None:
        """Note that work on an item begins now, unless it has."""
        if claim.item_key not in self._began:
            self._began[claim.item_key] = time.monotonic()
            self._untold[claim.item_key] = claim
            self._some_untold.set()

    def note(self, claim: Claim, done: int, total: int) -> None:
        """Note how much of an item's current step is done."""
        self._progress[claim.item_key] = (claim, Progress(done, total))

    def worked_s(self, claim: Claim) -> float:
        """Give how long ago work on an item began."""
        now = time.monotonic()
        return now - self._began.get(claim.item_key, now)

    def end(self, claim: Claim) -> None:
        """Forget an item that is over."""
        for known in (self._began, self._untold, self._progress):
            known.pop(claim.item_key, None)

    async def tell_begun(self) -> None:
        """Write down which items have begun."""
        self._some_untold.clear()
        begun, self._untold = self._untold, {}
        if begun:
            told = [(claim, self.worked_s(claim)) for claim in begun.values()]
            write = write_of(self._database, len(told))
            await write(queue.begun, self._node, told)

    async def tell(self) -> None:
        """Write down how far the items are that have told."""
        told, self._progress = self._progress, {}
        if told:
            await self._database.write(queue.tell, self._node, list(told.values()))

    async def _begun(self) -> None:
        while True:
            await self._some_untold.wait()
            await asyncio.sleep(BEGUN_AFTER_S)
            await _written(self.tell_begun)

    async def _told(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            await _written(self.tell)


async def _written(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except StorageError as error:
        log.error("not_told", detail=error.log_detail)  # noqa: TRY400
