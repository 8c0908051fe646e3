"""The further files that steps name, such as a watermark: there before a worker needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from app.blobs.kept import Kept
from app.errors import BlobMissing, FetchError
from app.model.blobs import Blob, NamedBlob
from app.model.chunks import Claim
from app.model.jobs import Step
from app.ops.base import Source
from app.ops.fetch import FetchParams
from app.outbound.terms import Fetched, Terms
from app.records import files
from app.runtime import Runtime
from app.work.sources import source_of

MOST_IDLE = 16
"""URLs of jobs whose content is kept although no item needs it just now."""


class Asides:
    """Gives claims what their steps name besides their inputs."""

    def __init__(self, runtime: Runtime) -> None:
        """Know nothing yet."""
        self._runtime = runtime
        self._kept: Kept[tuple[str, str], Source] = Kept(runtime.blobs, MOST_IDLE)

    async def local(
        self, claim: Claim, steps: Iterable[Step], stack: AsyncExitStack
    ) -> dict[str, Source]:
        """Give all further files of a claim's steps, readable until `stack` is left.

        Args:
            claim: of an item.
            steps: those that are still to be done.
            stack: holds on to them.

        Raises:
            FetchError: a URL cannot be fetched.
            BlobMissing: the bytes of a file are gone.
        """
        found: dict[str, Source] = {}
        for step in steps:
            for aside in self._runtime.operations[step.op].asides_of(step.params):
                if aside.key in found:
                    continue
                if aside.url is not None:
                    bring = partial(self._fetch, claim, aside.url)
                    kept = self._kept.of((claim.job_id, aside.url), bring)
                    found[aside.key] = await stack.enter_async_context(kept)
                else:
                    found[aside.key] = await self._stored(aside.file_id or "", stack)
        return found

    async def _stored(self, file_id: str, stack: AsyncExitStack) -> Source:
        file = await self._runtime.database.look(files.get, file_id)
        if file is None:
            raise BlobMissing("A file that a step names is gone.", log_detail=file_id)
        return await source_of(self._runtime.blobs, NamedBlob(file.blob, file.name), stack)

    async def _fetch(self, claim: Claim, url: str, folder: Path) -> Source:
        """Give a URL's content: fetched once for a job, as long as it goes well and is kept."""
        runtime, path = self._runtime, folder / "content"
        await asyncio.to_thread(folder.mkdir)
        try:
            terms = Terms(batch=claim.job_id, client=claim.client)
            fetched = await runtime.fetcher.fetch(
                url, FetchParams(), None, partial(runtime.blobs.save, path), terms
            )
        except FetchError as error:
            error.detail = f"Of a URL that a step names: {error.detail}"
            raise
        assert isinstance(fetched, Fetched)  # noqa: S101 - nothing is known, so nothing is unchanged
        blob: Blob = fetched.body
        return Source(path, fetched.facts["name"] or "download", blob.media_type, blob.size_bytes)
