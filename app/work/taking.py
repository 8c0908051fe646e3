"""Takes chunks for this node: as many as it has room for, of what a look or an engine finds."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from app.errors import StorageFull
from app.model.chunks import Chunk
from app.model.jobs import Lane
from app.ops.space import check_space
from app.records import queue
from app.records.cutting import MOST_ITEMS
from app.records.intake import Taker
from app.runtime import Runtime
from app.stores.base import READY, Database, News, Tx
from app.work.lanes import LaneRoom
from app.work.loop import POLL_EVERY_S

CHUNKS_PER_WORKER = 3
"""In hand for each worker process: while one computes, others are taken and recorded."""
CHUNKS_PER_WORKER_AFAR = 6
"""The same where a server's disk is waited for at both ends of each."""
DISK_EVERY_S = 1.0
_ANY = 1 << 30


class Want(NamedTuple):
    """What a lane has room for."""

    room: int
    """Items, or as many as there are."""
    most: int
    """Chunks."""
    hints: int
    """Those there had been when this was asked for."""
    named: tuple[int, ...] | None = None
    """Of these, where an engine says which."""


class Got(NamedTuple):
    """What was taken."""

    chunks: list[Chunk]
    left: set[int]
    """Of those that were named, which are ready yet."""


Wanted = dict[Lane, Want]
Taken = dict[Lane, Got]


class Taking:
    """How much room there is, and what there may be to fill it with."""

    def __init__(self, runtime: Runtime, database: Database) -> None:
        """Listen to what may be taken, and take it by `database`."""
        self._runtime, self._engine = runtime, runtime.engine
        self._database, self._node = database, runtime.node.id
        in_hand = CHUNKS_PER_WORKER if runtime.engine is None else CHUNKS_PER_WORKER_AFAR
        self.lanes: dict[Lane, LaneRoom] = {
            "io": LaneRoom("io", runtime.settings.fetch.concurrency, by_item=True),
            "cpu": LaneRoom("cpu", runtime.cpu.workers * in_hand, by_item=False),
        }
        self.wake: Callable[[], None] = lambda: None
        """Called when there may be something to take, and room."""
        self._stopped = False
        self._looked_at = self._disk_seen_at = 0.0
        self._has_disk = True
        runtime.database.listen(self._hear)

    def begin(self) -> None:
        """Let the engine, if there is one, hand over what there is room for."""
        if self._engine is not None:
            self._engine.serve(self._room, self._offered)

    def stop(self) -> None:
        """Want no more."""
        self._stopped = True

    async def end(self) -> None:
        """Let others have what was handed over and not taken."""
        if self._engine is not None:
            await self._engine.stop()

    def _hear(self, news: News) -> None:
        if self._engine is None:
            for name in news.get(READY, ()):
                self._offered(name)

    def _offered(self, name: Lane) -> None:
        self.lanes[name].more = True
        self.lanes[name].hints += 1
        self.wake()

    # -- room --------------------------------------------------------------------------------

    def _room(self, name: Lane) -> int:
        """Say how many chunks an engine may hand over."""
        lane = self.lanes[name]
        return lane.free // (MOST_ITEMS[name] if lane.by_item else 1) if self._may_take() else 0

    def _may_take(self) -> bool:
        """Tell whether this node is the one to: others, if there are any, have other disks."""
        if self._stopped or not self._runtime.settings.shared:
            return not self._stopped
        now = time.monotonic()
        if now - self._disk_seen_at >= DISK_EVERY_S:
            self._disk_seen_at = now
            settings = self._runtime.settings
            try:
                check_space(settings.data_dir, settings.blobs.min_free_bytes)
                self._has_disk = True
            except (StorageFull, OSError):
                self._has_disk = False
        return self._has_disk

    @contextmanager
    def with_job(self, name: Lane) -> Iterator[Taker | None]:
        """Let a new job's first chunk be taken with it, unless others wait for the lane.

        Its slot is kept until the context ends.
        """
        lane = self.lanes[name]
        room = min(lane.free, MOST_ITEMS[name]) if lane.by_item else lane.free
        others = self._engine.may_have_more(name) if self._engine else lane.more
        if others or not room or not self._may_take():
            yield None
            return
        kept = room if lane.by_item else 1
        lane.used += kept
        try:
            yield Taker(self._node, name)
        finally:
            lane.used -= kept
            if lane.more:  # who looked meanwhile saw no room
                self.wake()

    def ended(self, chunk: Chunk) -> None:
        """Note that a chunk is over."""
        self.lanes[chunk.lane].end(chunk)
        if self._engine is not None:
            self._engine.room_made()

    # -- taking ------------------------------------------------------------------------------

    async def take(self) -> AsyncIterator[Chunk]:
        """Take what there is room for: of what hints told, and a look finds beneath them."""
        if self._is_look_due():
            self._looked_at = time.monotonic()
            for name in await self._database.look(queue.ready_lanes):
                self.lanes[name].more = True
        if wanted := self.wanted():
            taken = await self._database.note(take, self._node, wanted)
            for chunk in self.took(wanted, taken):
                yield chunk

    def _is_look_due(self) -> bool:
        """Tell whether a lane may have something that no hint has told of; another may be busy."""
        if self._engine is not None:
            return False
        if not any(lane.free and not lane.more for lane in self.lanes.values()):
            return False
        return not self.wanted() or time.monotonic() - self._looked_at >= POLL_EVERY_S

    def wanted(self, over: Iterable[Chunk] = ()) -> Wanted:
        """Give, by lane, how many items and chunks there is room for, where there may be some.

        `over` are chunks whose slots are free in a moment.
        """
        wanted: Wanted = {}
        for name, lane in self.lanes.items():
            free = lane.free + sum(lane.left_of(chunk) for chunk in over if chunk.lane == name)
            if lane.more and free and self._may_take():
                named = tuple(o.chunk for o in self._engine.offers(name)) if self._engine else None
                if named != ():
                    wanted[name] = Want(free if lane.by_item else _ANY, free, lane.hints, named)
        return wanted

    def took(self, wanted: Wanted, taken: Taken) -> list[Chunk]:
        """Count what was taken. A lane that gave less than there was room for has no more."""
        for name, want in wanted.items():
            lane, got = self.lanes[name], taken[name]
            used = 0
            for chunk in got.chunks:
                lane.hold(chunk)
                used += lane.size(chunk)
            if self._engine is not None and want.named is not None:
                self._engine.taken(name, set(want.named) - got.left)
            if lane.hints == want.hints:  # else there is news from after the look
                lane.more = bool(got.left) or used >= want.most
        return [chunk for got in taken.values() for chunk in got.chunks]


def take(tx: Tx, node: str, wanted: Wanted) -> Taken:
    """Take for a node what it wants: a rule."""
    return {lane: _take_some(tx, node, lane, want) for lane, want in wanted.items()}


def _take_some(tx: Tx, node: str, lane: Lane, want: Want) -> Got:
    if want.named is None:
        return Got(queue.take(tx, node, lane, want.room, want.most), set())
    return Got(*queue.take_named(tx, node, want.named, want.room))
