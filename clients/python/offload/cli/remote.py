"""Work done by a service: sent, watched, its results fetched; canceled where one goes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from offload._async.client import AsyncClient
from offload._async.files import AsyncFile
from offload._async.jobs import AsyncItem, AsyncJob
from offload.cli.given import Given, Unit
from offload.cli.outcome import Outcome, Told, Watch
from offload.errors import OffloadError
from offload.inputs import Input, Upload, Url

CANCEL_S = 5.0
ANSWER_S = 2.0
"""How long the answer to what is just being sent is waited for once somebody has had enough."""


class Fetched:
    """A result that the service has."""

    def __init__(self, file: AsyncFile) -> None:
        """Keep it."""
        self._file = file
        self.name, self.size_bytes, self.sha256 = file.name, file.size_bytes, file.sha256

    async def save(self, path: Path, *, overwrite: bool, told: Told) -> Path:
        """See `Result.save`."""
        return await self._file.save(path, overwrite=overwrite, told=told)

    def iter_bytes(self) -> AsyncGenerator[bytes, None]:
        """See `Result.iter_bytes`."""
        return self._file.iter_bytes()


class Remote:
    """A service as an `Engine`."""

    def __init__(
        self,
        client: AsyncClient,
        operation: Mapping[str, Any],
        options: Mapping[str, Any],
        labels: Mapping[str, Any],
    ) -> None:
        """Know what to ask for."""
        self._client = client
        self._joins = operation["joins"]
        self._step = {"op": operation["name"], **options}
        self._labels: Any = labels
        self.canceled: list[str] = []
        """Jobs that were under way when one had enough."""

    @asynccontextmanager
    async def working(self, unit: Unit, watch: Watch) -> AsyncIterator[list[Outcome]]:
        """See `Engine`."""
        givens = unit.givens
        outcomes = [Outcome(given) for given in ([unit.shown] if self._joins else givens)]
        job: AsyncJob | None = None
        try:
            try:
                watch.phase("sending", sum(given.size_bytes for given in givens))
                sending = asyncio.create_task(self._submit(givens, watch))
                try:
                    job = await asyncio.shield(sending)
                except asyncio.CancelledError:
                    job = await self._late(sending, givens)
                    raise
                await self._over(job, watch)
                outcomes = await self._outcomes(job, unit)
            except OffloadError as error:
                _all_failed(outcomes, error.code, f"{error.detail} {error.hint}".strip())
            except (OSError, ValueError) as error:
                _all_failed(outcomes, "client.input", _sentence(error))
            yield outcomes
        except BaseException:
            if job is not None and not job.done:
                await self._cancel(job)
            raise

    async def _submit(self, givens: Sequence[Given], watch: Watch) -> AsyncJob:
        # Names keep their folders: so they are in an archive of them.
        paths = "keep" if any(given.below.parts for given in givens) else "strip"
        return await self._client.run(
            *map(_input, givens),
            steps=[self._step],
            told=watch.add,
            **{**self._labels, "paths": paths},
        )

    async def _late(
        self, sending: asyncio.Task[AsyncJob], givens: Sequence[Given]
    ) -> AsyncJob | None:
        """Give the job whose answer is on its way when one has had enough, to be canceled too."""
        if any(given.is_stdin for given in givens):
            sending.cancel()  # nobody knows whether more of it comes
        done, _ = await asyncio.wait([sending], timeout=ANSWER_S)
        if done and not sending.cancelled() and sending.exception() is None:
            return sending.result()
        sending.cancel()
        await asyncio.wait([sending])
        return None

    async def _over(self, job: AsyncJob, watch: Watch) -> None:
        watch.phase("waiting")
        async for state in job.watch():
            counts = state.counts
            if state.status == "queued" or not counts.get("total"):
                continue
            items = state.document.get("items") or []
            progress = items[0].get("progress") if len(items) == 1 else None
            if progress:
                watch.set(progress["done"], progress["total"])
            else:
                watch.set(round(1000 * state.progress), 1000)

    async def _outcomes(self, job: AsyncJob, unit: Unit) -> list[Outcome]:
        items = [item async for item in job.items()]
        if self._joins:
            joined = [item for item in items if item.joins]
            failed = [item for item in items if item.error is not None]
            outcome = _outcome(unit.shown, job, joined[0] if joined else None)
            if failed and not outcome.failed and failed[0].error is not None:
                first = failed[0].error
                outcome.fail(first.code, f"{failed[0].name}: {first.detail}")
            return [outcome]
        by_index = {item.index: item for item in items}
        return [_outcome(given, job, by_index.get(n)) for n, given in enumerate(unit.givens)]

    async def _cancel(self, job: AsyncJob) -> None:
        with anyio.move_on_after(CANCEL_S, shield=True):
            try:
                await job.cancel()
                self.canceled.append(job.id)
            except OffloadError:
                return


def _input(given: Given) -> Input:
    if given.url is not None:
        return Url(given.url)
    if given.path is None:
        return Upload(sys.stdin.buffer, given.name)
    return Upload(given.path, given.name)


def _outcome(given: Given, job: AsyncJob, item: AsyncItem | None) -> Outcome:
    outcome = Outcome(given, job_id=job.id)
    if item is None:
        outcome.fail("client.not_offload", "The service does not say what became of it.")
        return outcome
    outcome.results = [Fetched(file) for file in item.results]
    outcome.facts, outcome.refused = item.facts, [dict(one) for one in item.refused]
    if item.error is not None:
        outcome.fail(item.error.code, item.error.detail)
    elif item.status != "succeeded":
        outcome.fail(f"client.{item.status}", f"It is {item.status}.")
    return outcome


def _all_failed(outcomes: Sequence[Outcome], code: str, detail: str) -> None:
    for outcome in outcomes:
        outcome.fail(code, detail)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}."
    return str(error)
