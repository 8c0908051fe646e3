"""Rows to records and back: the only place that knows how a record is spelled in SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from app.errors import Problem, Refusal
from app.model.blobs import Blob, File, NamedBlob
from app.model.chunks import Claim
from app.model.deliveries import Pushed
from app.model.jobs import (
    Counts,
    Item,
    ItemStatus,
    Job,
    JobStatus,
    Progress,
    Step,
    Version,
)
from app.model.marks import Marks
from app.stores.base import Row

FETCH = "fetch"
"""The step at the front that says how URLs are fetched."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXTS = {name for name, said in Marks.model_fields.items() if said.annotation == str | None}
_decode = json.JSONDecoder(parse_constant=lambda _: None).decode
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def to_ms(moment: datetime) -> int:
    """Give an aware time as milliseconds since the epoch."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_ms(milliseconds: int | None) -> datetime | None:
    """Give milliseconds since the epoch as an aware UTC time."""
    return None if milliseconds is None else EPOCH + timedelta(milliseconds=milliseconds)


def dump(value: Any) -> str:
    """Give a JSON text without white space. Raises `ValueError` for what JSON cannot say."""
    return _encode(value)


def load(text: str | None) -> Any:
    """Read a JSON column; NULL is an empty object.

    A `NaN` is null: what versions before 0.3 wrote down is sent out as JSON.
    """
    return _decode(text) if text else {}


def dump_problem(problem: Problem) -> str:
    """Give a problem as a JSON text."""
    return dump(asdict(problem))


def dump_refused(refused: tuple[Refusal, ...]) -> str | None:
    """Give refusals as a JSON array, none as NULL."""
    return dump([asdict(part) for part in refused]) if refused else None


def version(row: Row) -> Version:
    """Read a versions row."""
    stored = valued(row)
    assert stored is not None  # noqa: S101 - NOT NULL
    return Version(key=row["key"], blob=stored, facts=load(row["facts"]))


def counts(row: Row) -> Counts:
    """Read the item counts of a jobs row."""
    return Counts(
        queued=row["queued"],
        running=row["running"],
        succeeded=row["succeeded"],
        failed=row["failed"],
        canceled=row["canceled"],
    )


def dump_marks(given: Marks) -> dict[str, str | None]:
    """Give the columns of what a client hangs on a job."""
    return {name: value if name in _TEXTS else dump(value) for name, value in vars(given).items()}


def marks(row: Row) -> Marks:
    """Read them of a jobs row."""
    found = {name: row[name] if name in _TEXTS else load(row[name]) for name in Marks.model_fields}
    return Marks.model_construct(**found)


def job(row: Row) -> Job:
    """Read a jobs row."""
    created_at = from_ms(row["created_ms"])
    assert created_at is not None  # noqa: S101 - NOT NULL
    return Job(
        id=row["id"],
        client=row["client"],
        status=JobStatus(row["status"]),
        seq=row["seq"],
        steps=steps(row["steps"]),
        join_at=row["join_at"],
        counts=counts(row),
        marks=marks(row),
        created_at=created_at,
        started_at=from_ms(row["started_ms"]),
        finished_at=from_ms(row["finished_ms"]),
        expires_at=from_ms(row["expires_ms"]),
    )


def dump_steps(chain: Sequence[Step]) -> str:
    """Give a steps column."""
    return dump([{"op": step.op, "params": step.params} for step in chain])


def steps(text: str) -> tuple[Step, ...]:
    """Read a steps column."""
    return tuple(Step(step["op"], step["params"]) for step in json.loads(text))


def blob(row: Row) -> Blob | None:
    """Read the blob columns that items and files share."""
    if row["blob"] is None:
        return None
    return Blob(row["blob"], row["size_bytes"], row["media_type"], row["digest"])


def valued(row: Row) -> Blob | None:
    """Read them of a row that has the bytes themselves, if they are few, as `value`."""
    if row["blob"] is None:
        return None
    return Blob(row["blob"], row["size_bytes"], row["media_type"], row["digest"], row["value"])


def file(row: Row) -> File:
    """Read a files row with its job's `job_id` and `job_expires_ms`, and its `value`."""
    stored, created_at = valued(row), from_ms(row["created_ms"])
    assert stored is not None  # noqa: S101 - NOT NULL
    assert created_at is not None  # noqa: S101 - NOT NULL
    own = row["expires_ms"]
    return File(
        id=row["id"],
        client=row["client"],
        blob=stored,
        name=row["name"],
        job_id=row["job_id"],
        created_at=created_at,
        expires_at=from_ms(own if own is not None else row["job_expires_ms"]),
    )


