"""Runs claimed items: fetch on the event loop, compute in the pool, record the outcome.

At least once in, exactly once out: an item may run again after a crash, its outcome is recorded
once, because `finish` is fenced by the claim's attempt number.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Any, Self

import structlog

from app.asides import Asides
from app.blobs.unrecorded import Unrecorded
from app.errors import (
    InternalError,
    NoSources,
    OffloadError,
    OperationFailed,
    Refusal,
    StorageError,
    is_internal,
)
from app.logs import number_of
from app.model import Blob, Claim, Done, Failed, Lane, NamedBlob, Outcome, Progress, new_key
from app.ops.base import Source
from app.ops.chain import run_chain
from app.ops.tasks import (
    MAX_TOLD,
    ChainStep,
    ChainTask,
    Finished,
    StoredOutput,
    add_facts,
    unwrapped,
)
from app.runtime import Runtime
from app.urls import fetch_item

log = structlog.get_logger(__name__)

SLOTS_PER_WORKER = 4
"""Items in hand for each worker process: while one computes, others are claimed and stored."""
THREADS = 8
PURGE_EVERY_S = 20.0
SWEEP_EVERY_S = 600.0
TELL_EVERY_S = 1.0
BEGUN_AFTER_S = 0.1
"""So old is work when it is written down that it has begun: what is over by then needs no write of
its own, its outcome says when it began."""
ADOPT_AT_ONCE = 16
STORE_RETRY_S = 1.0
STORE_RETRY_MAX_S = 30.0


class Runner:
    """Works on the queue until it is told to stop. Use it as an async context manager."""

    def __init__(self, runtime: Runtime) -> None:
        """Keep what items are run with."""
        self._runtime = runtime
        self._stop = asyncio.Event()
        self._drained_at: float | None = None
        self._threads = asyncio.Semaphore(THREADS)
        self._asides = Asides(runtime)
        self._progress: dict[int, tuple[Claim, Progress]] = {}
        self._began: dict[int, float] = {}
        """By the key of an item: when its work began."""
        self._untold: dict[int, Claim] = {}
        """Those of them of which it is to be written down."""
        self._some_untold = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Take back what a dead service left, and begin."""
        if requeued := await self._runtime.jobs.recover():
            log.info("recovered", items=requeued)
        self._working = asyncio.create_task(self._work())
        self._keeping = [
            asyncio.create_task(_every(PURGE_EVERY_S, self.tidy)),
            asyncio.create_task(_every(SWEEP_EVERY_S, self.sweep)),
            asyncio.create_task(_every(TELL_EVERY_S, self.tell)),
            asyncio.create_task(_after(self._some_untold, BEGUN_AFTER_S, self.tell_begun)),
        ]
        return self

    def leave(self) -> float:
        """Stop claiming; gives when, on the loop's clock, work under way has had its time."""
        if self._drained_at is None:
            drain_timeout_s = self._runtime.settings.drain_timeout_s
            self._drained_at = asyncio.get_running_loop().time() + drain_timeout_s
        self._stop.set()
        return self._drained_at

    async def __aexit__(self, *_: object) -> None:
        """Stop claiming, let work under way finish for a while, give the rest back."""
        left_s = self.leave() - asyncio.get_running_loop().time()
        await asyncio.wait([self._working], timeout=max(0.0, left_s))
        for task in (self._working, *self._keeping):
            task.cancel()
        ends = await asyncio.gather(self._working, *self._keeping, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                log.error("runner_failed", exc_info=end)

    @property
    def alive(self) -> bool:
        """Whether items are being taken from the queue."""
        return not self._working.done()

    async def _work(self) -> None:
        runtime = self._runtime
        not_begun = await runtime.engine.run(
            self._claim,
            self.execute,
            {
                "io": runtime.settings.fetch.concurrency,
                "cpu": runtime.cpu.workers * SLOTS_PER_WORKER,
            },
            self._stop,
        )
        await self._release(not_begun)

    async def _claim(self, lane: Lane, limit: int) -> list[Claim]:
        """Take items; while the store cannot give them out, wait."""
        pause_s = STORE_RETRY_S
        while not self._stop.is_set():
            try:
                return await self._runtime.jobs.claim(lane, limit)
            except StorageError as error:
                log.error("nothing_claimed", lane=lane, detail=error.log_detail)  # noqa: TRY400
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause_s)
            pause_s = min(2 * pause_s, STORE_RETRY_MAX_S)
        return []

    async def _release(self, claims: list[Claim]) -> None:
        """Give items back; those that the store cannot take back now, `recover` finds."""
        try:
            await self._runtime.jobs.release(claims)
        except StorageError as error:
            log.error("items_not_released", items=len(claims), detail=error.log_detail)  # noqa: TRY400

    # -- one item ----------------------------------------------------------------------------

    async def execute(self, claim: Claim) -> None:
        """Run one item to its recorded outcome.

        Raises nothing but CancelledError; then the item is back in the queue, unless its job was
        canceled or deleted.
        """
        if claim.url is not None:
            self._began[claim.item_key] = time.monotonic()
        try:
            async with self._runtime.unrecorded() as stored:
                recorded = await self._record(claim, await self._outcome(claim, stored))
                if isinstance(recorded, Done):
                    stored.recorded(named.blob for named in recorded.results)
            if recorded is not None:
                self._tell_ended(claim, recorded, self._worked_s(claim))
        except asyncio.CancelledError:
            await asyncio.shield(self._release([claim]))
            raise
        finally:
            self._began.pop(claim.item_key, None)
            self._untold.pop(claim.item_key, None)

    def _tell_ended(self, claim: Claim, outcome: Outcome, elapsed_s: float) -> None:
        problem = outcome.problem if isinstance(outcome, Failed) else None
        now = datetime.now(UTC)
        there_s = (now - (claim.submitted_at or now)).total_seconds()
        level = number_of(self._runtime.settings.log.items)
        log.log(
            logging.ERROR if problem and is_internal(problem.code) else level,
            "item",
            **_who(claim),
            ops=">".join(step.op for step in claim.steps),
            status="failed" if problem else "succeeded",
            code=problem.code if problem else None,
            waited_ms=round(max(there_s - elapsed_s, 0) * 1000),
            elapsed_ms=round(elapsed_s * 1000, 1),
        )

    async def _outcome(self, claim: Claim, stored: Unrecorded) -> Outcome:
        """Do the work; a failure is a value."""
        if claim.problem is not None:
            return Failed(claim.problem)
        try:
            return await self._work_on(claim, stored)
        except OffloadError as error:
            if is_internal(error.code):
                log.error("item_failed", **_who(claim), code=error.code, detail=error.log_detail)  # noqa: TRY400
            elif error.log_detail:
                log.info("item_failed", **_who(claim), code=error.code, detail=error.log_detail)
            return Failed(error.problem(), error.facts)
        except Exception:  # the last resort: it records, and the item does not hang
            log.exception("item_crashed", **_who(claim))
            return Failed(InternalError("The service failed on this item.").problem())

    async def _record(self, claim: Claim, outcome: Outcome) -> Outcome | None:
        """Write the outcome; while the store cannot take it, the work is done and waits.

        Gives what was recorded; None if the item was not this claim's any more.
        """
        pause_s = STORE_RETRY_S
        while True:
            try:
                if await self._runtime.jobs.finish(claim, outcome, self._worked_s(claim)):
                    return outcome
            except StorageError as error:
                log.error("outcome_not_recorded", **_who(claim), detail=error.log_detail)  # noqa: TRY400
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, STORE_RETRY_MAX_S)
            except (TypeError, ValueError):
                # An operation from elsewhere may say what cannot be written down.
                log.exception("outcome_not_recordable", **_who(claim))
                outcome = Failed(OperationFailed("The result cannot be recorded.").problem())
            else:
                log.info("outcome_void", **_who(claim))
                return None

    async def _work_on(self, claim: Claim, stored: Unrecorded) -> Done:
        facts: dict[str, Any] = {}
        refused: list[Refusal] = []
        async with AsyncExitStack() as stack:
            inputs, steps = claim.inputs, list(claim.steps)
            if steps and steps[0].op == "fetch":
                fetching = steps.pop(0)
                if claim.url is not None:
                    inputs = (await fetch_item(self._runtime, stored, claim, fetching, facts),)
            fetched = inputs[0].blob if claim.url is not None else None
            if not inputs:
                raise NoSources("No item before it has a result, so there is nothing to join.")
            if not steps:
                return Done(inputs, facts, fetched=fetched)
            sources = [
                Source(
                    await stack.enter_async_context(self._runtime.blobs.local(given.blob.key)),
                    given.name,
                    given.blob.media_type,
                    given.blob.size_bytes,
                )
                for given in inputs
            ]
            asides = await self._asides.local(claim, steps, stack)
            outputs: tuple[StoredOutput, ...] = ()
            for runs, group in groupby(steps, lambda s: self._runtime.operations[s.op].runs):
                folder = await stack.enter_async_context(self._runtime.blobs.scratch())
                chain = tuple(ChainStep(step.op, step.params) for step in group)
                task = ChainTask(tuple(sources), chain, folder, self._runtime.item_limits, asides)
                began = partial(self._begin, claim)
                if runs == "process":
                    finished = await self._runtime.cpu.run(task, partial(self._note, claim), began)
                else:
                    finished = await self._run_in_thread(task, began)
                ours = any(is_internal(part.code) for part in finished.refused)
                if finished.log_detail or ours:
                    tell = log.error if ours else log.info
                    tell("parts_failed", **_who(claim), detail=finished.log_detail)
                outputs = finished.outputs
                add_facts(facts, finished.facts)
                refused.extend(finished.refused)
                sources = [Source(o.path, o.name, o.media_type, o.size_bytes) for o in outputs]
            results = await self._adopt(outputs, stored)
            return Done(results, facts, tuple(refused[:MAX_TOLD]), fetched)

    async def _run_in_thread(self, task: ChainTask, began: Callable[[], None]) -> Finished:
        async with self._threads:
            began()
            result = await asyncio.to_thread(run_chain, task)
        return unwrapped(result)

    async def _adopt(
        self, outputs: tuple[StoredOutput, ...], stored: Unrecorded
    ) -> tuple[NamedBlob, ...]:
        """Move finished files into the store, a few at a time."""
        results: list[NamedBlob] = []
        for start in range(0, len(outputs), ADOPT_AT_ONCE):
            batch = outputs[start : start + ADOPT_AT_ONCE]
            blobs = [Blob(new_key(), o.size_bytes, o.media_type, o.sha256) for o in batch]
            pairs = list(zip(batch, blobs, strict=True))
            await asyncio.gather(*(stored.adopt(o.path, b) for o, b in pairs))
            results += [NamedBlob(blob, output.name) for output, blob in pairs]
        return tuple(results)

    # -- how far it is -----------------------------------------------------------------------

    def _begin(self, claim: Claim) -> None:
        """Note that a worker has taken an item. One with a URL has begun before, with its fetch."""
        if claim.item_key not in self._began:
            self._began[claim.item_key] = time.monotonic()
            self._untold[claim.item_key] = claim
            self._some_untold.set()

    def _worked_s(self, claim: Claim) -> float:
        now = time.monotonic()
        return now - self._began.get(claim.item_key, now)

    async def tell_begun(self) -> None:
        """Write down which items have begun."""
        self._some_untold.clear()
        begun, self._untold = self._untold.values(), {}
        if begun:
            await self._runtime.jobs.began([(claim, self._worked_s(claim)) for claim in begun])

    def _note(self, claim: Claim, done: int, total: int) -> None:
        self._progress[claim.item_key] = (claim, Progress(done, total))

    async def tell(self) -> None:
        """Write down how far the items are that have told."""
        told, self._progress = self._progress, {}
        if told:
            await self._runtime.jobs.tell(told.values())

    # -- keeping house -----------------------------------------------------------------------

    async def tidy(self) -> None:
        """Expire what is due, and remove the bytes of what has expired or was deleted."""
        await self.purge()
        await self.remove_loose()

    async def purge(self) -> None:
        """Expire jobs and files that are due."""
        while await self._runtime.jobs.purge():
            pass

    async def sweep(self) -> None:
        """Remove bytes that no record points at, once they are old enough."""
        grace_s = self._runtime.settings.blobs.grace_s
        async for keys in self._runtime.blobs.unused_since(grace_s):
            await self._remove(keys)

    async def remove_loose(self) -> None:
        """Remove bytes of which the last record has gone, and what failed work has left."""
        blobs, jobs = self._runtime.blobs, self._runtime.jobs
        if not await blobs.may_remove():
            return  # all of it stays noted until the backup is made
        while keys := await jobs.loose():
            await self._remove(keys)

    async def _remove(self, keys: Sequence[str]) -> None:
        """Remove what no record points at: once it is so, it stays so."""
        unreferenced = await self._runtime.jobs.unreferenced(keys)
        removed = [await self._runtime.blobs.delete(key) for key in unreferenced]
        if any(removed):
            log.info("removed", blobs=sum(removed))


async def _every(pause_s: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await _housekeeping(work)
        await asyncio.sleep(pause_s)


async def _housekeeping(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except StorageError as error:
        log.error("housekeeping_failed", detail=error.log_detail)  # noqa: TRY400


async def _after(
    wanted: asyncio.Event, pause_s: float, work: Callable[[], Awaitable[None]]
) -> None:
    while True:
        await wanted.wait()
        await asyncio.sleep(pause_s)
        await _housekeeping(work)


def _who(claim: Claim) -> dict[str, Any]:
    return {"job": claim.job_id, "item": claim.index, "attempt": claim.attempt}
