"""Jobs with very many items in the SQLite store: received, canceled and removed in bites.

One transaction over a million rows would hold up every other write for many seconds. Here each
takes some milliseconds, and what shows where things stand is one row, the job's: until it is shown
nobody sees a job that is being received, and once it is hidden nobody sees one that is going. What
a crash leaves half done, the next start goes on with.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from app.errors import StorageError
from app.jobs import delivery_rows, rows
from app.jobs.database import STATEMENTS, run
from app.jobs.writer import Tx
from app.model import JobStatus, NewItem, NewJob, new_id

BITE_ROWS = 2_000
HIDDEN = "\0"
"""The client of hidden jobs: no name that anybody can configure."""
DELETED = "deleted_"
"""Before the id of a job that its client deleted: nothing more of it is told or put elsewhere. (The
statement `due` has it too.)"""
DROPPING = "dropping_"
"""Before the id of a job whose record is due to go: events of it may still be told."""


def too_large(items: int) -> bool:
    """Tell whether so many items are too many for one transaction."""
    return items > BITE_ROWS


class Streams:
    """What the store does a bite at a time; every method runs inside a transaction."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        """Take the clock: milliseconds since the epoch."""
        self._now_ms = now_ms
        self._receiving: set[int] = set()

    # -- in ----------------------------------------------------------------------------------

    def open(self, tx: Tx) -> int:
        """Begin a job that nobody sees; gives its key."""
        [row] = run(
            tx.db, "hide_new_job", id=new_id("receiving"), hidden=HIDDEN, now_ms=self._now_ms()
        )
        self._receiving.add(row["pk"])
        return int(row["pk"])

    def add(
        self, tx: Tx, job_pk: int, items: Sequence[NewItem], *, at: int, ahead: int, dedupe: bool
    ) -> None:
        """Write URLs of a job that is being received, the first of them at position `at`."""
        tx.db.executemany(
            STATEMENTS["receive_item"],
            [
                {
                    "job_pk": job_pk,
                    "idx": index,
                    "priority": -(ahead + index),
                    "name": item.name or "",
                    "url": item.url,
                    "headers": rows.dump(dict(item.headers)) if item.headers else None,
                    "sha256": item.sha256,
                    "max_bytes": item.max_bytes,
                    "twin_key": rows.twin_key(item) if dedupe and not item.problem else None,
                    "store": delivery_rows.dump_target(item.store) if item.store else None,
                    "broken": rows.dump_problem(item.problem) if item.problem else None,
                }
                for index, item in enumerate(items, at)
            ],
        )

    def show(self, tx: Tx, job_pk: int, new: NewJob, *, queued: int) -> str:
        """Make a job that is whole its client's; gives its id."""
        job_id = new_id("job")
        shown = run(
            tx.db,
            "show_new_job",
            pk=job_pk,
            id=job_id,
            client=new.client,
            status=JobStatus.QUEUED,
            steps=rows.dump_steps(new.steps),
            join_at=new.join_at,
            tag=new.tag,
            metadata=rows.dump(new.metadata),
            queued=queued,
            retention_ms=int(new.retention_s * 1000),
            now_ms=self._now_ms(),
            pace=new.pace,
            stops=new.stops,
        )
        if not shown:
            raise StorageError("The job was given up while it was being received.")
        return job_id

    def close(self, job_pk: int) -> None:
        """Forget a job that was being received: unless it was shown, `drop_some` removes it."""
        self._receiving.discard(job_pk)

    # -- out ---------------------------------------------------------------------------------

    def hide(self, tx: Tx, job_pk: int, prefix: str) -> None:
        """Take a job from its client; none of its items can be claimed or finished any more.

        `prefix` is `DELETED` or `DROPPING`.
        """
        now_ms = self._now_ms()
        run(tx.db, "cancel_released", job_pk=job_pk, seq=0, now_ms=now_ms)
        run(tx.db, "hide_job", pk=job_pk, prefix=prefix, hidden=HIDDEN, now_ms=now_ms)

    def drop_some(self, tx: Tx) -> bool:
        """Remove some of what hidden jobs have left; True if there may be more."""
        for job in run(tx.db, "hidden_jobs"):
            if job["pk"] in self._receiving:
                continue
            if job["status"] == "receiving":
                run(tx.db, "give_up_job", pk=job["pk"])
            if not self._dropped_some(tx, job):
                run(tx.db, "drop_job", job_pk=job["pk"])
            return True
        return False

    def _dropped_some(self, tx: Tx, job: sqlite3.Row) -> bool:
        """Remove some of what a job has left; False if that was all.

        Deliveries go before items: the key of an item that is gone may be given again.
        """
        job_id = job["id"].removeprefix(DELETED).removeprefix(DROPPING)
        some = {"job_pk": job["pk"], "job_id": job_id, "limit": BITE_ROWS}
        some["events"] = job["id"].startswith(DELETED)
        return any(
            len(run(tx.db, statement, **some)) == BITE_ROWS
            for statement in ("drop_some_deliveries", "drop_some_files", "drop_some_items")
        )

    def empty_some(self, tx: Tx, job_pk: int) -> bool:
        """Remove some files and inputs of a job that expires; True if more are left."""
        some = {"job_pk": job_pk, "limit": BITE_ROWS}
        return any(
            len(run(tx.db, statement, **some)) == BITE_ROWS
            for statement in ("drop_some_files", "forget_some_inputs")
        )

    # -- canceled ----------------------------------------------------------------------------

    def cancel_released(self, tx: Tx, job: sqlite3.Row, now_ms: int) -> sqlite3.Row:
        """Cancel what a job has outside its waiting lanes, and let nothing more out of them."""
        run(tx.db, "set_canceling", job_pk=job["pk"], canceling=1)
        ended = run(tx.db, "cancel_released", job_pk=job["pk"], seq=job["seq"] + 1, now_ms=now_ms)
        return self._count(
            tx, job["pk"], queued=len(ended) - job["running"], running=job["running"]
        )

    def canceling(self, tx: Tx) -> list[sqlite3.Row]:
        """Give the jobs of which not all that waits is canceled yet."""
        return run(tx.db, "canceling_jobs")

    def cancel_some(self, tx: Tx, job: sqlite3.Row, now_ms: int) -> sqlite3.Row:
        """Cancel some of what waits; gives the job as it is then."""
        ended = run(
            tx.db,
            "cancel_some",
            job_pk=job["pk"],
            seq=job["seq"] + 1,
            now_ms=now_ms,
            limit=BITE_ROWS,
        )
        if len(ended) < BITE_ROWS:
            run(tx.db, "set_canceling", job_pk=job["pk"], canceling=0)
        return self._count(tx, job["pk"], queued=len(ended), running=0)

    def _count(self, tx: Tx, job_pk: int, **ended: int) -> sqlite3.Row:
        [job] = run(tx.db, "count_some_canceled", job_pk=job_pk, **ended)
        return job
