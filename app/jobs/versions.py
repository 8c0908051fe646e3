"""Which version of a URL a client fetched last, as the SQLite store keeps it."""

from __future__ import annotations

import sqlite3

from app.jobs import rows
from app.jobs.database import run
from app.jobs.writer import Tx
from app.model import Version


def remember(tx: Tx, job_id: str, version: Version, now_ms: int) -> None:
    """Note, for the job's client, what a URL had when it was fetched."""
    run(
        tx.db,
        "put_version",
        job_id=job_id,
        key=version.key,
        **rows.blob_columns(version.blob),
        facts=rows.dump(version.facts),
        now_ms=now_ms,
    )


def recall(db: sqlite3.Connection, job_id: str, key: bytes) -> Version | None:
    """Give what was last noted for the job's client under a key."""
    found = run(db, "get_version", job_id=job_id, key=key)
    return rows.version(found[0]) if found else None
