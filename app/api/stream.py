"""Very many URLs in one request: NDJSON, written down as it arrives, in flat memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import Request
from pydantic_core import from_json

from app.api.batch import Pace, fetch_params
from app.api.destinations import check_target, placed_in_stream, webhook_of
from app.api.documents import parse
from app.api.ingest import body_chunks
from app.api.inputs import Labels, UrlInput, check_metadata, destinations_said, plan
from app.errors import (
    EmptyBody,
    FetchError,
    InvalidParameter,
    MalformedBody,
    MissingInput,
    TooManyItems,
    UnsupportedBody,
)
from app.jobs.base import Submitted
from app.model import NewItem, NewJob, PutTarget, Step
from app.runtime import Runtime

NDJSON = "application/x-ndjson"
MAX_LINE_BYTES = 64 << 10
LINES_AT_ONCE = 1_000
"""Parsed without a pause, and written in one transaction: a few milliseconds each."""
AHEAD = 4
"""For each URL that the service may have under way, so many of the job's are in the queue; the
others page in as these end."""


async def submit_stream(
    request: Request,
    runtime: Runtime,
    client: str,
    steps: Sequence[Step],
    labels: Labels,
    idempotency_key: str | None,
) -> Submitted:
    """Make a job of a body with one URL a line: a JSON string, or an object as in `urls`.

    A line's own `store` is where its result is put; the job's is where that of the item that joins
    them is.

    Nobody sees the job before its last line is written; if the body ends early, is refused or the
    service dies, nothing of it is left.

    Raises:
        OffloadError: as for any other body, with the number of the line that is at fault.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedBody("Send the body without Content-Encoding.")
    planned, join_at = plan(runtime.operations, steps, urls=True, files=False)
    check_metadata(labels)
    webhook = webhook_of(runtime, labels.webhook)
    store = placed_in_stream(runtime, labels.store, joins=join_at is not None)
    params = fetch_params(planned)
    assert params is not None  # noqa: S101 - URLs are fetched first, whatever was asked
    jobs = runtime.settings.jobs
    limit = jobs.max_streamed_items if join_at is None else jobs.max_items
    pace = Pace(params, runtime.settings.fetch, generous=True)
    digest = hashlib.sha256(_said(planned, labels))
    chunks = body_chunks(request, runtime, jobs.max_streamed_bytes)
    items = 0
    async with runtime.jobs.receiving(client, dedupe=params.dedupe) as incoming:
        async for first, lines in _lines(chunks):
            batch = _items(first, lines)
            items += len(batch)
            if items > limit:
                raise TooManyItems(
                    f"More than {limit} URLs; this job may have no more.", max_items=limit
                )
            for number, (item, line) in enumerate(zip(batch, lines, strict=True), first):
                if item.store is not None:
                    _check_store(runtime, number, item.store, joins=join_at is not None)
                pace.note(item.url or "")
                digest.update(line + b"\n")
            await incoming.add(batch)
        if not items:
            raise MissingInput("The body has no line; give one URL a line.")
        return await incoming.submit(
            NewJob(
                client=client,
                steps=tuple(planned),
                items=(),
                retention_s=jobs.retention_s,
                join_at=join_at,
                tag=labels.tag,
                metadata=labels.metadata,
                idempotency_key=idempotency_key,
                pace=pace.limit or AHEAD * runtime.settings.fetch.concurrency,
                stops=params.on_error == "fail",
                dedupe=params.dedupe,
                fingerprint=digest.hexdigest() if idempotency_key else "",
                webhook=webhook,
                store=store,
            )
        )


def _said(steps: Sequence[Step], labels: Labels) -> bytes:
    """Give what makes the request what it is, beside its lines."""
    told: list[Any] = [[[step.op, step.params] for step in steps], labels.tag, labels.metadata]
    told += destinations_said(labels)
    return json.dumps(["ndjson", *told], sort_keys=True).encode()


def _check_store(runtime: Runtime, number: int, store: PutTarget, *, joins: bool) -> None:
    try:
        check_target(runtime, store, joins=joins)
    except (InvalidParameter, FetchError) as error:
        said = f"Line {number}: {error.detail}"
        raise type(error)(said, line=number, log_detail=error.log_detail, **error.extra) from None


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Cut a body into lines, so many at a time, without the empty ones.

    Gives the number of the first (from 1, empty ones not counted) with each part.

    Raises:
        EmptyBody: there is no body.
        MalformedBody: a line is too long.
    """
    rest, number, begun = b"", 1, False
    waiting: list[bytes] = []
    async for chunk in chunks:
        begun = True
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise MalformedBody(f"A line is longer than {MAX_LINE_BYTES} bytes.")
        waiting += [stripped for line in lines if (stripped := line.strip())]
        while len(waiting) >= LINES_AT_ONCE:
            some, waiting = waiting[:LINES_AT_ONCE], waiting[LINES_AT_ONCE:]
            yield number, some
            number += len(some)
    if not begun:
        raise EmptyBody("The body is empty; lines of NDJSON were announced.")
    if last := rest.strip():
        waiting.append(last)
    if waiting:
        yield number, waiting


def _items(first: int, lines: list[bytes]) -> list[NewItem]:
    return [_item(number, line) for number, line in enumerate(lines, first)]


def _item(number: int, line: bytes) -> NewItem:
    if len(line) > MAX_LINE_BYTES:
        raise MalformedBody(f"Line {number} is longer than {MAX_LINE_BYTES} bytes.", line=number)
    if line[:1] == b"{":
        try:
            return parse(UrlInput, line).item()
        except (InvalidParameter, MalformedBody) as error:
            said = f"Line {number}: {error.detail}"
            raise type(error)(said, line=number, **error.extra) from None
    try:
        url = from_json(line)
    except ValueError:
        raise MalformedBody(f"Line {number} is not valid JSON.", line=number) from None
    if not isinstance(url, str):
        raise InvalidParameter(f"Line {number} is no string and no object.", line=number)
    return NewItem(url=url)
