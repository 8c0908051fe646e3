"""Operations right here, without a service: what `offload image photo.jpg` does on a laptop.

The same chain in the same pool within the same bounds, by the same settings (OFFLOAD_ITEM_*,
OFFLOAD_POOL_*, OFFLOAD_FETCH_*). No records and no store: inputs are read where they are, results
are left in a folder of the caller's. The command line finds this by the entry point group
`offload.local`, and speaks to it in the API's own documents.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.api.nearest import hint
from app.api.sentences import Judged, complaint, sentence
from app.blobs.scratch import Scratch
from app.cpu import CpuPool
from app.errors import (
    InvalidParameter,
    MissingInput,
    NotFound,
    OffloadError,
    StorageError,
)
from app.logs import configure_logging
from app.model.blobs import Blob
from app.ops.base import Offered, Operation, Source
from app.ops.chain import run_chain
from app.ops.fetch import FetchParams
from app.ops.media_type import HEAD_BYTES, sniff
from app.ops.registry import load_offered
from app.ops.tasks import ChainStep, ChainTask, Finished, unwrapped
from app.ops.text_types import Word, called
from app.outbound.fetch import Fetcher
from app.outbound.remotes import Remotes
from app.outbound.terms import Fetched
from app.records.twins import named
from app.settings import Settings

ALONE_BYTES = 4 << 20
"""A single file up to so large gets one worker: to start each is half a second of work."""
MORE_TIME = "OFFLOAD_ITEM_TIMEOUT_S gives it more."
Told = Callable[[int, int], None]


class Local:
    """The operations of this installation; see `offload.cli.here.Local`, which this is."""

    def __init__(self, settings: Settings) -> None:
        """Start nothing yet."""
        self._settings = settings
        self._stack = AsyncExitStack()
        self._cpu: CpuPool
        self._fetcher: Fetcher | None = None

    def operations(self) -> list[dict[str, Any]]:
        """Describe the operations as `GET /v1/operations` does."""
        return [
            {
                "name": one.name,
                "summary": one.summary,
                "door": f"/v1/{one.door or one.name}",
                "accepts": list(one.accepts),
                "joins": one.joins,
                "runs": one.runs,
                "params": one.params.model_json_schema(),
                "example": one.example,
            }
            for one in load_offered().values()
        ]

    def check(self, op: str, options: Mapping[str, Any]) -> str:
        """Say what is wrong with an operation's options; nothing if they are right."""
        try:
            self._understood(op, options)
        except InvalidParameter as error:
            return error.detail
        return ""

    def _understood(self, op: str, options: Mapping[str, Any]) -> tuple[Offered, dict[str, Any]]:
        operation = load_offered().get(op)
        if operation is None:
            raise InvalidParameter(f"There is no operation {op!r}{hint(op, load_offered())}")
        try:
            params = operation.params.model_validate(dict(options))
        except ValidationError as error:
            [first, *_] = error.errors()
            where, said = complaint(first, Judged(operation.params, options))
            raise InvalidParameter(sentence(where, said)) from None
        return operation, params.model_dump(mode="json")

    @asynccontextmanager
    async def opened(self, size_bytes: int, files: int) -> AsyncIterator[None]:
        """Have worker processes for files of so many bytes together."""
        settings = self._settings.pool
        if files == 1 and size_bytes <= ALONE_BYTES:
            settings = settings.model_copy(update={"workers": 1})
        # In JSON the log would take over standard output, which is the results'.
        quiet = {"level": "error", "format": "console"}
        configure_logging(self._settings.log.model_copy(update=quiet))
        self._cpu = CpuPool(settings)
        async with self._stack:
            await self._cpu.open()
            self._stack.push_async_callback(self._cpu.close)
            yield

    async def run(
        self,
        op: str,
        options: Mapping[str, Any],
        inputs: Sequence[Mapping[str, str]],
        folder: Path,
        told: Told,
    ) -> dict[str, Any]:
        """Do the work; gives the members of an item's document, failures too."""
        try:
            return await self._run(op, options, inputs, folder, told)
        except OffloadError as error:
            problem = error.problem().document()
            if error.code == "limit.time":
                problem["detail"] += f" {MORE_TIME}"
            return {"results": [], "facts": error.facts, "refused": [], "error": problem}

    async def _run(
        self,
        op: str,
        options: Mapping[str, Any],
        inputs: Sequence[Mapping[str, str]],
        folder: Path,
        told: Told,
    ) -> dict[str, Any]:
        if not inputs:
            raise MissingInput("There is nothing to work on.")
        operation, params = self._understood(op, options)
        facts: dict[str, Any] = {}
        fetch = FetchParams.model_validate(params) if op == "fetch" else FetchParams()
        sources = [
            await self._source(one, folder / f"input-{n}", fetch, facts)
            for n, one in enumerate(inputs)
        ]
        if not isinstance(operation, Operation):
            return _document([_as_result(one, facts) for one in sources], facts, Finished((), {}))
        asides = {
            aside.key: await self._aside(aside.url, folder / f"aside-{n}")
            for n, aside in enumerate(operation.asides_of(params))
        }
        steps = (ChainStep(op, params),)
        task = ChainTask(
            tuple(sources), steps, folder / "results", self._settings.item_limits, asides
        )
        finished = await self._chain(operation, task, told)
        results = [
            {
                "path": str(one.path),
                "name": one.name,
                "media_type": one.media_type,
                "size_bytes": one.size_bytes,
                "sha256": one.sha256,
            }
            for one in finished.outputs
        ]
        return _document(results, facts, finished)

    async def _chain(self, operation: Operation, task: ChainTask, told: Told) -> Finished:
        if operation.runs == "process":
            return await self._cpu.run(task, told)
        return unwrapped(await asyncio.to_thread(run_chain, task))

    async def _source(
        self, given: Mapping[str, str], path: Path, fetch: FetchParams, facts: dict[str, Any]
    ) -> Source:
        if "url" in given:
            return await self._fetched(given["url"], path, fetch, facts)
        return await asyncio.to_thread(_source_at, Path(given["path"]), given["name"])

    async def _aside(self, url: str | None, path: Path) -> Source:
        if url is None:
            raise NotFound("Right here no file is stored: give a URL.")
        return await self._fetched(url, path, FetchParams(), {})

    async def _fetched(
        self, url: str, path: Path, params: FetchParams, facts: dict[str, Any]
    ) -> Source:
        """Fetch a URL as the service does: the same guard, limits, tries and checks."""
        if self._fetcher is None:
            remotes = Remotes(self._settings.all_remotes)
            self._fetcher = await self._stack.enter_async_context(
                Fetcher(self._settings.fetch, remotes)
            )
        scratch = Scratch(path.parent / "fetched", self._settings.blobs)
        await scratch.open()
        try:
            save = partial(scratch.save, path)
            fetched = await self._fetcher.fetch(url, params, None, save)
        finally:
            await scratch.close()
        assert isinstance(fetched, Fetched)  # noqa: S101 - nothing is known of it
        body: Blob = fetched.body
        stored = {"media_type": body.media_type, "size_bytes": body.size_bytes}
        facts["fetch"] = fetched.facts | stored | {"sha256": body.sha256}
        content = named(body, None, facts["fetch"])
        return Source(path, content.name, content.blob.media_type, body.size_bytes)


def _source_at(path: Path, name: str) -> Source:
    """Look at a file where it is."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            size_bytes = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}.") from None
    media_type = called(sniff(head), Word(name, own=True))
    return Source(path, name, media_type, size_bytes)


def _as_result(source: Source, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "path": str(source.path),
        "name": source.name,
        "media_type": source.media_type,
        "size_bytes": source.size_bytes,
        "sha256": facts["fetch"]["sha256"],
    }


def _document(
    results: list[dict[str, Any]], facts: Mapping[str, Any], finished: Finished
) -> dict[str, Any]:
    refused = [
        {"name": one.name, "code": one.code, "detail": one.detail} for one in finished.refused
    ]
    return {
        "results": results,
        "facts": {**facts, **finished.facts},
        "refused": refused,
        "error": None,
    }
