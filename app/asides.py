"""The further files that steps name, such as a watermark: there before a worker needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack

from app.errors import BlobMissing, FetchError
from app.model import Blob, Claim, NamedBlob, Step
from app.ops.base import Aside, Source
from app.ops.fetch import FetchParams
from app.outbound.terms import Fetched, Terms
from app.runtime import Runtime

MOST_KEPT = 256
"""URLs of jobs whose content is remembered; the one that was asked for longest ago goes."""


class Asides:
    """Gives claims what their steps name besides their inputs."""

    def __init__(self, runtime: Runtime) -> None:
        """Know nothing yet."""
        self._runtime = runtime
        self._fetches: dict[tuple[str, str], asyncio.Task[NamedBlob]] = {}

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
                if aside.key not in found:
                    given = await self._given(claim, aside)
                    path = await stack.enter_async_context(
                        self._runtime.blobs.local(given.blob.key)
                    )
                    blob = given.blob
                    found[aside.key] = Source(path, given.name, blob.media_type, blob.size_bytes)
        return found

    async def _given(self, claim: Claim, aside: Aside) -> NamedBlob:
        if aside.url is not None:
            return await self._fetched(claim.job_id, aside.url)
        file = await self._runtime.jobs.get_file(aside.file_id or "")
        if file is None:
            raise BlobMissing("A file that a step names is gone.", log_detail=str(aside.file_id))
        return NamedBlob(file.blob, file.name)

    async def _fetched(self, job_id: str, url: str) -> NamedBlob:
        """Give a URL's content: fetched once for a job, as long as it goes well and is kept."""
        key = (job_id, url)
        fetching = self._fetches.pop(key, None)
        if fetching is not None and await self._is_of_use(fetching):
            self._fetches[key] = fetching  # what was asked for last stands last
        else:
            fetching = self._fetches[key] = asyncio.create_task(self._fetch(job_id, url))
        while len(self._fetches) > MOST_KEPT:
            del self._fetches[next(iter(self._fetches))]
        # An item that is canceled takes the fetch from no other.
        return await asyncio.shield(fetching)

    async def _is_of_use(self, fetching: asyncio.Task[NamedBlob]) -> bool:
        """Tell whether a fetch is under way, or went well and its bytes are there for a while."""
        if not fetching.done():
            return True
        if fetching.cancelled() or fetching.exception() is not None:
            return False
        try:
            await self._runtime.blobs.touch(fetching.result().blob.key)
        except BlobMissing:
            return False
        return True

    async def _fetch(self, job_id: str, url: str) -> NamedBlob:
        runtime = self._runtime
        try:
            fetched = await runtime.fetcher.fetch(
                url, FetchParams(), None, runtime.blobs.put, Terms(batch=job_id)
            )
        except FetchError as error:
            error.detail = f"Of a URL that a step names: {error.detail}"
            raise
        assert isinstance(fetched, Fetched)  # noqa: S101 - nothing is known, so nothing is unchanged
        blob: Blob = fetched.body
        return NamedBlob(blob, fetched.facts["name"] or "download")
