"""One attempt to hand something over: a request, and what came of it as a value."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from app.errors import (
    DeliveryError,
    FetchError,
    FetchTimeout,
    OffloadError,
    Problem,
    ReceiverGone,
    ReceiverRefused,
    RemoteUnready,
    TooLargeToPut,
)
from app.model.blobs import Blob
from app.model.deliveries import Attempt, PutTarget
from app.outbound.redirect import Way
from app.outbound.remotes import RemoteObject, code_in
from app.outbound.retry import retry_after_s

log = logging.getLogger(__name__)

ANSWER_BYTES = 512
"""How much of an answer's body is kept: enough for a sentence, useless for exfiltration."""
ANSWER_S = 2.0
"""How long that much is waited for; the status is all that counts."""
CHUNK_BYTES = 256 * 1024
MAX_OBJECT_BYTES = 5_000 << 20
"""What Azure takes in one request; S3 takes a little more."""
MAX_ETAG_CHARACTERS = 200


async def send(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes | AsyncIterator[bytes],
    *,
    timeout_s: float,
    at: datetime,
) -> Attempt:
    """Send an event, or a result for `put`.

    Redirects are not followed, a 2xx is a success, and nothing is raised but CancelledError:
    what went wrong is the attempt's `problem`, with `http_status` and `retry_after_s` where the
    receiver gave them.

    Args:
        client: the guarded one.
        method: in upper case.
        url: judged when it is dialled.
        headers: all that go beside the client's own.
        content: sent as it is.
        timeout_s: for everything up to the answer's header.
        at: the time by the service's clock.
    """
    started = time.monotonic()
    patience = httpx.Timeout(timeout_s, connect=client.timeout.connect, pool=None)
    response: httpx.Response | None = None
    error: OffloadError | None = None
    answer = ""
    try:
        async with asyncio.timeout(timeout_s) as deadline:
            request = client.build_request(
                method, url, headers=headers, content=content, timeout=patience
            )
            response = await client.send(request, stream=True)
    except TimeoutError:
        if not deadline.expired():
            raise
        error = FetchTimeout(f"The receiver did not answer within {timeout_s:g} seconds.")
    except OffloadError as failure:
        error = failure
    elapsed_s = time.monotonic() - started
    if response is not None:
        error = _judged(response, at)
        answer = await first_bytes(response)
    if error is not None and error.log_detail:
        log.info("Delivery failed: %s: %s", error.code, error.log_detail)
    return Attempt(
        at=at,
        elapsed_ms=round(elapsed_s * 1000),
        http_status=response.status_code if response is not None else None,
        problem=error.problem() if error else None,
        answer=answer,
        etag=_etag(response) if error is None and response is not None else None,
    )


def _etag(response: httpx.Response) -> str | None:
    etag = response.headers.get("etag")
    return etag if etag and len(etag) <= MAX_ETAG_CHARACTERS and etag.isprintable() else None


async def put(
    client: httpx.AsyncClient,
    target: PutTarget,
    content: Path | bytes,
    blob: Blob,
    *,
    timeout_s: float,
    at: datetime,
) -> Attempt:
    """PUT a result, a file read as it is sent or a value, under `send`'s rules.

    Its type, length and digest (RFC 9530) go with it. No other header is added: of presigned
    URLs, those of S3 refuse `x-amz-*` and those of Google `x-goog-*` headers that were not signed,
    and both let all others pass. `target.headers` may add what was signed, or replace the type.
    """
    described = {"content-type": blob.media_type}
    if digest := blob.repr_digest:  # every result has one
        described["repr-digest"] = digest
    given = {name.lower(): value for name, value in target.headers.items()}
    headers = described | given | {"content-length": str(blob.size_bytes)}
    body = content if isinstance(content, bytes) else _chunks(content)
    return await send(client, "PUT", target.url, headers, body, timeout_s=timeout_s, at=at)


async def put_object(
    way: Way,
    found: RemoteObject,
    content: Path | bytes,
    blob: Blob,
    *,
    timeout_s: float,
    at: datetime,
) -> Attempt:
    """Put a result into a bucket as `put` does, by a URL that is signed for this attempt.

    The bucket checks what arrives by its Content-MD5, which all of them know.

    Raises:
        TooLargeToPut: no bucket would take it.
    """
    if blob.size_bytes > MAX_OBJECT_BYTES:
        raise TooLargeToPut(f"A bucket takes {MAX_OBJECT_BYTES} bytes.", max_bytes=MAX_OBJECT_BYTES)
    try:
        url = await found.signed("PUT")
    except RemoteUnready as error:
        log.info("Delivery failed: %s: %s", error.code, error.log_detail)
        return Attempt(at, 0, None, error.problem())
    checked = {"content-md5": await asyncio.to_thread(_md5, content)}
    target = PutTarget(url, {**found.put_headers, **checked})
    attempt = await put(way.client, target, content, blob, timeout_s=timeout_s, at=at)
    code = code_in(attempt.answer) if attempt.problem else None
    return replace(attempt, problem=_told(attempt.problem, code)) if code else attempt


def _told(problem: Problem | None, code: str) -> Problem | None:
    if problem is None:
        return None
    said = f"{problem.detail.removesuffix('.')}, {code}."
    return replace(problem, detail=said, extra=problem.extra | {"bucket_code": code})


def _md5(content: Path | bytes) -> str:
    """Give what Content-MD5 has of it (RFC 1864): a checksum, and nobody's proof."""
    if isinstance(content, bytes):
        digest = hashlib.md5(content, usedforsecurity=False)
    else:
        with content.open("rb") as file:
            digest = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False))
    return base64.b64encode(digest.digest()).decode()


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    # Not closed from here: where the receiver answers early, the connection's own task may be in
    # the middle of it, and ends it.
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk


def _judged(response: httpx.Response, now: datetime) -> DeliveryError | None:
    status = response.status_code
    if response.is_success:
        return None
    extra: dict[str, Any] = {"http_status": status}
    asked_s = retry_after_s(response.headers.get("retry-after"), now)
    if asked_s is not None:
        extra["retry_after_s"] = asked_s
    if status == httpx.codes.GONE:
        return ReceiverGone("The receiver answered with status 410: it is gone.", **extra)
    where = "; redirects are not followed" if response.is_redirect else ""
    return ReceiverRefused(f"The receiver answered with status {status}{where}.", **extra)


async def first_bytes(response: httpx.Response) -> str:
    """Give as much of a body as is kept, as text, and close it; never raises."""
    read = bytearray()
    try:
        async with asyncio.timeout(ANSWER_S):
            async for chunk in response.aiter_raw():
                read += chunk
                if len(read) > ANSWER_BYTES:
                    break
    except (TimeoutError, FetchError):
        pass
    finally:
        await response.aclose()
    text = bytes(read[:ANSWER_BYTES]).decode("utf-8", "replace")
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
