"""What is too much for one transaction, and so is gone on with a bite at a time.

One transaction over a million rows would hold up every other write for many seconds. Each bite
takes some milliseconds; what is left is a row of `bites`, so that it goes on after a crash.
"""

from __future__ import annotations

from app.model.jobs import FETCH_LANE
from app.records import backlog, cutting, held, rows, topics, twins
from app.stores.base import Row, Tx

BITE_ROWS = 2_000


def too_large(items: int) -> bool:
    """Tell whether so many items are too many for one transaction."""
    return items > BITE_ROWS


def waiting(tx: Tx) -> bool:
    """Tell whether there is something to be done."""
    return bool(tx.run("next_bite"))


def bite(tx: Tx) -> bool:
    """Do some of what is to be done; True if there may be more."""
    for todo in tx.run("next_bite"):
        more = _BITES[todo["what"]](tx, todo)
        tx.run("drop_bite", pk=todo["pk"])
        if more:  # behind the others: a short one is not to wait for a long one
            again = {name: todo[name] for name in ("what", "job_pk", "item_pk", "id")}
            tx.run("insert_bite", **again)
        return True
    return False


def turn_again(tx: Tx, most: int, job: held.Job) -> int:
    """Count a job's failed items again, and give their turn.

    Raises:
        QueueFull: they do not fit in.
    """
    lane = job["lane"] if job["pace"] is None else FETCH_LANE
    turn = backlog.enter(tx, backlog.Entry(job["client"], lane, job["failed"]), most)
    job["_unfinished"] += job["failed"]  # so that they are not counted twice
    return turn


def cancel_range(tx: Tx, job: held.Job, lo: int, hi: int) -> None:
    """Cancel the unfinished items of a locked job within a range of indexes."""
    where = {"job_pk": job["pk"], "lo": lo, "hi": hi, "seq": job["seq"], "now_ms": tx.now()}
    for status in ("queued", "running"):
        n = len(tx.run("cancel_items", **where, status=status))
        job[status] -= n
        job["canceled"] += n


def _cancel(tx: Tx, todo: Row) -> bool:
    for job in held.lock(tx, [todo["job_pk"]]).values():
        lo, total = job["cut"], rows.counts(job).total
        cancel_range(tx, job, lo, lo + BITE_ROWS - 1)
        job["cut"] = lo + BITE_ROWS
        held.save(tx, [job])
        return bool(job["queued"] + job["running"]) and bool(job["cut"] < total)
    return False


def _follow(tx: Tx, todo: Row) -> bool:
    for job in held.lock(tx, [todo["job_pk"]]).values():
        more = twins.follow(tx, job, todo["item_pk"], twins.BITE_ITEMS)
        held.save(tx, [job])
        return more
    return False


def _release(tx: Tx, todo: Row) -> bool:
    for job in held.lock(tx, [todo["job_pk"]]).values():
        cutting.release(tx, job)
        held.save(tx, [job])
    return False


def hide(tx: Tx, job: held.Job, *, events: bool) -> None:
    """Take a job from its client; none of its items can be taken or finished any more.

    With `events`, what of it is still to be told goes too.
    """
    tx.run("drop_job_chunks", job_pk=job["pk"])
    tx.run("drop_job_bites", job_pk=job["pk"])
    backlog.count(tx, {job["client"]: -job["queued"] - job["running"]})
    tx.run("hide_job", job_pk=job["pk"], now_ms=tx.now())
    held.bite_later(tx, "drop", job["pk"], job_id=job["id"] if events else None)
    tx.tell(topics.GONE, job["pk"])


def _drop(tx: Tx, todo: Row) -> bool:
    """Remove some of what a hidden job has left; the job itself at last.

    Deliveries go before items: the key of an item that is gone may be given again.
    """
    for job in held.lock(tx, [todo["job_pk"]]).values():
        job_id = todo["id"] or job["id"].removeprefix("dropping_")
        some = {"job_pk": job["pk"], "job_id": job_id, "limit": BITE_ROWS}
        some["events"] = int(todo["id"] is not None)
        for statement in ("drop_some_deliveries", "drop_some_files", "drop_some_items"):
            if len(tx.run(statement, **some)) == BITE_ROWS:
                return True
        tx.run("delete_job", job_pk=job["pk"])
    return False


def empty_some(tx: Tx, job_key: int) -> bool:
    """Remove some files and inputs of a job that expires; True if more are left."""
    some = {"job_pk": job_key, "limit": BITE_ROWS}
    return any(
        len(tx.run(statement, **some)) == BITE_ROWS
        for statement in ("drop_some_files", "forget_some_inputs")
    )


_BITES = {"cancel": _cancel, "drop": _drop, "follow": _follow, "release": _release}
