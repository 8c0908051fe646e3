"""How jobs of the SQLite store end before their time, and how what is over goes from it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta

from app.errors import StorageError
from app.jobs import rows
from app.jobs.announcements import Announcements
from app.jobs.backlog import Backlog
from app.jobs.base import IDEMPOTENCY_KEY_AGE, VERSION_AGE
from app.jobs.changes import Changes
from app.jobs.connections import Connections
from app.jobs.database import run
from app.jobs.streams import DELETED, DROPPING, Streams, too_large
from app.jobs.writer import Tx
from app.model import JobStatus

PURGE_JOBS = 50
PURGE_ROWS = 1000


class Ending:
    """Cancels, deletes and expires: a small job in the caller's transaction, a large one in bites.

    Every method but `stop` runs inside a transaction.
    """

    def __init__(
        self,
        connections: Connections,
        changes: Changes,
        announcements: Announcements,
        streams: Streams,
        backlog: Backlog,
        *,
        now_ms: Callable[[], int],
        on_canceled: Callable[[Iterable[int]], None],
    ) -> None:
        """Lean on the store's other parts.

        `on_canceled` is called with the keys of items that were running and were canceled because
        another one failed.
        """
        self._connections = connections
        self._changes = changes
        self._announcements = announcements
        self._streams = streams
        self._backlog = backlog
        self._now_ms = now_ms
        self._on_canceled = on_canceled
        self._going_on: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Take no more bites."""
        for task in tuple(self._going_on):
            task.cancel()
        await asyncio.gather(*self._going_on, return_exceptions=True)

    # -- canceled ----------------------------------------------------------------------------

    def cancel(self, tx: Tx, job_id: str) -> list[int]:
        """See `JobStore.cancel`."""
        found = run(tx.db, "get_job", id=job_id)
        if not found:
            return []
        if not found[0]["queued"] + found[0]["running"]:
            return []
        return self._cancel_unfinished(tx, found[0], self._now_ms())

    def cancel_rest(self, tx: Tx, job: sqlite3.Row, now_ms: int) -> None:
        """Cancel what is unfinished of a job of which an item has failed."""
        running = self._cancel_unfinished(tx, job, now_ms)
        tx.after_commit(lambda: self._on_canceled(running))

    def _cancel_unfinished(self, tx: Tx, job: sqlite3.Row, now_ms: int) -> list[int]:
        unfinished = job["queued"] + job["running"]
        running = run(tx.db, "running_item_keys", job_pk=job["pk"])
        if too_large(unfinished):
            job = self._streams.cancel_released(tx, job, now_ms)
            self._go_on(tx, self._cancel_some)
        else:
            [job] = run(tx.db, "count_canceled", job_pk=job["pk"])
            run(tx.db, "cancel_items", job_pk=job["pk"], seq=job["seq"], now_ms=now_ms)
        self._changes.settle(tx, job, now_ms)
        ended = unfinished - job["queued"] - job["running"]
        self._backlog.ended(tx, job["client"], ended)
        return [row["pk"] for row in running]

    def _cancel_some(self, tx: Tx) -> bool:
        """Cancel some more of jobs that are too large for one transaction; True if any is left."""
        for before in self._streams.canceling(tx):
            job = self._streams.cancel_some(tx, before, self._now_ms())
            self._changes.settle(tx, job, self._now_ms())
            self._backlog.ended(tx, before["client"], before["queued"] - job["queued"])
            return True
        return False

    # -- deleted -----------------------------------------------------------------------------

    def delete(self, tx: Tx, job_id: str) -> list[int]:
        """See `JobStore.delete_job`."""
        found = run(tx.db, "get_job", id=job_id)
        if found and too_large(rows.counts(found[0]).total):
            running = self._hide(tx, found[0])
        else:
            running = self.cancel(tx, job_id)
            run(tx.db, "delete_job", id=job_id)
            self._announcements.job_dropped(tx, job_id, events=True)
        self._changes.announce(tx, job_id, over=True)
        return running

    def _hide(self, tx: Tx, job: sqlite3.Row) -> list[int]:
        """Take a job that is too large for one transaction from its client at once."""
        running = run(tx.db, "running_item_keys", job_pk=job["pk"])
        self._streams.hide(tx, job["pk"], DELETED)
        self._go_on(tx, self._streams.drop_some)
        self._backlog.ended(tx, job["client"], job["queued"] + job["running"])
        return [row["pk"] for row in running]

    # -- expired -----------------------------------------------------------------------------

    def purge(self, tx: Tx) -> bool:
        """See `JobStore.purge`."""
        now_ms = self._now_ms()
        due = run(tx.db, "due_jobs", now_ms=now_ms, limit=PURGE_JOBS)
        for row in due:
            if row["status"] == JobStatus.EXPIRED:
                self._drop(tx, row)
                continue
            if self._streams.empty_some(tx, row["pk"]):
                return True
            [job] = run(tx.db, "expire_job", job_pk=row["pk"], now_ms=now_ms)
            self._announcements.job_expired(tx, job)
            self._changes.announce(tx, row["id"])
        files = run(tx.db, "drop_due_files", now_ms=now_ms, limit=PURGE_ROWS)
        before_ms = now_ms - IDEMPOTENCY_KEY_AGE // timedelta(milliseconds=1)
        keys = run(tx.db, "drop_old_keys", before_ms=before_ms, limit=PURGE_ROWS)
        before_ms = now_ms - VERSION_AGE // timedelta(milliseconds=1)
        old = run(tx.db, "drop_old_versions", before_ms=before_ms, limit=PURGE_ROWS)
        more = self._streams.drop_some(tx) or self._cancel_some(tx)
        return more or len(due) == PURGE_JOBS or PURGE_ROWS in (len(files), len(keys), len(old))

    def _drop(self, tx: Tx, job: sqlite3.Row) -> None:
        """Remove an expired job's record."""
        if too_large(rows.counts(job).total):
            self._streams.hide(tx, job["pk"], DROPPING)
        else:
            run(tx.db, "drop_job", job_pk=job["pk"])
            self._announcements.job_dropped(tx, job["id"], events=False)

    # -- in bites ----------------------------------------------------------------------------

    def _go_on(self, tx: Tx, bite: Callable[[Tx], bool]) -> None:
        """Once this is committed, take bites until none is left; `purge` does so after a crash."""

        async def bites() -> None:
            with suppress(StorageError):
                while await self._connections.write(bite):
                    pass

        def start() -> None:
            task = asyncio.ensure_future(bites())
            self._going_on.add(task)
            task.add_done_callback(self._going_on.discard)

        tx.after_commit(start)
