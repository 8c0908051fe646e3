"""Events and pushes, written with the state that causes them: both are on disk, or neither."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from app.errors import Expired, NoKey, NotOneResult, Problem, ReceiverGone
from app.model.deliveries import DeliveryStatus
from app.model.jobs import JobStatus, new_id
from app.ops import object_keys
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


def item_ended(tx: Tx, job: Job, index: int, error: str | None) -> None:
    """Write an item's event; `error` is the code of what failed."""
    _of_item(tx, job, "item", index, error, {})


def push_ended(tx: Tx, job: Job, index: int, error: str | None, url: str | None = None) -> None:
    """Write the event of an item's push; `url` is that of an object in a bucket."""
    _of_item(tx, job, "push", index, error, {"url": url} if url else {})


def _of_item(
    tx: Tx, job: Job, kind: str, index: int, error: str | None, more: Mapping[str, Any]
) -> None:
    if job["webhook"] is not None:
        status = "failed" if error else "succeeded"
        data = {"job_id": job["id"], "index": index, "status": status, "error": error, **more}
        _event(tx, job, f"{kind}.{status}", data)


def result_ready(
    tx: Tx, job: Job, item_key: int, index: int, store: str, names: Sequence[str]
) -> None:
    """Write the pushes of an item's results.

    Args:
        tx: the transaction.
        job: the item's.
        item_key: of the item.
        index: of the item.
        store: that column of its row.
        names: of its results.
    """
    told = json.loads(store)
    place: dict[str, Any] = {
        "client": job["client"],
        "job_id": job["id"],
        "item_pk": item_key,
        "item_idx": index,
    }
    if told.get("remote"):
        _put_into_bucket(tx, job, told, place, names)
        return
    unfit = NotOneResult(
        f"One URL takes one result; this item has {len(names)}.", results=len(names)
    )
    problem = None if len(names) == 1 else unfit.problem()
    _insert_all(tx, [_row(tx, "push", told["url"], problem) | place])
    if problem:
        push_ended(tx, job, index, problem.code)


def _put_into_bucket(
    tx: Tx, job: Job, told: Mapping[str, Any], place: dict[str, Any], names: Sequence[str]
) -> None:
    """Write a push for each result: another record, as each is tried for itself."""
    written, urls = [], set[str]()
    for n, name in enumerate(names):
        url = object_keys.rendered(
            told["url"], job=job["id"], index=place["item_idx"], result=n, name=name
        )
        problem = _no_key(url, urls)
        urls.add(url)
        data = {"remote": told["remote"], "result": n}
        written.append(_row(tx, "push", url, problem) | place | {"data": rows.dump(data)})
        if problem:
            push_ended(tx, job, place["item_idx"], problem.code, url)
    _insert_all(tx, written)


def _no_key(url: str, urls: Collection[str]) -> Problem | None:
    """Say why a result cannot be put at an object's URL, beside those of the same item."""
    if url in urls:
        said = "Another result of the item has this key; give the template `{result}`."
        return NoKey(said).problem()
    try:
        object_keys.checked_key(url.split("/", 3)[-1])
    except ValueError as error:
        return NoKey(f"The result's key cannot be used: {error}.").problem()
    return None


def job_expired(tx: Tx, job: Job) -> None:
    """Give up the pushes of an expired job, and tell of its expiry."""
    late = Expired("The job expired before its result could be put there.").problem()
    tx.run("bury_pushes", job_id=job["id"], problem=rows.dump_problem(late), now_ms=tx.now())
    job_ended(tx, job, JobStatus.EXPIRED)


def insert(tx: Tx, *, url: str | None, problem: Problem | None = None, **values: Any) -> str:
    """Write an event's delivery, due now or with `problem` dead already; gives its id."""
    row = _row(tx, "webhook", url, problem) | values
    _insert_all(tx, [row])
    return str(row["id"])


def _insert_all(tx: Tx, written: Sequence[Mapping[str, Any]]) -> None:
    tx.many("insert_delivery", written)
    tx.tell(topics.DUE, "")


def _row(tx: Tx, kind: str, url: str | None, problem: Problem | None) -> dict[str, Any]:
    """Give the values of a delivery of which no more is known."""
    now_ms, (origin, lane) = tx.now(), lane_of(url)
    unset = dict.fromkeys(("client", "job_id", "item_pk", "item_idx", "event", "data", "secret"))
    return unset | {
        "id": new_id("msg"),
        "kind": kind,
        "asked": 0,
        "url": url,
        "origin": origin,
        "lane": lane,
        "status": str(DeliveryStatus.DEAD if problem else DeliveryStatus.PENDING),
        "problem": rows.dump_problem(problem) if problem else None,
        "now_ms": now_ms,
        "due_ms": None if problem else now_ms,
        "ended_ms": now_ms if problem else None,
    }


def lane_of(url: str | None) -> tuple[str, str]:
    """Give a URL's origin and lane (see `Route`); None is the operator's own endpoint."""
    if url is None:
        return CONFIGURED, CONFIGURED
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}".lower()
    # A bucket that asks for time asks for it with all its objects.
    return origin, origin + (parts.path if parts.scheme.startswith("http") else "")


def _event(tx: Tx, job: Job, event: str, data: dict[str, Any]) -> None:
    webhook = json.loads(job["webhook"])
    if event not in webhook["events"]:
        return
    gone = ReceiverGone("The endpoint answered 410 to an earlier event of this job.").problem()
    insert(
        tx,
        client=job["client"],
        job_id=job["id"],
        item_idx=data.get("index"),
        event=event,
        data=rows.dump(data | vars(rows.marks(job))),
        url=webhook["url"],
        secret=webhook["secret"],
        problem=gone if webhook.get("gone") else None,
    )
