"""Rows to records and back: the only place that knows how a record is spelled in SQL."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from app.errors import Problem, Refusal
from app.model import (
    Blob,
    Claim,
    Counts,
    File,
    Item,
    ItemStatus,
    Job,
    JobStatus,
    NamedBlob,
    NewItem,
    Progress,
    Push,
    Step,
    Version,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(moment: datetime) -> int:
    """Give an aware time as milliseconds since the epoch."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_ms(milliseconds: int | None) -> datetime | None:
    """Give milliseconds since the epoch as an aware UTC time."""
    return None if milliseconds is None else EPOCH + timedelta(milliseconds=milliseconds)


def dump(value: Any) -> str:
    """Give a JSON text without white space. Raises `ValueError` for what JSON cannot say."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def load(text: str | None) -> Any:
    """Read a JSON column; NULL is an empty object.

    A `NaN` is null: what versions before 0.3 wrote down is sent out as JSON.
    """
    return json.loads(text, parse_constant=lambda _: None) if text else {}


def dump_problem(problem: Problem) -> str:
    """Give a problem as a JSON text."""
    return dump(asdict(problem))


def dump_refused(refused: tuple[Refusal, ...]) -> str | None:
    """Give refusals as a JSON array, none as NULL."""
    return dump([asdict(part) for part in refused]) if refused else None


def twin_key(item: NewItem) -> bytes:
    """Digest all that makes a URL's fetch what it is."""
    headers = sorted((name.lower(), value) for name, value in (item.headers or {}).items())
    asked = dump([item.url, headers, item.sha256, item.max_bytes])
    return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).digest()[:16]


def version(row: sqlite3.Row) -> Version:
    """Read a versions row."""
    stored = blob(row)
    assert stored is not None  # noqa: S101 - NOT NULL
    return Version(key=row["key"], blob=stored, facts=load(row["facts"]))


def counts(row: sqlite3.Row) -> Counts:
    """Read the item counts of a jobs row."""
    return Counts(
        queued=row["queued"],
        running=row["running"],
        succeeded=row["succeeded"],
        failed=row["failed"],
        canceled=row["canceled"],
    )


def shown_counts(row: sqlite3.Row) -> Counts:
    """Read them as they are told: what was claimed and waits for a worker is still queued."""
    kept = counts(row)
    waiting = row["waiting"]
    return replace(kept, queued=kept.queued + waiting, running=kept.running - waiting)


def job(row: sqlite3.Row) -> Job:
    """Read a jobs row with its `waiting`."""
    created_at = from_ms(row["created_ms"])
    assert created_at is not None  # noqa: S101 - NOT NULL
    return Job(
        id=row["id"],
        client=row["client"],
        status=JobStatus(row["status"]),
        seq=row["seq"],
        steps=steps(row["steps"]),
        join_at=row["join_at"],
        counts=shown_counts(row),
        tag=row["tag"],
        metadata=load(row["metadata"]),
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


def blob(row: sqlite3.Row) -> Blob | None:
    """Read the blob columns that items and files share."""
    if row["blob"] is None:
        return None
    return Blob(row["blob"], row["size_bytes"], row["media_type"], row["digest"])


def blob_columns(stored: Blob | None) -> dict[str, Any]:
    """Give the columns that `blob` reads."""
    if stored is None:
        return dict.fromkeys(("blob", "media_type", "size_bytes", "digest"))
    return {
        "blob": stored.key,
        "media_type": stored.media_type,
        "size_bytes": stored.size_bytes,
        "digest": stored.digest,
    }


def file(row: sqlite3.Row) -> File:
    """Read a files row joined with its job's `job_id` and `job_expires_ms`."""
    stored, created_at = blob(row), from_ms(row["created_ms"])
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


def item(row: sqlite3.Row, results: tuple[File, ...], pushed: Push | None) -> Item:
    """Read an items row joined with its job's `job_id`."""
    return Item(
        job_id=row["job_id"],
        index=row["idx"],
        status=ItemStatus.QUEUED if waits(row) else ItemStatus(row["status"]),
        seq=row["seq"],
        attempt=row["attempt"],
        name=row["name"],
        url=row["url"] or None,
        file_id=row["file_id"],
        blob=None if row["url"] else blob(row),
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


def waits(row: sqlite3.Row) -> bool:
    """Tell whether an item was claimed and waits for a worker."""
    return row["status"] == ItemStatus.RUNNING and row["started_ms"] is None


def progress(row: sqlite3.Row) -> Progress | None:
    """Read the progress columns of an items row."""
    if row["status"] != ItemStatus.RUNNING or row["progress_total"] is None:
        return None
    return Progress(row["progress_done"], row["progress_total"])


def claim(
    row: sqlite3.Row,
    job_row: sqlite3.Row,
    to_join: list[sqlite3.Row],
    twin: list[sqlite3.Row],
) -> Claim:
    """Read an items row that was just claimed, what its job says to do, and what it builds on."""
    chain, join_at = steps(job_row["steps"]), job_row["join_at"]
    stored = to_join if row["joins"] else twin or [row]
    return Claim(
        item_key=row["pk"],
        attempt=row["attempt"],
        job_id=job_row["id"],
        index=row["idx"],
        steps=chain[join_at:] if row["joins"] else chain[:join_at],
        name=row["name"],
        inputs=tuple(NamedBlob(found, r["name"]) for r in stored if (found := blob(r))),
        url=row["url"],
        headers=load(row["headers"]),
        sha256=row["sha256"],
        max_bytes=row["max_bytes"],
        problem=Problem(**json.loads(row["broken"])) if row["broken"] else None,
        twin=load(twin[0]["facts"]).get("fetch") if twin else None,
        submitted_at=from_ms(job_row["created_ms"]),
    )


def bare_claim(row: sqlite3.Row) -> Claim:
    """Name the attempt that a dead service held: enough to end it, not to run it."""
    return Claim(
        item_key=row["pk"],
        attempt=row["attempt"],
        job_id="",
        index=row["idx"],
        steps=(),
        name="",
        inputs=(),
        url=None,
        headers={},
    )
