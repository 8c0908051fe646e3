"""Events and pushes, written with the state that causes them: both are on disk, or neither."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from app.errors import Expired, NotOneResult, Problem, ReceiverGone
from app.model.deliveries import DeliveryStatus
from app.model.jobs import JobStatus, new_id
from app.records import rows, topics
from app.stores.base import Tx

CONFIGURED = "configured"
"""The lane of the endpoint that the operator configured."""

Job = Mapping[str, Any]
"""A jobs row."""


def job_ended(tx: Tx, job: Job, status: JobStatus) -> None:
    """Write the event of a job's end or expiry; `job` holds the counts as they now are."""
    if job["webhook"] is None:
        return
    counts = rows.counts(job)
    told = {
        "total": counts.total,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "canceled": counts.canceled,
    }
    _event(tx, job, f"job.{status}", {"job_id": job["id"], "status": status, "counts": told})


def item_ended(tx: Tx, job: Job, index: int, error: str | None, kind: str = "item") -> None:
    """Write an item's event, or with `kind` its push's; `error` is the code of what failed."""
    if job["webhook"] is not None:
        status = "failed" if error else "succeeded"
        data = {"job_id": job["id"], "index": index, "status": status, "error": error}
        _event(tx, job, f"{kind}.{status}", data)


def result_ready(tx: Tx, job: Job, item_key: int, index: int, store: str, results: int) -> None:
    """Write the push of an item's result; `store` is that column of its row."""
    unfit = NotOneResult(f"One URL takes one result; this item has {results}.", results=results)
    insert(
        tx,
        kind="push",
        client=job["client"],
        job_id=job["id"],
        item_pk=item_key,
        item_idx=index,
        url=json.loads(store)["url"],
        problem=None if results == 1 else unfit.problem(),
    )
    if results != 1:
        item_ended(tx, job, index, unfit.code, kind="push")


def job_expired(tx: Tx, job: Job) -> None:
    """Give up the pushes of an expired job, and tell of its expiry."""
    late = Expired("The job expired before its result could be put there.").problem()
    tx.run("bury_pushes", job_id=job["id"], problem=rows.dump_problem(late), now_ms=tx.now())
    job_ended(tx, job, JobStatus.EXPIRED)


def insert(tx: Tx, *, url: str | None, problem: Problem | None = None, **values: Any) -> str:
    """Write a delivery, due now or with `problem` dead already; gives its id."""
    now_ms = tx.now()
    origin, lane = lane_of(url)
    delivery_id = new_id("msg")
    unset = dict.fromkeys(("job_id", "item_pk", "item_idx", "event", "data", "secret"))
    tx.run(
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
    tx.tell(topics.DUE, "")
    return delivery_id


def lane_of(url: str | None) -> tuple[str, str]:
    """Give a URL's origin and lane (see `Route`); None is the operator's own endpoint."""
    if url is None:
        return CONFIGURED, CONFIGURED
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}".lower()
    return origin, origin + parts.path


def _event(tx: Tx, job: Job, event: str, data: dict[str, Any]) -> None:
    webhook = json.loads(job["webhook"])
    if event not in webhook["events"]:
        return
    gone = ReceiverGone("The endpoint answered 410 to an earlier event of this job.").problem()
    insert(
        tx,
        kind="webhook",
        client=job["client"],
        job_id=job["id"],
        item_idx=data.get("index"),
        event=event,
        data=rows.dump(data | vars(rows.marks(job))),
        url=webhook["url"],
        secret=webhook["secret"],
        problem=gone if webhook.get("gone") else None,
    )
