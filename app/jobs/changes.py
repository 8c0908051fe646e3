"""What follows when a job of the SQLite store has changed: its status, and those who hear of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial

from app.jobs import rows
from app.jobs.announcements import Announcements
from app.jobs.database import run
from app.jobs.waiters import Waiters
from app.jobs.writer import Tx
from app.model import JOIN_LANE, JobStatus, job_status


class Changes:
    """Keeps a job's status true to its counts, and wakes who waits for it once that is durable."""

    def __init__(self, announcements: Announcements, on_queued: Callable[[], None]) -> None:
        """Take what tells of a job's end, and what to call when an item may be claimed."""
        self._announcements = announcements
        self._on_queued = on_queued
        self.waiting = Waiters()
        """For any change of a job."""
        self.awaiting_end = Waiters()
        """For a job to be over, or deleted."""

    def settle(self, tx: Tx, job: sqlite3.Row, now_ms: int) -> None:
        """Write what the job is now that its counts have changed, and tell its watchers."""
        only_the_join = job["join_at"] is not None and job["queued"] == 1 and not job["running"]
        if only_the_join and run(tx.db, "release_join", job_pk=job["pk"], lane=JOIN_LANE):
            tx.after_commit(self._on_queued)
        status = job_status(rows.counts(job), stops=bool(job["stops"]))
        if status is JobStatus.RUNNING and job["started_ms"] is None:
            status = JobStatus.QUEUED  # what was claimed of it waits for a worker
        if status != job["status"]:
            run(
                tx.db,
                "set_job_status",
                job_pk=job["pk"],
                status=status,
                finished_ms=now_ms if status.done else None,
                expires_ms=now_ms + job["retention_ms"] if status.done else None,
            )
            if status.done:
                self._announcements.job_ended(tx, job, status)
        self.announce(tx, job["id"], over=status.done)

    def announce(self, tx: Tx, job_id: str, *, over: bool = False) -> None:
        """Wake who waits for a change of the job; with `over`, who waits for its end too."""
        tx.after_commit(partial(self.waiting.wake, job_id))
        if over:
            tx.after_commit(partial(self.awaiting_end.wake, job_id))
