"""What is read of jobs and items in the SQLite store, on whichever connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from app.jobs import delivery_rows, rows
from app.jobs.database import run
from app.jobs.pages import INPUT_ORDER, NEWEST_FIRST, read_page
from app.model import File, Item, ItemStatus, Job, JobStatus, Push


def list_jobs(
    db: sqlite3.Connection,
    client: str,
    *,
    status: JobStatus | None,
    tag: str | None,
    cursor: str | None,
    limit: int,
) -> tuple[list[Job], str | None]:
    """Read a page of a client's jobs, newest first, and the cursor of the next page."""
    page, next_cursor = read_page(
        db,
        "list_jobs",
        NEWEST_FIRST,
        cursor=cursor,
        limit=limit,
        client=client,
        status=status,
        tag=tag,
    )
    return [rows.job(row) for row in page], next_cursor


def list_items(
    db: sqlite3.Connection,
    job_id: str,
    *,
    status: ItemStatus | None,
    cursor: str | None,
    limit: int,
) -> tuple[list[Item], str | None]:
    """Read a page of a job's items in input order, and the cursor of the next page."""
    page, next_cursor = read_page(
        db, "list_items", INPUT_ORDER, cursor=cursor, limit=limit, job_id=job_id, status=status
    )
    return _items(db, page), next_cursor


def items_since(
    db: sqlite3.Connection, job_id: str, after: tuple[int, int], limit: int
) -> list[Item]:
    """Read the items that became final after the one with this (seq, index), in that order."""
    seq, idx = after
    return _items(db, run(db, "items_since", job_id=job_id, seq=seq, idx=idx, limit=limit))


def _items(db: sqlite3.Connection, found: list[sqlite3.Row]) -> list[Item]:
    results, pushes = _results(db, found), _pushes(db, found)
    return [
        rows.item(row, tuple(results.get(row["pk"], ())), pushes.get(row["pk"])) for row in found
    ]


def _results(db: sqlite3.Connection, items: list[sqlite3.Row]) -> dict[int, list[File]]:
    results: dict[int, list[File]] = {}
    keys = [row["pk"] for row in items if row["status"] == ItemStatus.SUCCEEDED]
    for row in run(db, "results_of", item_pks=rows.dump(keys)):
        results.setdefault(row["item_pk"], []).append(rows.file(row))
    return results


def _pushes(db: sqlite3.Connection, items: list[sqlite3.Row]) -> dict[int, Push]:
    keys = [row["pk"] for row in items if row["store"] is not None]
    if not keys:
        return {}
    found = run(db, "pushes_of", item_pks=rows.dump(keys))
    return {row["item_pk"]: delivery_rows.push(row) for row in found}


def unreferenced(db: sqlite3.Connection, keys: Sequence[str]) -> list[str]:
    """Give those blob keys that no record points at."""
    return [key for key in keys if not run(db, "is_referenced", blob=key)[0][0]]
