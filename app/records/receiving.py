"""How a job gets into the records a part at a time: nobody sees it before all of it is there."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import StorageError
from app.model.chunks import Submitted
from app.model.jobs import Counts, NewItem, NewJob, new_id
from app.records import backlog, held
from app.records.inputs import Inputs
from app.records.intake import Coming, columns_of, earlier, enqueue, named
from app.stores.base import Tx


def open_job(tx: Tx, node: str) -> int:
    """Begin a job that nobody sees; gives its key. When its node dies, it is removed."""
    nobody = NewJob(client="", steps=(), items=(), retention_s=0)
    columns = columns_of(tx, Coming(nobody, {}, Counts()))
    hidden = {"id": new_id("receiving"), "status": "receiving", "node": node}
    [row] = tx.run("insert_job", **columns | hidden)
    return int(row["pk"])


def add(tx: Tx, job_key: int, new: NewJob, items: Sequence[NewItem], at: int, most: int) -> None:
    """Write some more items of a job that is being received, all of them URLs, behind `at` others.

    Of `new`, its steps and whether it has twins are looked at. Raises `QueueFull`.
    """
    backlog.check(tx, most, at + len(items))
    inputs = Inputs(tx.now())
    inputs.add(job_key, new, items, at=at, join=False)
    inputs.write(tx)


def show(tx: Tx, job_key: int, new: NewJob, items: int, most: int) -> Submitted:
    """Make a job of which so many items were received its client's, in one transaction.

    `new` has no items of its own and its `pace` is set. Raises as `submit` does.
    """
    if known := earlier(tx, new):
        return known
    own, stored = named(tx, new)
    coming = Coming(own, stored, Counts(queued=items + (new.join_at is not None)))
    coming.turn = backlog.enter(tx, coming.entry, most)
    for job in tx.run("show_job", pk=job_key, **columns_of(tx, coming), id=new_id("job")):
        inputs = Inputs(tx.now())
        inputs.add(job_key, own, (), at=items - 1)
        inputs.add_asides(job_key, own, stored)
        inputs.write(tx)
        [made] = enqueue(tx, [(job, coming)])
        return made
    raise StorageError("The job was given up while it was being received.")


def give_up(tx: Tx, job_key: int) -> None:
    """Remove a job that was being received, unless it was shown."""
    if tx.run("give_up_job", pk=job_key):
        held.bite_later(tx, "drop", job_key)
