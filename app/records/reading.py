"""What is shown of jobs and items."""

from __future__ import annotations

from collections.abc import Iterable

from app.model.blobs import File
from app.model.deliveries import Pushed
from app.model.jobs import Item, ItemStatus, Job, JobStatus
from app.records import delivery_rows, rows
from app.records.pages import INPUT_ORDER, NEWEST_FIRST, read_page
from app.stores.base import Row, Tx


def get_job(tx: Tx, job_id: str) -> Job | None:
    """Give a job, or None."""
    found = tx.run("get_job", id=job_id)
    return rows.job(found[0]) if found else None


def list_jobs(
    tx: Tx,
    client: str,
    *,
    status: JobStatus | None = None,
    tag: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Job], str | None]:
    """Read a page of a client's jobs, newest first, and the cursor of the next page."""
    page, next_cursor = read_page(
        tx,
        "list_jobs",
        NEWEST_FIRST,
        cursor=cursor,
        limit=limit,
        client=client,
        status=status,
        tag=tag,
    )
    return [rows.job(row) for row in page], next_cursor


def list_files(
    tx: Tx, client: str, *, cursor: str | None = None, limit: int = 50
) -> tuple[list[File], str | None]:
    """Read a page of a client's files that belong to no job, newest first, and the next cursor.

    Without their values, where they are small.
    """
    page, next_cursor = read_page(
        tx, "list_files", NEWEST_FIRST, cursor=cursor, limit=limit, client=client
    )
    return [rows.file(row) for row in page], next_cursor


def list_items(
    tx: Tx,
    job_id: str,
    *,
    status: ItemStatus | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> tuple[list[Item], str | None]:
    """Read a page of a job's items in input order, and the cursor of the next page."""
    page, next_cursor = read_page(
        tx, "list_items", INPUT_ORDER, cursor=cursor, limit=limit, job_id=job_id, status=status
    )
    return _items(tx, page), next_cursor


def items_since(tx: Tx, job_id: str, after: tuple[int, int], limit: int = 500) -> list[Item]:
    """Read the items that became final after the one with this (seq, index), in that order."""
    seq, idx = after
    return _items(tx, tx.run("items_since", job_id=job_id, seq=seq, idx=idx, limit=limit))


def _items(tx: Tx, found: list[Row]) -> list[Item]:
    results, pushes = _results(tx, found), _pushes(tx, found)
    return [
        rows.item(row, tuple(results.get(row["pk"], ())), pushes.get(row["pk"])) for row in found
    ]


def _results(tx: Tx, items: list[Row]) -> dict[int, list[File]]:
    results: dict[int, list[File]] = {}
    keys = [row["pk"] for row in items if row["status"] == ItemStatus.SUCCEEDED]
    for row in tx.run("results_of", item_pks=tx.array(keys)) if keys else ():
        results.setdefault(row["item_pk"], []).append(rows.file(row))
    return results


def _pushes(tx: Tx, items: list[Row]) -> dict[int, Pushed]:
    keys = [row["pk"] for row in items if row["store"] is not None]
    if not keys:
        return {}
    found = tx.run("pushes_of", item_pks=tx.array(keys))
    pushes: dict[int, list[Row]] = {}
    for row in found:
        pushes.setdefault(row["item_pk"], []).append(row)
    return {key: Pushed(tuple(map(delivery_rows.push, of))) for key, of in pushes.items()}


def seqs(tx: Tx, job_ids: Iterable[str]) -> dict[str, tuple[int, bool]]:
    """Give the `seq` of those of some jobs that there are, and whether they are over."""
    found = tx.run("seqs", ids=tx.array(job_ids))
    return {row["id"]: (row["seq"], bool(row["over"])) for row in found}
