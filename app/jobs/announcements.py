"""What the SQLite job store writes down to be told and put elsewhere, in its own transactions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from app.errors import Expired, NotOneResult, Problem, ReceiverGone
from app.jobs import delivery_rows, rows
from app.jobs.database import run
from app.jobs.writer import Tx
from app.model import (
    Claim,
    DeliveryStatus,
    Done,
    JobStatus,
    Outcome,
    PutTarget,
    Webhook,
    new_id,
)

CONFIGURED = "configured"
"""The lane of the endpoint that the operator configured."""


class Announcements:
    """Writes events and pushes with the state that causes them: both are on disk, or neither."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        """Take the clock: milliseconds since the epoch."""
        self._now_ms = now_ms
        self.on_due: Callable[[], None] = lambda: None
        """Called when something that is due at once is on disk."""

    def set_webhook(self, tx: Tx, job_pk: int, webhook: Webhook | None) -> None:
        """Keep who is told of a new job's events."""
        if webhook is not None:
            kept = delivery_rows.dump_webhook(webhook)
            run(tx.db, "set_webhook", job_pk=job_pk, webhook=kept)

    def set_store(self, tx: Tx, item_pk: int, target: PutTarget | None) -> None:
        """Keep where a new item's result goes."""
        if target is not None:
            run(tx.db, "set_store", item_pk=item_pk, store=delivery_rows.dump_target(target))

    def job_ended(self, tx: Tx, job: sqlite3.Row, status: JobStatus) -> None:
        """Write the event of a job's end or expiry; `job` holds the counts as they now are."""
        counts = rows.counts(job)
        data = {
            "job_id": job["id"],
            "status": status,
            "counts": {
                "total": counts.total,
                "succeeded": counts.succeeded,
                "failed": counts.failed,
                "canceled": counts.canceled,
            },
        }
        self._event(tx, job, f"job.{status}", data)

    def item_ended(
        self, tx: Tx, job: sqlite3.Row, claim: Claim, outcome: Outcome, store: str | None
    ) -> None:
        """Write an item's event, and the push of its result; `store` is that column of its row."""
        error = None if isinstance(outcome, Done) else outcome.problem.code
        self._item_event(tx, job, claim.index, error)
        if store is not None and isinstance(outcome, Done):
            self._push(tx, job, claim, json.loads(store)["url"], len(outcome.results))

    def items_failed(
        self, tx: Tx, job: sqlite3.Row, indexes: Iterable[int], problem: Problem
    ) -> None:
        """Write the events of items that never ran: what they waited for has failed."""
        for index in indexes:
            self._item_event(tx, job, index, problem.code)

    def _item_event(self, tx: Tx, job: sqlite3.Row, index: int, error: str | None) -> None:
        status = "failed" if error else "succeeded"
        data = {"job_id": job["id"], "index": index, "status": status, "error": error}
        self._event(tx, job, f"item.{status}", data)

    def job_expired(self, tx: Tx, job: sqlite3.Row) -> None:
        """Give up the pushes of an expired job, and tell of its expiry."""
        late = Expired("The job expired before its result could be put there.").problem()
        now_ms = self._now_ms()
        values = {"job_id": job["id"], "problem": rows.dump_problem(late), "now_ms": now_ms}
        run(tx.db, "bury_pushes", **values)
        self.job_ended(tx, job, JobStatus.EXPIRED)

    def job_dropped(self, tx: Tx, job_id: str, *, events: bool) -> None:
        """Remove a job's pushes, and on demand its events, with its record."""
        run(tx.db, "drop_job_deliveries" if events else "drop_job_pushes", job_id=job_id)

    def _event(self, tx: Tx, job: sqlite3.Row, event: str, data: dict[str, Any]) -> None:
        if job["webhook"] is None:
            return
        webhook = json.loads(job["webhook"])
        if event not in webhook["events"]:
            return
        gone = ReceiverGone("The endpoint answered 410 to an earlier event of this job.").problem()
        self.insert(
            tx,
            kind="webhook",
            client=job["client"],
            job_id=job["id"],
            item_idx=data.get("index"),
            event=event,
            data=rows.dump({**data, "tag": job["tag"], "metadata": rows.load(job["metadata"])}),
            url=webhook["url"],
            secret=webhook["secret"],
            problem=gone if webhook.get("gone") else None,
        )

    def _push(self, tx: Tx, job: sqlite3.Row, claim: Claim, url: str, results: int) -> None:
        unfit = NotOneResult(f"One URL takes one result; this item has {results}.", results=results)
        self.insert(
            tx,
            kind="push",
            client=job["client"],
            job_id=job["id"],
            item_pk=claim.item_key,
            item_idx=claim.index,
            url=url,
            problem=None if results == 1 else unfit.problem(),
        )
        if results != 1:
            self.pushed(tx, job, claim.index, unfit.code)

    def pushed(self, tx: Tx, job: sqlite3.Row, index: int, error: str | None) -> None:
        """Write the event of how a push ended; `error` is the code of why it is dead."""
        status = "failed" if error else "succeeded"
        data = {"job_id": job["id"], "index": index, "status": status, "error": error}
        self._event(tx, job, f"push.{status}", data)

    def insert(
        self, tx: Tx, *, url: str | None, problem: Problem | None = None, **values: Any
    ) -> str:
        """Write a delivery that is due now; or, with `problem`, one that is dead already."""
        now_ms = self._now_ms()
        origin, lane = lane_of(url)
        delivery_id = new_id("msg")
        unset = dict.fromkeys(("job_id", "item_pk", "item_idx", "event", "data", "secret"))
        run(
            tx.db,
            "insert_delivery",
            **unset | {"asked": 0} | values,
            id=delivery_id,
            url=url,
            origin=origin,
            lane=lane,
            status=DeliveryStatus.DEAD if problem else DeliveryStatus.PENDING,
            problem=rows.dump_problem(problem) if problem else None,
            now_ms=now_ms,
            due_ms=None if problem else now_ms,
            ended_ms=now_ms if problem else None,
        )
        tx.after_commit(self.on_due)
        return delivery_id


def lane_of(url: str | None) -> tuple[str, str]:
    """Give a URL's origin and lane (see `Route`); None is the operator's own endpoint."""
    if url is None:
        return CONFIGURED, CONFIGURED
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}".lower()
    return origin, origin + parts.path
