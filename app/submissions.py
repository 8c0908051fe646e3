"""How jobs come in: made durable, and where this node works, begun in the same transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from app import metrics
from app.errors import OffloadError
from app.model.chunks import Chunk, Submitted
from app.model.jobs import Lane, NewJob
from app.records import backlog, intake
from app.records.intake import Asked, Taker
from app.stores.base import Database, write_of
from app.stores.together import Together

ROOM_S = 0.1
"""So long it is believed that there was room."""
SMALL_JOB_ITEMS = 4
"""Jobs of up to so many items are written together."""
SMALL_JOBS = 16
"""So many of them at once: on the event loop with SQLite, some 5 ms."""


class Starter(Protocol):
    """Takes work in hand together with its submission: see `app/work/chunks.py`."""

    def taking(self, lane: Lane) -> AbstractContextManager[Taker | None]:
        """Keep room for a new job's first chunk while the context is open, if there is some."""

    def start(self, chunks: Iterable[Chunk]) -> None:
        """Run what was taken."""


class Submissions:
    """Takes jobs from those who read requests."""

    def __init__(self, database: Database, most: int) -> None:
        """Take up to `most` unfinished items, of all clients."""
        self._database, self._most = database, most
        self._room_until = 0.0
        self._under_way: set[asyncio.Task[Submitted]] = set()
        self._small: Together[Asked, Submitted] = Together(self._write_small, SMALL_JOBS)
        self.starter: Starter | None = None
        """What works here; None where others do."""

    async def check_room(self) -> None:
        """Refuse early, before a body is read. Raises `QueueFull` if no item more fits.

        That one did is believed for a moment: `submit` looks again.
        """
        now = time.monotonic()
        if now >= self._room_until:
            await self._database.look(backlog.check, self._most)
            self._room_until = now + ROOM_S

    async def submit(self, new: NewJob) -> Submitted:
        """Make a job durable: see `intake.submit`. A caller that is cancelled does not undo it."""
        task = asyncio.create_task(self._submit(new))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def all_submitted(self) -> None:
        """Return once no submission is under way: what they took is in the starter's hands."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _submit(self, new: NewJob) -> Submitted:
        made = await self._begun(new)
        if made.created:
            fetches = bool(new.items) and new.items[0].url is not None
            metrics.job_accepted([step.op for step in new.steps], fetches=fetches)
        return made

    async def _begun(self, new: NewJob) -> Submitted:
        starter = self.starter  # what is taken for it, it gets, also when it leaves meanwhile
        if starter is None:
            return await self._write(Asked(new))
        with starter.taking(new.lane) as taker:
            made = await self._write(Asked(new, taker))
            starter.start(made.chunks)
        return made

    async def _write(self, asked: Asked) -> Submitted:
        if len(asked.new.items) <= SMALL_JOB_ITEMS:
            return await self._small.ask(asked)
        write = write_of(self._database, len(asked.new.items))
        return await write(intake.submit, asked.new, self._most, asked.taker)

    async def _write_small(self, asked: Sequence[Asked]) -> list[Submitted | OffloadError]:
        return await self._database.note(intake.submit_all, asked, self._most)
