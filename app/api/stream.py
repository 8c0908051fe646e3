"""Very many URLs in one request, one a line, written down as they arrive, in flat memory."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from fastapi import Request
from pydantic_core import from_json

from app import metrics
from app.api.batch import Pace
from app.api.destinations import placed_in_stream, settled
from app.api.documents import parse
from app.api.ingest import body_chunks, body_kind, check_coding
from app.api.inputs import Labels, UrlInput
from app.api.making import draft, labels_said
from app.errors import (
    EmptyBody,
    FetchError,
    InvalidParameter,
    MalformedBody,
    MissingInput,
    TooManyItems,
)
from app.model.chunks import Submitted
from app.model.deliveries import PutTarget
from app.model.jobs import NewItem, Step
from app.records import receiving
from app.runtime import Runtime

NDJSON = "application/x-ndjson"
TEXT = "text/plain"
"""One URL a line, as it is."""
LINES = (NDJSON, TEXT)
BOM = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 64 << 10
LINES_AT_ONCE = 1_000
BYTES_AT_ONCE = 64 << 10
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
    """Make a job of a body with one URL a line.

    Of NDJSON that is a JSON string, or an object as in `urls`; of plain text the line itself. A
    line that is neither is an item that fails, unless the first failure is to end the batch.

    A line's own `store` is where its result is put; the job's is where that of the item that joins
    them is, or a bucket for all lines that have none.

    Nobody sees the job before its last line is written; if the body ends early, is refused or the
    service dies, nothing of it is left.

    Raises:
        OffloadError: as for any other body, with the number of the line that is at fault.
    """
    check_coding(request)
    new, fetch = draft(runtime, client, steps, labels, idempotency_key, urls=True, files=False)
    joins = new.join_at is not None
    assert fetch is not None  # noqa: S101 - URLs are fetched first, whatever was asked
    jobs = runtime.settings.jobs
    limit = jobs.max_items if joins else jobs.max_streamed_items
    pace = Pace(fetch, runtime.settings.fetch, generous=True)
    plain = body_kind(request) == TEXT
    digest = hashlib.sha256(_said(new.steps, labels, "text" if plain else "ndjson"))
    chunks = body_chunks(request, jobs.max_streamed_bytes)
    items = 0
    most = jobs.max_unfinished_items
    each, joined = placed_in_stream(runtime, client, labels.store, joins=joins)
    new = replace(
        new,
        pace=AHEAD * runtime.settings.fetch.concurrency,
        store=joined,
    )
    place = partial(_placed, runtime, client, each, joins)
    async with _receiving(runtime) as job_key:
        async for first, lines in _lines(chunks):
            batch = [
                place(number, _item(number, line, plain=plain, strict=new.stops))
                for number, line in enumerate(lines, first)
            ]
            at, items = items, items + len(batch)
            if items > limit:
                raise TooManyItems(
                    f"More than {limit} URLs; this job may have no more.", max_items=limit
                )
            for item, line in zip(batch, lines, strict=True):
                if item.problem is None:
                    pace.note(item.url or "")
                digest.update(line + b"\n")
            await runtime.database.write(receiving.add, job_key, new, batch, at, most)
        if not items:
            raise MissingInput("The body has no line; give one URL a line.")
        said = digest.hexdigest() if idempotency_key else ""
        whole = replace(new, pace=pace.limit or new.pace, fingerprint=said)
        made = await runtime.database.write(receiving.show, job_key, whole, items, most)
        if made.created:
            metrics.job_accepted([step.op for step in new.steps], fetches=True)
        return made


@asynccontextmanager
async def _receiving(runtime: Runtime) -> AsyncIterator[int]:
    """Give the key of a job that nobody sees; unless it is shown, nothing of it is left."""
    job_key = await runtime.database.note(receiving.open_job, runtime.node.id)
    try:
        yield job_key
    finally:
        await asyncio.shield(runtime.node.give_up(job_key))


def _said(steps: Sequence[Step], labels: Labels, kind: str) -> bytes:
    """Give what makes the request what it is, beside its lines."""
    own, *told = labels_said(labels)
    asked = [[step.op, step.params] for step in steps]
    return json.dumps([kind, asked, *own, *told], sort_keys=True).encode()


def _placed(
    runtime: Runtime,
    client: str,
    each: PutTarget | None,
    joins: bool,
    number: int,
    item: NewItem,
) -> NewItem:
    """Give a line's item with where its results are put: a place of its own, or everybody's."""
    if item.store is None:
        return replace(item, store=each) if each else item
    try:
        return replace(item, store=settled(runtime, client, item.store, joins=joins))
    except (InvalidParameter, FetchError) as error:
        said = f"Line {number}: {error.detail}"
        raise type(error)(said, line=number, log_detail=error.log_detail, **error.extra) from None


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Cut a body into lines, so many at a time, without the empty ones.

    Gives the number of the first (from 1, empty ones not counted) with each part.

    Raises:
        EmptyBody: there is no body.
    """
    rest, number, begun = b"", 1, False
    some: list[bytes] = []
    some_bytes = 0
    async for chunk in chunks:
        begun = True
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[: MAX_LINE_BYTES + 1]  # too long already, and it stays so
        for line in lines:
            if stripped := _stripped(line, first=number == 1 and not some):
                some.append(stripped)
                some_bytes += len(stripped)
            if len(some) >= LINES_AT_ONCE or some_bytes >= BYTES_AT_ONCE:
                yield number, some
                number += len(some)
                some, some_bytes = [], 0
    if not begun:
        raise EmptyBody("The body is empty; lines with a URL each were announced.")
    if last := _stripped(rest, first=number == 1 and not some):
        some.append(last)
    if some:
        yield number, some


def _stripped(line: bytes, *, first: bool) -> bytes:
    return (line.removeprefix(BOM) if first else line).strip()


def _item(number: int, line: bytes, *, plain: bool, strict: bool) -> NewItem:
    """Give a line's item; of one that means nothing, unless `strict`, the item that says so."""
    try:
        return _meant(line, plain=plain)
    except (InvalidParameter, MalformedBody) as error:
        said = f"Line {number}: {error.detail[:1].lower()}{error.detail[1:]}"
        broken = type(error)(said, line=number, **error.extra)
    if strict:
        raise broken
    return NewItem(url="", problem=broken.problem())


def _meant(line: bytes, *, plain: bool) -> NewItem:
    if len(line) > MAX_LINE_BYTES:
        raise MalformedBody(f"It is longer than {MAX_LINE_BYTES} bytes.")
    if plain:
        try:
            return NewItem(url=line.decode())
        except UnicodeDecodeError:
            raise MalformedBody("It is not UTF-8 text.") from None
    if line[:1] == b"{":
        return parse(UrlInput, line).item()
    try:
        url = from_json(line, allow_inf_nan=False)
    except ValueError:
        raise MalformedBody("It is not valid JSON.") from None
    if not isinstance(url, str):
        raise InvalidParameter("It is no string and no object.")
    return NewItem(url=url)
