"""Batches of URLs in the SQLite store: which of them are in the queue, and what follows an end.

All of it runs inside the store's transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from app.errors import Conflict, Expired
from app.jobs import rows
from app.jobs.database import run
from app.jobs.writer import Tx
from app.model import FETCH_LANE, Done, Failed, ItemStatus, JobStatus, NewItem, NewJob, Outcome

PACED = "paced"
"""The lane of a URL whose turn has not come: nobody claims from it."""
TWIN = "twin"
"""The lane of a URL that another item of its job is fetching."""


class Batches:
    """What the store does for jobs with URLs beyond queueing their items."""

    def __init__(self, on_queued: Callable[[], None]) -> None:
        """Take what to call when an item may be claimed."""
        self._on_queued = on_queued

    def columns(self, tx: Tx, new: NewJob, job_pk: int, item: NewItem, lane: str) -> dict[str, Any]:
        """Give the columns of a new item that this module looks after, its lane among them."""
        told: dict[str, Any] = {
            "lane": lane,
            "sha256": item.sha256,
            "max_bytes": item.max_bytes,
            "twin_key": None,
            "twin_of": None,
        }
        if item.url is None:
            return told
        if new.pace is not None:
            told["lane"] = PACED
        if new.dedupe:
            told["twin_key"] = rows.twin_key(item)
            for first in run(tx.db, "find_twin", job_pk=job_pk, twin_key=told["twin_key"]):
                told |= {"twin_of": first["pk"], "lane": TWIN}
        return told

    def release(self, tx: Tx, job_pk: int, *, pace: int | None, released: int) -> None:
        """Let as many URLs into the queue as the job's pace leaves room for.

        `released` is how many are there or running already.
        """
        if pace is None:
            return
        lane, room = FETCH_LANE, pace - released
        more = run(tx.db, "release_paced", job_pk=job_pk, lane=lane, limit=max(room, 0))
        run(tx.db, "count_released", job_pk=job_pk, released=released + len(more))
        if more:
            tx.after_commit(self._on_queued)

    def ended(
        self, tx: Tx, pk: int, item: sqlite3.Row, job: sqlite3.Row, outcome: Outcome, now_ms: int
    ) -> tuple[sqlite3.Row, list[int]]:
        """Do what follows the end of an item.

        Returns the job as it is now, and the positions of the items that have failed with this one.
        """
        followers: list[int] = []
        if item["has_twins"] and isinstance(outcome, Failed):
            failed = run(
                tx.db,
                "fail_twins",
                pk=pk,
                facts=rows.dump(outcome.facts),
                problem=rows.dump_problem(outcome.problem),
                seq=job["seq"],
                now_ms=now_ms,
            )
            followers = sorted(row["idx"] for row in failed)
            if followers:
                [job] = run(tx.db, "count_failed", job_pk=job["pk"], n=len(followers))
        elif item["has_twins"] and isinstance(outcome, Done):
            run(tx.db, "keep_fetched", pk=pk, **rows.blob_columns(outcome.fetched))
            run(tx.db, "free_twins", pk=pk, lane=_lane(job))
            tx.after_commit(self._on_queued)
        if item["fetches"]:
            pace = 0 if job["canceling"] else job["pace"]
            self.release(tx, job["pk"], pace=pace, released=job["released"] - 1)
        return job, followers

    def retry(self, tx: Tx, job: sqlite3.Row) -> tuple[sqlite3.Row, int]:
        """Put a job's failed items back into the queue, and behind them what joins the items.

        Returns the job as it is now, and how many items that were over no longer are.

        Raises:
            Expired: its inputs are gone.
            Conflict: it is not over, or nothing of it has failed.
        """
        status, job_pk = JobStatus(job["status"]), job["pk"]
        if status is JobStatus.EXPIRED:
            raise Expired("Retention has removed the inputs of this job; submit it again.")
        if not status.done:
            raise Conflict(f"The job is {status}: only what is over can be retried.")
        if not job["failed"]:
            raise Conflict(f"Nothing of this job has failed: it is {status}.")
        # In a job that stops at the first failure, the others were canceled for its sake.
        stopped = bool(job["stops"]) and status is JobStatus.FAILED
        back = {"failed": job["failed"], "canceled": job["canceled"] * stopped, "succeeded": 0}
        for join in run(tx.db, "get_join", job_pk=job_pk):
            if join["status"] not in (ItemStatus.FAILED, *[ItemStatus.CANCELED] * stopped):
                back[join["status"]] += 1
            run(tx.db, "requeue_join", pk=join["pk"])
            run(tx.db, "drop_results", pk=join["pk"])
            run(tx.db, "drop_item_pushes", item_pk=join["pk"])
        run(tx.db, "requeue_failed", job_pk=job_pk, lane=_lane(job), canceled=stopped)
        [job] = run(tx.db, "count_requeued", job_pk=job_pk, **back)
        self.release(tx, job_pk, pace=job["pace"], released=0)
        return job, sum(back.values())


def _lane(job: sqlite3.Row) -> str:
    return FETCH_LANE if job["pace"] is None else PACED
