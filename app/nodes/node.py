"""This node: its name in the records, its signs of life, and the ends of others."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import structlog

from app.errors import Outdated, StorageError
from app.logs import name_node
from app.model.shares import LEAST, Share, share_of
from app.records import nodes, outcome, receiving
from app.stores.base import Database
from app.tasks import cancel

log = structlog.get_logger(__name__)

BEAT_EVERY_S = 2.0
DEAD_AFTER_S = 6.0
"""A node that shows no sign of life for so long is given up. What it then still ends is void.

A death is seen up to one beat late, and found at a beat: what a dead node had under way begins
again within 10 s, and a slow one may miss two beats.
"""
KNOWN_AFTER_BEATS = 2
"""By then every other node has looked, and keeps to its smaller share."""
COUNTED_AT_MOST_S = 2 * BEAT_EVERY_S
"""So much counts of the time between two looks: who was away itself, or whose database was, does
not take the others for dead before they had time to show a sign of life again."""


class Node:
    """A process with its roles. Use it as an async context manager."""

    def __init__(
        self,
        database: Database,
        roles: Iterable[str],
        *,
        alone: bool,
        tells: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        """Name it; `alone`: nobody else on this database has any of its roles.

        So whoever is noted with one is dead, and is buried at once. What `tells` gives, in JSON's
        types, is written down with each sign of life.
        """
        self.id = _new_id()
        """Once it has joined, nobody else's."""
        name_node(self.id)
        self.roles = frozenset(roles)
        self._database = database
        self._alone = alone
        self._tells = tells
        self._seen: dict[str, tuple[int, float]] = {}
        """By node, its last beat, and for how many seconds it has stood still."""
        self._looked_at: float | None = None
        self._slow = timedelta()
        """How much this machine's clock is behind the one that all nodes go by."""
        self._beat_at = time.monotonic()
        self.share = LEAST
        """Of what is limited for all nodes that work together."""
        self._beats = 0
        """Since it joined."""
        self._sharing: list[Callable[[Share], None]] = []
        self._given_up: set[int] = set()
        """Keys of jobs that nobody receives any more, and that may still be there."""

    async def __aenter__(self) -> Self:
        """Join the others, and begin to show signs of life."""
        if self._alone:
            for other in await self._database.read(nodes.seen):
                if other.roles & self.roles:
                    await self._bury(other)
        while not await self._database.note(nodes.join, self.id, self.roles, self._tells()):
            self.id = _new_id()
            name_node(self.id)
        self._share(await self._others())
        await self._compare_clocks()
        self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave; what it has taken and not ended goes back."""
        await cancel(self._beating)
        with suppress(StorageError):  # then the others see that there is no beat
            await self._database.write(outcome.leave, self.id)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_EVERY_S)
            try:
                await self.beat()
            except Outdated as error:
                log.warning("outdated", node=self.id, detail=error.log_detail)
                os.kill(os.getpid(), signal.SIGTERM)  # as an operator would: it drains, and ends
                return
            except StorageError as error:
                log.error("no_sign_of_life", detail=error.log_detail)  # noqa: TRY400

    @property
    def silent_s(self) -> float:
        """Say how long ago it has shown a sign of life."""
        return time.monotonic() - self._beat_at

    async def beat(self) -> None:
        """Show a sign of life, and look for those of the others.

        No clock is asked but this node's own, which nobody puts forward or back: a node is dead
        whose beat stood still while so much of it went by under this node's eyes.
        """
        if not await self._database.note(nodes.beat, self.id, self._tells()):
            log.warning("given_up_for_dead")
            await self._database.note(nodes.join, self.id, self.roles, self._tells())
            self._beats = 0
        self._beats += 1
        self._beat_at = time.monotonic()
        others = await self._others()
        passed_s = self._passed_s()
        known, self._seen = self._seen, {}
        dead = []
        for other in others:
            beat, still_s = known.get(other.id, (None, 0.0))
            still_s = still_s + passed_s if beat == other.beat else 0.0
            self._seen[other.id] = (other.beat, still_s)
            if still_s >= DEAD_AFTER_S:
                dead.append(other)
                await self._bury(other)
        self._share(await self._others() if dead else others)
        await self._give_up_all()
        await self._compare_clocks()

    def shared(self, hear: Callable[[Share], None]) -> None:
        """Have `hear` called with this node's share, now and whenever it has another."""
        self._sharing.append(hear)
        hear(self.share)

    async def _others(self) -> list[nodes.Seen]:
        return [seen for seen in await self._database.read(nodes.seen) if seen.id != self.id]

    def _share(self, others: Iterable[nodes.Seen]) -> None:
        """Take this node's share: of one that has just come the others do not know at once."""
        working = [other.id for other in others if "work" in other.roles]
        known = not working or self._beats >= KNOWN_AFTER_BEATS
        share = share_of(self.id, working) if known else LEAST
        if share != self.share:
            self.share = share
            for hear in self._sharing:
                hear(share)

    def now(self) -> datetime:
        """Give the time by the records' clock, which is the same for all nodes."""
        return datetime.now(UTC) + self._slow

    async def _compare_clocks(self) -> None:
        now_ms = await self._database.look(nodes.now)
        self._slow = datetime.fromtimestamp(now_ms / 1000, UTC) - datetime.now(UTC)

    def _passed_s(self) -> float:
        """Give what counts of the time since the last look."""
        before, self._looked_at = self._looked_at, asyncio.get_running_loop().time()
        return 0.0 if before is None else min(self._looked_at - before, COUNTED_AT_MOST_S)

    async def give_up(self, job_key: int) -> None:
        """Remove a job that was being received, unless it was shown; if not now, by and by."""
        self._given_up.add(job_key)
        with suppress(StorageError):
            await self._give_up_all()

    async def _give_up_all(self) -> None:
        for job_key in tuple(self._given_up):
            await self._database.write(receiving.give_up, job_key)
            self._given_up.discard(job_key)

    async def _bury(self, other: nodes.Seen) -> None:
        requeued = await self._database.write(outcome.bury, other.id, other.beat)
        log.info("recovered", dead=other.id, items=requeued)


def _new_id() -> str:
    return secrets.token_hex(8)
