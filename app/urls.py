"""One URL of a batch: fetched, or known to be what is stored already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from app.blobs.unrecorded import Unrecorded
from app.blobs.values import small_or
from app.errors import BlobMissing
from app.model import Blob, Claim, NamedBlob, Step, Version
from app.ops.fetch import FetchParams
from app.ops.text_types import Word, called
from app.outbound import terms as outbound
from app.outbound.body import Wanted
from app.outbound.terms import Terms, Unchanged
from app.runtime import Runtime

NAMELESS = "download"


async def fetch_item(
    runtime: Runtime, stored: Unrecorded, claim: Claim, step: Step, facts: dict[str, Any]
) -> NamedBlob:
    """Bring the content of a claimed item's URL into the store.

    Args:
        runtime: the fetcher and the records.
        stored: where it goes.
        claim: an item with a `url`.
        step: its `fetch` step.
        facts: what is found out goes in here, as `fetch`.

    Raises:
        OffloadError: why it could not be fetched.
    """
    params = FetchParams.model_validate(step.params)
    if claim.twin is not None and claim.inputs:
        blob = claim.inputs[0].blob
        facts["fetch"] = claim.twin | {"deduped": True}
    else:
        blob = await _brought(runtime, stored, claim, params, facts)
    return _named(claim, blob, facts)


async def _brought(
    runtime: Runtime, stored: Unrecorded, claim: Claim, params: FetchParams, facts: dict[str, Any]
) -> Blob:
    assert claim.url is not None  # noqa: S101 - what it is called for
    key = version_key(claim.url, claim.headers)
    known = await _known(runtime, stored, claim, params, key) if params.if_changed else None
    terms = Terms(
        sha256=claim.sha256,
        max_bytes=claim.max_bytes,
        known=outbound.Version.told(known.facts) if known else None,
        batch=claim.job_id,
    )
    save = small_or(stored.put)
    fetched = await runtime.fetcher.fetch(claim.url, params, claim.headers, save, terms)
    if isinstance(fetched, Unchanged):
        assert known is not None  # noqa: S101 - nothing else asks for it
        blob = known.blob
        facts["fetch"] = known.facts | _news(fetched)
    else:
        blob = await _in_the_store(stored, fetched.body)
        facts["fetch"] = fetched.facts | stored_facts(blob)
    if params.if_changed and (facts["fetch"]["etag"] or facts["fetch"]["last_modified"]):
        await runtime.jobs.remember(claim.job_id, Version(key, blob, facts["fetch"]))
    return blob


async def _in_the_store(stored: Unrecorded, blob: Blob) -> Blob:
    """Store what is a value, as long as the records take none."""

    async def whole() -> AsyncIterator[bytes]:
        yield blob.value or b""

    return blob if blob.value is None else await stored.put(whole(), blob.size_bytes)


def version_key(url: str, headers: Mapping[str, str]) -> bytes:
    """Digest what makes two fetches of a client ask for the same thing."""
    asked = [url, sorted((name.lower(), value) for name, value in headers.items())]
    return hashlib.sha256(json.dumps(asked).encode()).digest()


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
    known = await runtime.jobs.recall(claim.job_id, key)
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


def _named(claim: Claim, blob: Blob, facts: dict[str, Any]) -> NamedBlob:
    told = facts["fetch"]
    origin = Word(told["name"], told["claimed_media_type"])
    media_type = called(blob.media_type, Word(claim.name, own=True), origin)
    name = claim.name or told["name"] or NAMELESS
    return NamedBlob(replace(blob, media_type=media_type), name)
