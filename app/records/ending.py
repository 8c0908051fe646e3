"""How jobs end before their time, and how what is over goes from the records.

A small job goes in one transaction, a large one in bites.
"""

from __future__ import annotations

from datetime import timedelta

from app.errors import Conflict, Expired
from app.model.jobs import ItemStatus, Job, JobStatus
from app.records import bites, cutting, events, held, rows, tally, topics
from app.stores.base import Row, Tx

IDEMPOTENCY_KEY_AGE = timedelta(hours=24)
"""How long an Idempotency-Key brings back its job."""
VERSION_AGE = timedelta(days=30)
"""How long it is known which version of a URL a client fetched last."""
PURGE_JOBS = 50
PURGE_ROWS = 1000


# -- canceled ------------------------------------------------------------------------------------


def cancel(tx: Tx, job_id: str) -> None:
    """Make every unfinished item of a job canceled.

    What runs or could be taken is canceled when this returns. Of a job with very many items the
    others follow, and the job is done when they are.
    """
    for job in held.named(tx, job_id):
        if job["queued"] + job["running"]:
            cancel_rest(tx, job)
            held.save(tx, [job])


def cancel_rest(tx: Tx, job: held.Job) -> None:
    """Cancel what is unfinished of a locked job, all of it or as a beginning."""
    queued = tx.run("drop_job_chunks", job_pk=job["pk"])
    tx.run("drop_job_bites", job_pk=job["pk"])
    if bites.too_large(job["queued"] + job["running"]):
        for chunk in queued:
            bites.cancel_range(tx, job, chunk["lo"], chunk["hi"])
        # From the start; and of what is paced, no more is queued.
        job["cut"], job["released"] = 0, job["pace"] or 0
        held.bite_later(tx, "cancel", job["pk"])
    else:
        bites.cancel_range(tx, job, 0, rows.counts(job).total)
    tx.tell(topics.GONE, job["pk"])


# -- run again -----------------------------------------------------------------------------------


def retry(tx: Tx, job_id: str, most: int) -> Job | None:
    """Put a job's failed items back into the queue; gives the job as it is then.

    An item that joins the others runs again behind them, and its results are removed. In a job
    that `stops`, what was canceled because an item failed goes back as well. None if there is no
    such job.

    Raises:
        Conflict: it is not over, or nothing of it has failed.
        Expired: its inputs are gone.
        QueueFull: more unfinished items than `most`.
    """
    for job in held.named(tx, job_id):
        _check_retry(job)
        job["turn"] = bites.turn_again(tx, most, job)
        # In a job that stops at the first failure, the others were canceled for its sake.
        stopped = bool(job["stops"]) and job["status"] == JobStatus.FAILED
        back = {"failed": job["failed"], "canceled": job["canceled"] * stopped, "succeeded": 0}
        join = _requeue_join(tx, job, back, stopped=stopped)
        # A node may have a chunk yet of which all is over.
        tx.run("drop_job_chunks", job_pk=job["pk"])
        tx.run("requeue_items", job_pk=job["pk"], stopped=int(stopped))
        for status, n in back.items():
            job[status] -= n
            job["queued"] += n
        job["cut"] = job["released"] = 0
        _queue_again(tx, job)
        if join is not None:
            part = cutting.Cut(join["idx"], join["idx"], 1, job["lane"], fetches=False)
            cutting.put(tx, cutting.parts(job["pk"], [part], turn=job["turn"], state="held"))
        held.save(tx, [job])
        return rows.job(tx.run("get_job", id=job_id)[0])
    return None


def _check_retry(job: held.Job) -> None:
    status = JobStatus(job["status"])
    if status is JobStatus.EXPIRED:
        raise Expired("Retention has removed the inputs of this job; submit it again.")
    if not status.done:
        raise Conflict(f"The job is {status}: only what is over can be retried.")
    if not job["failed"]:
        raise Conflict(f"Nothing of this job has failed: it is {status}.")