def item(row: Row, results: tuple[File, ...], pushed: Pushed | None) -> Item:
    """Read an items row joined with its job's `job_id`."""
    return Item(
        job_id=row["job_id"],
        index=row["idx"],
        status=ItemStatus(row["status"]),
        seq=row["seq"],
        attempt=row["attempt"],
        name=row["name"],
        url=row["url"] or None,
        file_id=row["file_id"],
        blob=blob(row),
        joins=bool(row["joins"]),
        progress=progress(row),
        facts=load(row["facts"]),
        refused=tuple(Refusal(**part) for part in json.loads(row["refused"] or "[]")),
        problem=Problem(**json.loads(row["problem"])) if row["problem"] else None,
        results=results,
        started_at=from_ms(row["started_ms"]),
        finished_at=from_ms(row["finished_ms"]),
        pushed=pushed,
    )


def progress(row: Row) -> Progress | None:
    """Read the progress columns of an items row."""
    if row["status"] != ItemStatus.RUNNING or row["progress_total"] is None:
        return None
    return Progress(row["progress_done"], row["progress_total"])


class Recipe(NamedTuple):
    """What a job says to do with its items, read once for all of them."""

    job_id: str
    fetch: dict[str, Any] | None
    """How its URLs are fetched."""
    before: tuple[Step, ...]
    """What each item goes through."""
    joined: tuple[Step, ...]
    """What the one goes through that joins the others."""
    submitted_at: datetime | None
    client: str


def worked(chain: Sequence[Step]) -> tuple[Step, ...]:
    """Give those of some steps that do something with what there is."""
    return tuple(step for step in chain if step.op != FETCH)


def recipe(job: Row) -> Recipe:
    """Read what a job says to do."""
    chain, at = steps(job["steps"]), job["join_at"]
    fetch = chain[0].params if chain and chain[0].op == FETCH else None
    before = worked(chain[:at])
    joined = chain[at:] if at is not None else ()
    return Recipe(job["id"], fetch, before, joined, from_ms(job["created_ms"]), job["client"])


def claim(item: Row, fence: tuple[int, int], told: Recipe, to_join: Sequence[Row] = ()) -> Claim:
    """Read an item that was taken with a chunk, and what it builds on.

    `fence` is the chunk's key and delivery.
    """
    stored = to_join if item["joins"] else (item,)
    return Claim(
        item_key=item["pk"],
        job_key=item["job_pk"],
        chunk_key=fence[0],
        delivery=fence[1],
        attempt=item["attempt"] + 1,
        job_id=told.job_id,
        index=item["idx"],
        steps=told.joined if item["joins"] else told.before,
        name=item["name"],
        inputs=tuple(NamedBlob(found, r["name"]) for r in stored if (found := valued(r))),
        url=item["url"],
        headers=load(item["headers"]),
        fetch=None if item["url"] is None else told.fetch,
        sha256=item["sha256"],
        max_bytes=item["max_bytes"],
        problem=Problem(**json.loads(item["broken"])) if item["broken"] else None,
        submitted_at=told.submitted_at,
        client=told.client,
    )


def bare_claim(item: Row) -> Claim:
    """Name an attempt that a dead node held: enough to end it, not to run it."""
    return Claim(
        item_key=item["pk"],
        job_key=item["job_pk"],
        chunk_key=0,
        delivery=0,
        attempt=item["attempt"],
        job_id="",
        index=item["idx"],
        steps=(),
        name="",
        inputs=(),
        url=None,
        headers={},
    )
