"""Jobs that a rule has locked: changed in memory, and written back once, with what follows.

What follows is the same whatever has changed: the job's next `seq`, its status from its counts, the
event of its end, its client's backlog, and the hint to those who wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from app.model.jobs import JobStatus, job_status
from app.records import backlog, events, rows, topics
from app.stores.base import Tx

Job = dict[str, Any]
"""A jobs row that may be changed until it is saved."""


def lock(tx: Tx, keys: Iterable[int]) -> dict[int, Job]:
    """Give jobs by key, in one order whoever asks; nobody else changes them before the commit.

    Their `seq` is the next one already: what changes with them carries it.
    """
    found = tx.run("lock_jobs", pks=tx.array(sorted(set(keys))))
    jobs = {row["pk"]: dict(zip(row.keys(), row, strict=True)) for row in found}  # type: ignore[call-overload]
    for job in jobs.values():
        job["seq"] += 1
        job["_unfinished"] = job["queued"] + job["running"]
    return jobs


def named(tx: Tx, job_id: str) -> list[Job]:
    """Give the job of this id locked, if it is there."""
    return list(lock(tx, [row["pk"] for row in tx.run("get_job", id=job_id)]).values())


def bite_later(
    tx: Tx, what: str, job_key: int, *, item_key: int | None = None, job_id: str | None = None
) -> None:
    """Have something done bit by bit: `cancel`, `drop`, `follow` or `release` (see `bites.py`).

    `item_key` is whom others follow; with `job_id`, what is dropped takes the job's events with it.
    """
    tx.run("insert_bite", what=what, job_pk=job_key, item_pk=item_key, id=job_id)
    tx.tell(topics.BITE, "")


def save(tx: Tx, jobs: Iterable[Job]) -> None:
    """Write jobs back, and do what follows."""
    saved, backlogs = list(jobs), Counter[str]()
    for job in saved:
        backlogs[job["client"]] += job["queued"] + job["running"] - job.pop("_unfinished")
        _settle(tx, job)
    tx.many("put_job", saved)
    backlog.count(tx, backlogs)


def _settle(tx: Tx, job: Job) -> None:
    unfinished = job["queued"] + job["running"]
    if job["join_at"] is not None and unfinished == job["queued"] == 1:
        tx.send(tx.run("release_join", job_pk=job["pk"]))
    status = job_status(rows.counts(job), stops=bool(job["stops"]))
    if status is JobStatus.RUNNING and job["started_ms"] is None:
        status = JobStatus.QUEUED
    if status != job["status"]:
        job["status"], now_ms = str(status), tx.now()
        job["finished_ms"] = now_ms if status.done else None
        job["expires_ms"] = now_ms + job["retention_ms"] if status.done else None
        if status.done:
            events.job_ended(tx, job, status)
            tx.tell(topics.ENDED, (job["id"], str(status)))
    tx.tell(topics.JOB, job["id"])
    if status.done:
        tx.tell(topics.OVER, job["id"])
