"""Runs claimed items: fetch on the event loop, compute in the pool, record the outcome.

At least once in, exactly once out: an item may run again after a crash, its outcome is recorded
once, because `finish` is fenced by the claim's attempt number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import structlog

from app.errors import InternalError, OffloadError, OperationFailed, StorageError
from app.model import Blob, Claim, Done, Failed, Lane, NamedBlob, Outcome, Step
from app.ops.base import Source
from app.ops.chain import ChainStep, ChainTask, Finished, StoredOutput, run_chain, unwrapped
from app.ops.fetch import FetchParams
from app.runtime import Runtime

log = structlog.get_logger(__name__)

SLOTS_PER_WORKER = 4
"""Items in hand for each worker process: while one computes, others are claimed and stored."""
THREADS = 8
PURGE_EVERY_S = 60.0
SWEEP_EVERY_S = 600.0
STORE_RETRY_S = 1.0
STORE_RETRY_MAX_S = 30.0


class Runner:
    """Works on the queue until it is told to stop. Use it as an async context manager."""

    def __init__(self, runtime: Runtime) -> None:
        """Keep what items are run with."""
        self._runtime = runtime
        self._stop = asyncio.Event()
        self._threads = asyncio.Semaphore(THREADS)

    async def __aenter__(self) -> Self:
        """Take back what a dead service left, and begin."""
        if requeued := await self._runtime.jobs.recover():
            log.info("recovered", items=requeued)
        self._working = asyncio.create_task(self._work())
        self._keeping = [
            asyncio.create_task(_every(PURGE_EVERY_S, self.purge)),
            asyncio.create_task(_every(SWEEP_EVERY_S, self.sweep)),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop claiming, let work under way finish for a while, give the rest back."""
        self._stop.set()
        await asyncio.wait([self._working], timeout=self._runtime.settings.drain_timeout_s)
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
        try:
            await self._record(claim, await self._outcome(claim))
        except asyncio.CancelledError:
            await asyncio.shield(self._release([claim]))
            raise

    async def _outcome(self, claim: Claim) -> Outcome:
        """Do the work; a failure is a value."""
        try:
            return await self._work_on(claim)
        except OffloadError as error:
            if error.log_detail:
                log.info("item_failed", **_who(claim), code=error.code, detail=error.log_detail)
            return Failed(error.problem())
        except Exception:  # the last resort: it records, and the item does not hang
            log.exception("item_crashed", **_who(claim))
            return Failed(InternalError("The service failed on this item.").problem())

    async def _record(self, claim: Claim, outcome: Outcome) -> None:
        """Write the outcome; while the store cannot take it, the work is done and waits."""
        pause_s = STORE_RETRY_S
        while True:
            try:
                if not await self._runtime.jobs.finish(claim, outcome):
                    log.info("outcome_void", **_who(claim))
            except StorageError as error:
                log.error("outcome_not_recorded", **_who(claim), detail=error.log_detail)  # noqa: TRY400
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, STORE_RETRY_MAX_S)
            except (TypeError, ValueError):
                # An operation from elsewhere may say what cannot be written down.
                log.exception("outcome_not_recordable", **_who(claim))
                outcome = Failed(OperationFailed("The result cannot be recorded.").problem())
            else:
                return

    async def _work_on(self, claim: Claim) -> Done:
        facts: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            blob, name, steps = claim.blob, claim.name, list(claim.steps)
            if steps and steps[0].op == "fetch":
                fetching = steps.pop(0)
                if claim.url is not None:
                    blob, name = await self._fetch(claim, claim.url, fetching, facts)
            if blob is None:
                raise InternalError("The item has no input.")
            if not steps:
                return Done((NamedBlob(blob, name),), facts)
            path = await stack.enter_async_context(self._runtime.blobs.local(blob.key))
            sources = [Source(path, name, blob.media_type, blob.size_bytes)]
            outputs: list[StoredOutput] = []
            for runs, group in groupby(steps, lambda s: self._runtime.operations[s.op].runs):
                run = self._runtime.cpu.run if runs == "process" else self._run_in_thread
                folder = await stack.enter_async_context(self._runtime.blobs.scratch())
                outputs = await self._compute(run, sources, list(group), folder, facts)
                sources = [Source(o.path, o.name, o.media_type, o.size_bytes) for o in outputs]
            return Done(tuple([await self._adopt(output) for output in outputs]), facts)

    async def _fetch(
        self, claim: Claim, url: str, step: Step, facts: dict[str, Any]
    ) -> tuple[Blob, str]:
        fetched = await self._runtime.fetcher.fetch(
            url,
            FetchParams.model_validate(step.params),
            claim.headers,
            self._runtime.blobs.put,
        )
        facts["fetch"] = fetched.facts
        return fetched.body, claim.name or fetched.facts["name"] or "download"

    async def _compute(
        self,
        run: Callable[[ChainTask], Awaitable[Finished]],
        sources: list[Source],
        steps: list[Step],
        folder: Path,
        facts: dict[str, Any],
    ) -> list[StoredOutput]:
        """Send each source through a run of steps that belong to the same kind of worker."""
        outputs: list[StoredOutput] = []
        chain = tuple(ChainStep(step.op, step.params) for step in steps)
        for number, source in enumerate(sources):
            own = folder / str(number) if number else folder
            finished = await run(ChainTask((source,), chain, own, self._runtime.item_limits))
            outputs.extend(finished.outputs)
            facts.update(finished.facts)
        return outputs

    async def _run_in_thread(self, task: ChainTask) -> Finished:
        async with self._threads:
            result = await asyncio.to_thread(run_chain, task)
        return unwrapped(result)

    async def _adopt(self, output: StoredOutput) -> NamedBlob:
        blob = Blob(output.sha256, output.size_bytes, output.media_type)
        await self._runtime.blobs.adopt(output.path, blob)
        return NamedBlob(blob, output.name)

    # -- keeping house -----------------------------------------------------------------------

    async def purge(self) -> None:
        """Expire jobs and files that are due."""
        while await self._runtime.jobs.purge():
            pass

    async def sweep(self) -> None:
        """Remove bytes that no record points at, once they are old enough."""
        grace_s = self._runtime.settings.blobs.grace_s
        removed = 0
        async for keys in self._runtime.blobs.unused_since(grace_s):
            for key in await self._runtime.jobs.unreferenced(keys):
                removed += await self._runtime.blobs.delete(key, grace_s)
        if removed:
            log.info("swept", blobs=removed)


async def _every(pause_s: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except StorageError as error:
            log.error("housekeeping_failed", detail=error.log_detail)  # noqa: TRY400
        await asyncio.sleep(pause_s)


def _who(claim: Claim) -> dict[str, Any]:
    return {"job": claim.job_id, "item": claim.index, "attempt": claim.attempt}
