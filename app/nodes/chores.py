"""What keeps the records and the bytes in order; one node at a time does it for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Self

import structlog

from app.blobs.base import BlobStore
from app.errors import StorageError
from app.records import bites, ending, files, nodes, outbox, topics
from app.stores.base import Database, News
from app.tasks import cancel

log = structlog.get_logger(__name__)

PURGE_EVERY_S = 20.0
SWEEP_EVERY_S = 600.0
BITE_EVERY_S = 1.0
LEASE_S = 60.0


class Chores:
    """Use it as an async context manager."""

    def __init__(
        self,
        database: Database,
        node: str,
        blobs: BlobStore,
        *,
        grace_s: float,
        deliveries_s: float,
        messages: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Take how long bytes without a record and ended deliveries stay, in seconds.

        `messages` tidies those of a queue engine, if this node has one.
        """
        self._messages = messages
        self._database = database
        self._node = node
        self._blobs = blobs
        self._grace_s = grace_s
        self._deliveries_s = deliveries_s
        self._some_to_bite = asyncio.Event()
        database.listen(self._hear)

    async def __aenter__(self) -> Self:
        """Begin."""
        self._tasks = [
            asyncio.create_task(self._every(PURGE_EVERY_S, "tidy", self.tidy)),
            asyncio.create_task(self._every(SWEEP_EVERY_S, "sweep", self.sweep)),
            asyncio.create_task(self._bite()),
        ]
        if self._messages is not None:
            tidied = self._every(PURGE_EVERY_S, "messages", self._messages)
            self._tasks.append(asyncio.create_task(tidied))
        return self

    async def __aexit__(self, *_: object) -> None:
        """End; another node, or the next start, goes on."""
        await cancel(*self._tasks)

    def _hear(self, news: News) -> None:
        if topics.BITE in news:
            self._some_to_bite.set()

    async def _every(self, pause_s: float, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._done(name, work)
            await asyncio.sleep(pause_s)

    async def _bite(self) -> None:
        while True:
            self._some_to_bite.clear()
            if await self._some_waits():
                await self._done("bites", self.bite)
            with suppress(TimeoutError):
                async with asyncio.timeout(BITE_EVERY_S):
                    await self._some_to_bite.wait()

    async def _some_waits(self) -> bool:
        try:
            return await self._database.look(bites.waiting)
        except StorageError:
            return True  # `_done` says what is wrong

    async def _done(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            if await self._database.note(nodes.take_chore, name, self._node, LEASE_S):
                await work()
        except StorageError as error:
            log.error("housekeeping_failed", chore=name, detail=error.log_detail)  # noqa: TRY400

    async def bite(self) -> None:
        """Go on with what is too much for one transaction, until it is done."""
        while await self._database.write(bites.bite):
            pass

    async def tidy(self) -> None:
        """Expire what is due, and remove the bytes of what has expired or was deleted."""
        await self.purge()
        await self.remove_loose()

    async def purge(self) -> None:
        """Expire jobs, files and deliveries that are due."""
        while await self._database.write(ending.purge):
            pass
        while await self._database.write(outbox.purge, self._deliveries_s):
            pass

    async def remove_loose(self) -> None:
        """Remove bytes of which the last record has gone."""
        if not await self._blobs.may_remove():
            return  # all of it stays noted until the backup is made
        looked_at = 1
        while looked_at:
            looked_at, keys = await self._database.write(files.take_loose)
            await self._remove(keys)

    async def sweep(self) -> None:
        """Remove bytes that never had a record, once they are old enough."""
        async for keys in self._blobs.unused_since(self._grace_s):
            await self._remove(await self._database.read(files.unreferenced, keys))

    async def _remove(self, keys: Sequence[str]) -> None:
        removed = [await self._blobs.delete(key) for key in keys]
        if any(removed):
            log.info("removed", blobs=sum(removed))
