"""Records of files in the SQLite store: inputs, results, and files that belong to no job."""

from __future__ import annotations

from app.jobs import rows
from app.jobs.database import run
from app.jobs.writer import Tx
from app.model import File, NamedBlob, new_id


def insert(
    tx: Tx,
    client: str,
    source: NamedBlob,
    now_ms: int,
    *,
    job_pk: int | None = None,
    item_pk: int | None = None,
    position: int | None = None,
    expires_ms: int | None = None,
    file_id: str | None = None,
) -> str:
    """Record a stored file; gives its id.

    With `job_pk` it is a job's input; with `item_pk` and `position` too, one result of that item.
    """
    file_id = file_id or new_id("file")
    run(
        tx.db,
        "insert_file",
        id=file_id,
        client=client,
        name=source.name,
        **rows.blob_columns(source.blob),
        job_pk=job_pk,
        item_pk=item_pk,
        position=position,
        now_ms=now_ms,
        expires_ms=expires_ms,
    )
    return file_id


def add(tx: Tx, client: str, source: NamedBlob, retention_s: float, now_ms: int) -> File:
    """Record a file that belongs to no job."""
    expires_ms = now_ms + int(retention_s * 1000)
    file_id = insert(tx, client, source, now_ms, expires_ms=expires_ms)
    return rows.file(run(tx.db, "get_file", id=file_id)[0])


def extend(tx: Tx, file: File, retention_s: float, now_ms: int) -> None:
    """Renew the retention of a file, or of the job it belongs to, from now."""
    if file.job_id is not None:
        run(tx.db, "extend_job", job_id=file.job_id, now_ms=now_ms)
    else:
        expires_ms = now_ms + int(retention_s * 1000)
        run(tx.db, "extend_file", id=file.id, expires_ms=expires_ms)
