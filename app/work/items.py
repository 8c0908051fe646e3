"""What an item goes through, from its claim to its outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import structlog

from app import metrics
from app.blobs.unrecorded import Unrecorded
from app.cpu.trips import Ended as Trip
from app.errors import (
    InternalError,
    NoSources,
    OffloadError,
    OperationFailed,
    Refusal,
    is_internal,
)
from app.logs import number_of
from app.model.blobs import SMALL_BYTES, Blob, NamedBlob, new_key
from app.model.chunks import Claim, Done, Ended, Failed, Outcome
from app.model.jobs import Step
from app.ops.base import Source
from app.ops.chain import run_chain
from app.ops.tasks import (
    MAX_TOLD,
    ChainStep,
    ChainTask,
    Finished,
    Refused,
    StoredOutput,
    add_facts,
    unwrapped,
)
from app.records.outcome import check_recordable
from app.runtime import Runtime
from app.work.asides import Asides
from app.work.fetching import fetch_item
from app.work.sources import source_of
from app.work.telling import Telling

log = structlog.get_logger(__name__)

THREADS = 8
ADOPT_AT_ONCE = 16


class Items:
    """Runs claimed items. A failure is a value; nothing is raised but CancelledError."""

    def __init__(self, runtime: Runtime, telling: Telling) -> None:
        """Keep what items are run with."""
        self._runtime = runtime
        self._telling = telling
        self._threads = asyncio.Semaphore(THREADS)
        self._asides = Asides(runtime)
        self._limits = runtime.item_limits
        self._log_level = number_of(runtime.settings.log.items)

    # -- outcomes ----------------------------------------------------------------------------

    def is_small(self, claim: Claim) -> bool:
        """Tell whether an item can share a trip to the pool: values in, and nothing to wait for."""
        operations = self._runtime.operations
        return (
            claim.url is None
            and claim.problem is None
            and bool(claim.inputs)
            and all(given.blob.value is not None for given in claim.inputs)
            and all(
                step.op in operations
                and operations[step.op].runs == "process"
                and not operations[step.op].asides_of(step.params)
                for step in claim.steps
            )
        )

    async def outcomes(self, claims: Sequence[Claim], stored: Unrecorded) -> list[Outcome]:
        """Run small items in one trip; gives their outcomes in the same order."""
        tasks = [self._small_task(claim) for claim in claims]
        ended: Sequence[Trip] = ()
        try:
            ended = await self._runtime.cpu.run_many(
                tasks,
                lambda at, done, total: self._telling.note(claims[at], done, total),
                lambda at: self._telling.begin(claims[at]),
            )
            return [
                await self._guarded(claim, self._small(claim, one.outcome, stored))
                for claim, one in zip(claims, ended, strict=True)
            ]
        finally:
            if not ended or any(one.folder for one in ended):
                await self._runtime.blobs.clear(Path(task.folder) for task in tasks)

    def _small_task(self, claim: Claim) -> ChainTask:
        values = tuple(
            Source.of(given.blob.value or b"", given.name, given.blob.media_type)
            for given in claim.inputs
        )
        folder = self._runtime.blobs.spare()
        return ChainTask(values, _chain(claim.steps), folder, self._limits, {}, SMALL_BYTES)

    async def outcome(self, claim: Claim, stored: Unrecorded) -> Outcome:
        """Run one item, whatever it needs."""
        if claim.problem is not None:
            return Failed(claim.problem)
        return await self._guarded(claim, self._work_on(claim, stored))

    async def _guarded(self, claim: Claim, work: Awaitable[Done]) -> Outcome:
        """Do the work; a failure is a value, and so is what cannot be written down."""
        try:
            done = await work
        except OffloadError as error:
            if is_internal(error.code):
                log.error("item_failed", **_who(claim), code=error.code, detail=error.log_detail)  # noqa: TRY400
            elif error.log_detail:
                log.info("item_failed", **_who(claim), code=error.code, detail=error.log_detail)
            return Failed(error.problem(), error.facts)
        except Exception:  # the last resort: it is recorded, and the item does not hang
            log.exception("item_crashed", **_who(claim))
            return Failed(InternalError("The service failed on this item.").problem())
        try:
            check_recordable(done)
        except (TypeError, ValueError):
            # An operation from elsewhere may say what cannot be written down.
            log.exception("outcome_not_recordable", **_who(claim))
            return Failed(OperationFailed("The result cannot be recorded.").problem())
        return done

    async def _small(self, claim: Claim, result: Finished | Refused, stored: Unrecorded) -> Done:
        finished = unwrapped(result)
        facts: dict[str, Any] = {}
        refused: list[Refusal] = []
        self._take_in(claim, finished, facts, refused)
        return Done(await _adopt(finished.outputs, stored), facts, tuple(refused[:MAX_TOLD]))

    # -- an item that needs more than a trip to the pool -----------------------------------------

    async def _work_on(self, claim: Claim, stored: Unrecorded) -> Done:
        facts: dict[str, Any] = {}
        refused: list[Refusal] = []
        async with AsyncExitStack() as stack:
            fetched = None
            if claim.url is not None:
                self._telling.begin(claim)
                brought = await fetch_item(self._runtime, stored, claim, facts, stack)
                if not claim.steps:
                    return Done((brought.content,), facts)
                fetched = brought.content.blob if brought.kept else None
                sources = [await brought.source(self._runtime.blobs, stack)]
            elif not claim.inputs:
                raise NoSources("No item before it has a result, so there is nothing to join.")
            else:
                blobs = self._runtime.blobs
                sources = [await source_of(blobs, given, stack) for given in claim.inputs]
            asides = await self._asides.local(claim, claim.steps, stack)
            outputs: tuple[StoredOutput, ...] = ()
            for runs, group in groupby(claim.steps, self._runs):
                folder = self._runtime.blobs.spare()  # made where a step needs one
                stack.push_async_callback(self._runtime.blobs.clear, [folder])
                task = ChainTask(
                    tuple(sources), _chain(group), folder, self._limits, asides, SMALL_BYTES
                )
                finished = await self._run(claim, runs, task)
                self._take_in(claim, finished, facts, refused)
                outputs = finished.outputs
                sources = [
                    Source(o.path, o.name, o.media_type, o.size_bytes, o.data) for o in outputs
                ]
            results = await _adopt(outputs, stored)
            return Done(results, facts, tuple(refused[:MAX_TOLD]), fetched)

    def _runs(self, step: Step) -> str:
        return self._runtime.operations[step.op].runs

    async def _run(self, claim: Claim, runs: str, task: ChainTask) -> Finished:
        began = partial(self._telling.begin, claim)
        if runs == "process":
            return await self._runtime.cpu.run(task, partial(self._telling.note, claim), began)
        async with self._threads:
            began()
            return unwrapped(await asyncio.to_thread(run_chain, task))

    def _take_in(
        self, claim: Claim, finished: Finished, facts: dict[str, Any], refused: list[Refusal]
    ) -> None:
        ours = any(is_internal(part.code) for part in finished.refused)
        if finished.log_detail or ours:
            tell = log.error if ours else log.info
            tell("parts_failed", **_who(claim), detail=finished.log_detail)
        add_facts(facts, finished.facts)
        refused.extend(finished.refused)

    # -- what becomes of it ------------------------------------------------------------------

    def tell_ended(self, ended: Ended) -> None:
        """Log and count how an item ended."""
        claim, outcome = ended.claim, ended.outcome
        problem = outcome.problem if isinstance(outcome, Failed) else None
        now = self._runtime.node.now()
        there_s = (now - (claim.submitted_at or now)).total_seconds()
        waited_s = max(there_s - ended.worked_s, 0)
        code = problem.code if problem else None
        ops = [*["fetch"] * (claim.url is not None), *(s.op for s in claim.steps)]
        made = outcome.results if isinstance(outcome, Done) else ()
        sizes = sum(i.blob.size_bytes for i in claim.inputs), sum(r.blob.size_bytes for r in made)
        metrics.item_ended(metrics.op_of(ops), code, waited_s, ended.worked_s, sizes)
        log.log(
            logging.ERROR if problem and is_internal(problem.code) else self._log_level,
            "item",
            **_who(claim),
            ops=">".join(ops),
            status="failed" if problem else "succeeded",
            code=code,
            waited_ms=round(waited_s * 1000),
            elapsed_ms=round(ended.worked_s * 1000, 1),
        )


async def _adopt(outputs: tuple[StoredOutput, ...], stored: Unrecorded) -> tuple[NamedBlob, ...]:
    """Move finished files into the store, a few at a time; values are kept by the records."""
    results: list[NamedBlob] = []
    for start in range(0, len(outputs), ADOPT_AT_ONCE):
        batch = outputs[start : start + ADOPT_AT_ONCE]
        blobs = [Blob(new_key(), o.size_bytes, o.media_type, o.sha256, o.data) for o in batch]
        pairs = list(zip(batch, blobs, strict=True))
        await asyncio.gather(*(stored.adopt(o.path, b) for o, b in pairs if b.value is None))
        results += [NamedBlob(blob, output.name) for output, blob in pairs]
    return tuple(results)


def _chain(steps: Iterable[Step]) -> tuple[ChainStep, ...]:
    return tuple(ChainStep(step.op, step.params) for step in steps)


def _who(claim: Claim) -> dict[str, Any]:
    return {"job": claim.job_id, "item": claim.index, "attempt": claim.attempt}