def _requeue_join(tx: Tx, job: held.Job, back: dict[str, int], *, stopped: bool) -> Row | None:
    if job["join_at"] is None:
        return None
    last = rows.counts(job).total - 1
    [join] = tx.run("get_join", job_pk=job["pk"], idx=last)
    if join["status"] not in (ItemStatus.FAILED, *[ItemStatus.CANCELED] * stopped):
        back[join["status"]] += 1
    tx.run("requeue_join", pk=join["pk"])
    tx.run("drop_results", pk=join["pk"])
    tx.run("drop_item_pushes", item_pk=join["pk"])
    return join


def _queue_again(tx: Tx, job: held.Job) -> None:
    """Cut what is queued again: of what is paced, as much as its pace has room for."""
    found = tx.run("unfinished_items", job_pk=job["pk"])
    lanes = {True: "io", False: job["lane"]}
    for fetches in (False, True):
        if fetches and job["pace"] is not None:
            cutting.release(tx, job)
            continue
        pieces = [
            cutting.Piece(row["idx"], lanes[fetches], fetches=fetches)
            for row in found
            if bool(row["fetches"]) == fetches
        ]
        most = cutting.STOPPING if job["stops"] else None
        cutting.put(tx, cutting.parts(job["pk"], cutting.cut(pieces, most), turn=job["turn"]))


# -- deleted -------------------------------------------------------------------------------------


def delete(tx: Tx, job_id: str) -> None:
    """Remove a job, its items, files and deliveries."""
    for job in held.named(tx, job_id):
        if bites.too_large(rows.counts(job).total):
            bites.hide(tx, job, events=True)
        else:
            if job["queued"] + job["running"]:
                cancel_rest(tx, job)
                held.save(tx, [job])
            tx.run("delete_job", job_pk=job["pk"])
            tx.run("drop_job_deliveries", job_id=job_id)
            tx.run("drop_job_bites", job_pk=job["pk"])
    tx.tell(topics.JOB, job_id)
    tx.tell(topics.OVER, job_id)


# -- expired -------------------------------------------------------------------------------------


def purge(tx: Tx) -> bool:
    """Expire what is due, a bounded number at a time; True if there may be more."""
    due = tx.run("due_jobs", now_ms=tx.now(), limit=PURGE_JOBS)
    for row in due:
        if not _purged(tx, row):
            return True
    gone = tx.run("drop_due_files", now_ms=tx.now(), limit=PURGE_ROWS)
    before_ms = tx.now() - IDEMPOTENCY_KEY_AGE // timedelta(milliseconds=1)
    keys = tx.run("drop_old_keys", before_ms=before_ms, limit=PURGE_ROWS)
    before_ms = tx.now() - VERSION_AGE // timedelta(milliseconds=1)
    old = tx.run("drop_old_versions", before_ms=before_ms, limit=PURGE_ROWS)
    counted = tally.drop_old(tx, PURGE_ROWS)
    return len(due) == PURGE_JOBS or PURGE_ROWS in (len(gone), len(keys), len(old), counted)


def _purged(tx: Tx, row: Row) -> bool:
    """Expire a job, or drop the record of one that has; False if more of its files are left."""
    [job] = held.lock(tx, [row["pk"]]).values()
    if job["status"] == JobStatus.EXPIRED:
        _drop(tx, job)
        return True
    if bites.empty_some(tx, job["pk"]):
        return False
    job["status"], job["expires_ms"] = "expired", tx.now() + job["retention_ms"]
    del job["_unfinished"]
    tx.many("put_job", [job])
    events.job_expired(tx, job)
    tx.tell(topics.JOB, job["id"])
    return True


def _drop(tx: Tx, job: held.Job) -> None:
    """Remove an expired job's record; the events that it has told stay."""
    if bites.too_large(rows.counts(job).total):
        bites.hide(tx, job, events=False)
    else:
        tx.run("delete_job", job_pk=job["pk"])
        tx.run("drop_job_pushes", job_id=job["id"])
