"""One URL of a batch: fetched, or known to be what is stored already."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from app.blobs.base import BlobStore
from app.blobs.unrecorded import Unrecorded
from app.blobs.values import Put, small_or
from app.errors import BlobMissing
from app.model.blobs import Blob, NamedBlob
from app.model.chunks import Claim
from app.model.jobs import Version
from app.ops.base import Source
from app.ops.fetch import FetchParams
from app.outbound.body import Wanted
from app.outbound.terms import Terms, Unchanged
from app.records import versions
from app.records.twins import named
from app.runtime import Runtime
from app.work.sources import source_of


@dataclass(frozen=True, slots=True)
class Brought:
    """The content of a URL."""

    content: NamedBlob
    path: Path | None
    """Where it is, if neither in the store nor a value: it only goes through further steps."""
    kept: bool
    """Whether it is to stay with its item, although it is not its result."""

    async def source(self, blobs: BlobStore, stack: AsyncExitStack) -> Source:
        """Give what the first step reads."""
        if self.path is None:
            return await source_of(blobs, self.content, stack)
        blob = self.content.blob
        return Source(self.path, self.content.name, blob.media_type, blob.size_bytes)


async def fetch_item(
    runtime: Runtime,
    stored: Unrecorded,
    claim: Claim,
    facts: dict[str, Any],
    stack: AsyncExitStack,
) -> Brought:
    """Bring the content of a claimed item's URL.

    A small one is a value. A large one that is the result, or that a later fetch asks for the
    changes of, goes into the store; all others are there until `stack` is left.

    Args:
        runtime: the fetcher and the records.
        stored: the way into the store.
        claim: an item with a `url`.
        facts: what is found out goes in here, as `fetch`.
        stack: holds on to what is not stored.

    Raises:
        OffloadError: why it could not be fetched.
    """
    params = FetchParams.model_validate(claim.fetch or {})
    kept = bool(claim.steps) and params.if_changed
    put: Put = stored.put
    path = None
    if claim.steps and not kept:
        path = await stack.enter_async_context(runtime.blobs.scratch()) / "content"
        put = partial(runtime.blobs.save, path)
    blob = await _brought(runtime, stored, claim, params, facts, small_or(put))
    content = named(blob, claim.name, facts["fetch"])
    return Brought(content, None if blob.value is not None else path, kept)


async def _brought(
    runtime: Runtime,
    stored: Unrecorded,
    claim: Claim,
    params: FetchParams,
    facts: dict[str, Any],
    save: Put,
) -> Blob:
    assert claim.url is not None  # noqa: S101 - what it is called for
    key = versions.key_of(claim.url, claim.headers)
    known = await _known(runtime, stored, claim, params, key) if params.if_changed else None
    terms = Terms(
        sha256=claim.sha256,
        max_bytes=claim.max_bytes,
        known=known.facts if known else None,
        batch=claim.job_id,
        client=claim.client,
    )
    fetched = await runtime.fetcher.fetch(claim.url, params, claim.headers, save, terms)
    if isinstance(fetched, Unchanged):
        assert known is not None  # noqa: S101 - nothing else asks for it
        blob = known.blob
        facts["fetch"] = known.facts | _news(fetched)
    else:
        blob = fetched.body
        facts["fetch"] = fetched.facts | stored_facts(blob)
    if params.if_changed and (facts["fetch"]["etag"] or facts["fetch"]["last_modified"]):
        version = Version(key, blob, facts["fetch"])
        await runtime.database.note(versions.remember, claim.job_id, version)
    return blob


def stored_facts(blob: Blob) -> dict[str, Any]:
    """Say in an item's facts what was stored."""
    return {"media_type": blob.media_type, "size_bytes": blob.size_bytes, "sha256": blob.sha256}


def _news(answer: Unchanged) -> dict[str, Any]:
    """Give what a 304 adds to what is known: not what it leaves out because nothing has changed."""
    silent = ("claimed_media_type", "name", "etag", "last_modified", "headers")
    return {name: value for name, value in answer.facts.items() if name not in silent or value}


async def _known(
    runtime: Runtime, stored: Unrecorded, claim: Claim, params: FetchParams, key: bytes
) -> Version | None:
    """Give what the client's last fetch of this URL brought, if its bytes are still there.

    In a blob of their own: the records may let go of the other any moment. They must be what is
    asked for now: it may not be what was asked for then.
    """
    known = await runtime.database.look(versions.recall, claim.job_id, key)
    if known is None:
        return None
    limit = runtime.settings.fetch.tightened(params).max_bytes
    wanted = Wanted(min(claim.max_bytes or limit, limit), params.accept_types, claim.sha256)
    blob, claimed = known.blob, known.facts["claimed_media_type"]
    fits = wanted.fits(blob.size_bytes, blob.digest) and wanted.accepts(blob.media_type, claimed)
    if not fits:
        return None
    try:
        return replace(known, blob=await stored.link(blob))
    except BlobMissing:
        return None
