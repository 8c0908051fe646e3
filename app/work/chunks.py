"""Runs chunks: takes those there is room for, runs their items together, records as they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Self

import structlog

from app.blobs.unrecorded import Unrecorded
from app.errors import StorageError
from app.model.blobs import Blob
from app.model.chunks import Chunk, Claim, Done, Ended, Fence, Outcome
from app.model.jobs import Lane
from app.records import outcome, queue, topics
from app.records.intake import Taker
from app.runtime import Runtime
from app.stores.base import News, Tx, write_of
from app.tasks import cancel
from app.work.items import Items
from app.work.lanes import LaneRoom
from app.work.loop import Loop, Recorder
from app.work.taking import Taken, Taking, Wanted, take
from app.work.telling import Telling

log = structlog.get_logger(__name__)

_Run = Callable[[Sequence[Claim], Unrecorded], Awaitable[list[Outcome]]]


LOOK_EVERY_S = 0.5
"""So often is seen whether what runs here is still to be run: another node may have canceled it."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is written at once of a chunk."""

    ended: tuple[Ended, ...]
    over: Chunk | None = None
    stored: Unrecorded | None = None
    """What was stored for them."""


class Chunks:
    """The items of this node. Use it as an async context manager."""

    def __init__(self, runtime: Runtime) -> None:
        """Keep what chunks are run with."""
        self._runtime = runtime
        self._database, self._node = runtime.database.alongside(), runtime.node.id
        self._telling = Telling(self._database, runtime.node.id)
        self._items = Items(runtime, self._telling)
        self._recorder: Recorder[_Entry] = Recorder(self._write, "items")
        self._crashes: Recorder[Chunk] = Recorder(self._write_crashed, "crashes")
        self._taking = Taking(runtime, self._database)
        self._loop: Loop[Chunk] = Loop(self._taking.take, self._run, self._chunk_ended)
        self._taking.wake = self._loop.wake
        self._suspects = asyncio.Semaphore(1)
        """One suspect at a time: who dies here with another running would take it for guilty."""
        runtime.database.listen(self._hear)

    async def __aenter__(self) -> Self:
        """Begin to take chunks."""
        await self._telling.__aenter__()
        self._taking.begin()
        self._loop.begin()
        self._looking = asyncio.create_task(self._look())
        return self

    def stop(self) -> None:
        """Take no more."""
        self._taking.stop()
        self._loop.stop()

    async def drain(self, timeout_s: float) -> None:
        """Let what runs end, for so long; give the rest back."""
        self.stop()
        await self._taking.end()
        with suppress(StorageError):
            await self._telling.tell_begun()  # of what is cut off an attempt is counted
        cut_off = await self._loop.drain(timeout_s)
        # What they take in this moment, the node gives back as it leaves.
        await self._recorder.close()
        await self._crashes.close()
        if cut_off:
            try:
                await self._database.write(queue.give_back, self._node, cut_off)
            except StorageError as error:  # then the others see that this node is gone
                log.error("not_given_back", detail=error.log_detail)  # noqa: TRY400

    async def __aexit__(self, *_: object) -> None:
        """End; call `drain` before."""
        await cancel(self._looking)
        await self._telling.__aexit__()

    @property
    def alive(self) -> bool:
        """Whether chunks are being taken."""
        return self._loop.alive

    # -- taking ------------------------------------------------------------------------------

    def _hear(self, news: News) -> None:
        if topics.GONE in news:
            gone = set(news[topics.GONE])
            self._cancel(lambda chunk: chunk.job_key in gone)

    def taking(self, lane: Lane) -> AbstractContextManager[Taker | None]:
        """See `Taking.with_job`; hand over what was taken with `start`."""
        return self._taking.with_job(lane)

    def start(self, chunks: Iterable[Chunk]) -> None:
        """Run what was taken elsewhere."""
        for chunk in chunks:
            self._taking.lanes[chunk.lane].hold(chunk)
            self._loop.start(chunk)

    # -- running -----------------------------------------------------------------------------

    async def _run(self, chunk: Chunk) -> None:
        try:
            if chunk.deaths:
                await self._run_singly(chunk)
            else:
                await self._run_together(chunk, self._taking.lanes[chunk.lane])
        except Exception:  # it must not stay taken by a node that lives
            log.exception("chunk_crashed", chunk=chunk.key)
            await self._crashes.record(chunk)

    async def _write_crashed(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            await self._database.write(outcome.crashed, self._node, chunk)

    def _chunk_ended(self, chunk: Chunk) -> None:
        self._taking.ended(chunk)
        for claim in chunk.claims:
            self._telling.end(claim)

    async def _run_together(self, chunk: Chunk, lane: LaneRoom) -> None:
        small: list[Claim] = []
        others: list[Claim] = []
        for claim in chunk.claims:
            (small if self._items.is_small(claim) else others).append(claim)
        left = len(others) + bool(small)

        async def recorded(claims: Sequence[Claim], run: _Run) -> None:
            nonlocal left
            async with self._runtime.unrecorded() as stored:
                ended = self._ended(claims, await run(claims, stored))
                left -= 1
                if lane.by_item and left:
                    lane.let_go(chunk, len(claims))
                await self._recorder.record(_Entry(ended, None if left else chunk, stored))

        one = self._one_in_turn if lane.by_item else self._one
        runs = [recorded([claim], one) for claim in others]
        if small:
            runs.append(recorded(small, self._items.outcomes))
        if not runs:
            await self._recorder.record(_Entry((), chunk))
        await _all(runs)

    async def _one(self, claims: Sequence[Claim], stored: Unrecorded) -> list[Outcome]:
        [claim] = claims
        return [await self._items.outcome(claim, stored)]

    async def _one_in_turn(self, claims: Sequence[Claim], stored: Unrecorded) -> list[Outcome]:
        async with self._taking.lanes["io"].turn:
            return await self._one(claims, stored)

    async def _run_singly(self, chunk: Chunk) -> None:
        async with self._suspects:
            while claim := await self._database.note(queue.next_suspect, self._node, chunk):
                try:
                    async with self._runtime.unrecorded() as stored:
                        ended = self._ended([claim], await self._one([claim], stored))
                        await self._recorder.record(_Entry(ended, None, stored))
                finally:
                    self._telling.end(claim)
        await self._recorder.record(_Entry((), chunk))

    def _ended(self, claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> tuple[Ended, ...]:
        ended = tuple(
            Ended(claim, found, self._telling.worked_s(claim))
            for claim, found in zip(claims, outcomes, strict=True)
        )
        for claim in claims:
            self._telling.end(claim)
        return ended

    # -- recording ---------------------------------------------------------------------------

    async def _write(self, entries: Sequence[_Entry]) -> None:
        """Write what has ended, and take in the same transaction what there is room for then."""
        ended = [one for entry in entries for one in entry.ended]
        over = [entry.over for entry in entries if entry.over is not None]
        wanted = self._taking.wanted(over)
        write = write_of(self._database, len(ended))
        recorded, taken = await write(_finish_and_take, self._node, ended, over, wanted)
        for chunk in self._taking.took(wanted, taken):
            self._loop.start(chunk)
        for entry in entries:
            for one in entry.ended:
                if one.claim.fence in recorded:
                    self._items.tell_ended(one)
                    if entry.stored is not None:
                        entry.stored.recorded(_blobs(one.outcome))
                else:
                    log.info("outcome_void", job=one.claim.job_id, item=one.claim.index)

    # -- canceled elsewhere ------------------------------------------------------------------

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            fences = [(chunk.key, chunk.delivery) for chunk in self._loop.running.values()]
            if not fences:
                continue
            try:
                still = await self._database.read(queue.still_held, self._node, fences)
            except StorageError:
                continue
            asked = set(fences)
            self._cancel(lambda c: (c.key, c.delivery) in asked - still)  # noqa: B023 - called now

    def _cancel(self, gone: Callable[[Chunk], bool]) -> None:
        for task, chunk in list(self._loop.running.items()):
            if gone(chunk):
                task.cancel()


def _blobs(ended: Outcome) -> list[Blob]:
    if not isinstance(ended, Done):
        return []
    blobs = [result.blob for result in ended.results]
    return blobs if ended.fetched is None else [*blobs, ended.fetched]


def _finish_and_take(
    tx: Tx, node: str, ended: Sequence[Ended], over: Sequence[Chunk], wanted: Wanted
) -> tuple[set[Fence], Taken]:
    return outcome.finish(tx, node, ended, over), take(tx, node, wanted)


async def _all(runs: Sequence[Awaitable[None]]) -> None:
    """Run all to their ends; cancelled, cancel all, and wait until they are."""
    tasks = [asyncio.ensure_future(run) for run in runs]
    try:
        await asyncio.gather(*tasks)
    finally:
        await cancel(*tasks)
