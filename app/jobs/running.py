"""Items of the SQLite store from the queue to their outcome, and back into the queue."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable

from app.errors import Interrupted
from app.jobs import files, rows
from app.jobs.announcements import Announcements
from app.jobs.backlog import Backlog
from app.jobs.batches import Batches
from app.jobs.changes import Changes
from app.jobs.database import run
from app.jobs.ending import Ending
from app.jobs.writer import Tx
from app.model import (
    MAX_INTERRUPTIONS,
    Claim,
    Done,
    Failed,
    ItemStatus,
    Job,
    Lane,
    Outcome,
    Progress,
)


class Running:
    """Claims, ends and requeues items; every method runs inside a transaction."""

    def __init__(
        self,
        changes: Changes,
        announcements: Announcements,
        batches: Batches,
        backlog: Backlog,
        ending: Ending,
        *,
        now_ms: Callable[[], int],
        on_queued: Callable[[], None],
    ) -> None:
        """Lean on the store's other parts. `on_queued` is called when an item may be claimed."""
        self._changes = changes
        self._announcements = announcements
        self._batches = batches
        self._backlog = backlog
        self._ending = ending
        self._now_ms = now_ms
        self._on_queued = on_queued

    # -- from the queue ----------------------------------------------------------------------

    def claim(self, tx: Tx, lane: Lane, limit: int) -> list[Claim]:
        """See `JobStore.claim`."""
        now_ms = self._now_ms()
        taken = run(tx.db, "claim", lane=lane, limit=limit, now_ms=now_ms)
        jobs: dict[int, sqlite3.Row] = {}
        for job_pk, n in Counter(row["job_pk"] for row in taken).items():
            [jobs[job_pk]] = run(tx.db, "job_claimed", job_pk=job_pk, n=n)
        for job_pk in {row["job_pk"] for row in taken if row["url"] is not None}:
            self._job_began(tx, job_pk, now_ms)
        # RETURNING gives rows in no promised order.
        taken.sort(key=lambda row: (-row["priority"], row["pk"]))
        return [
            rows.claim(row, jobs[row["job_pk"]], _to_join(tx, row), _twin(tx, row)) for row in taken
        ]

    def began(self, tx: Tx, begun: Iterable[tuple[Claim, float]]) -> None:
        """See `JobStore.began`."""
        first: dict[int, int] = {}
        for claim, worked_s in begun:
            started_ms = self._ago_ms(worked_s)
            place = {"pk": claim.item_key, "attempt": claim.attempt}
            for row in run(tx.db, "item_began", **place, started_ms=started_ms):
                first[row["job_pk"]] = min(first.get(row["job_pk"], started_ms), started_ms)
        for job_pk, started_ms in first.items():
            self._job_began(tx, job_pk, started_ms)

    def _job_began(self, tx: Tx, job_pk: int, started_ms: int) -> None:
        [job] = run(tx.db, "job_began", job_pk=job_pk, started_ms=started_ms)
        self._changes.announce(tx, job["id"])

    def _ago_ms(self, worked_s: float) -> int:
        return self._now_ms() - round(1000 * worked_s)

    def tell(self, tx: Tx, progress: Iterable[tuple[Claim, Progress]]) -> None:
        """See `JobStore.tell`."""
        changed: set[int] = set()
        for claim, now in progress:
            found = run(
                tx.db,
                "tell_progress",
                pk=claim.item_key,
                attempt=claim.attempt,
                done=now.done,
                total=now.total,
            )
            changed.update(row["job_pk"] for row in found)
        for job_pk in changed:
            [job] = run(tx.db, "job_told", job_pk=job_pk)
            self._changes.announce(tx, job["id"])

    def finish(self, tx: Tx, claim: Claim, outcome: Outcome, worked_s: float = 0.0) -> bool:
        """See `JobStore.finish`."""
        succeeded = isinstance(outcome, Done)
        now_ms = self._now_ms()
        ended = run(
            tx.db,
            "finish_item",
            pk=claim.item_key,
            attempt=claim.attempt,
            status=ItemStatus.SUCCEEDED if succeeded else ItemStatus.FAILED,
            facts=rows.dump(outcome.facts),
            refused=rows.dump_refused(outcome.refused) if isinstance(outcome, Done) else None,
            problem=rows.dump_problem(outcome.problem) if isinstance(outcome, Failed) else None,
            started_ms=self._ago_ms(worked_s),
            now_ms=now_ms,
        )
        if not ended:
            return False
        job_pk = ended[0]["job_pk"]
        counted = {"succeeded": int(succeeded), "started_ms": ended[0]["started_ms"]}
        [job] = run(tx.db, "count_finished", job_pk=job_pk, **counted)
        if isinstance(outcome, Done):
            place = {"job_pk": job_pk, "item_pk": claim.item_key}
            for position, result in enumerate(outcome.results):
                files.insert(tx, job["client"], result, now_ms, **place, position=position)
        self._announcements.item_ended(tx, job, claim, outcome, ended[0]["store"])
        job, followers = self._batches.ended(tx, claim.item_key, ended[0], job, outcome, now_ms)
        if isinstance(outcome, Failed):
            self._announcements.items_failed(tx, job, followers, outcome.problem)
        if job["stops"] and not succeeded:
            self._ending.cancel_rest(tx, job, now_ms)
        else:
            self._changes.settle(tx, job, now_ms)
        self._backlog.ended(tx, job["client"], 1 + len(followers))
        return True

    # -- back into the queue -----------------------------------------------------------------

    def release(self, tx: Tx, given_back: Iterable[Claim]) -> None:
        """See `JobStore.release`."""
        for claim in given_back:
            for row in run(tx.db, "release_item", pk=claim.item_key, attempt=claim.attempt):
                self._requeued(tx, row["job_pk"], 1)

    def recover(self, tx: Tx) -> int:
        """See `JobStore.recover`."""
        requeued: Counter[int] = Counter()
        for row in run(tx.db, "running_items"):
            attempts = row["attempt"] - row["attempts_before"]
            if attempts >= MAX_INTERRUPTIONS:
                given_up = Interrupted(
                    f"The service went down {attempts} times while it worked on this."
                )
                self.finish(tx, rows.bare_claim(row), Failed(given_up.problem()))
                continue
            run(tx.db, "release_item", pk=row["pk"], attempt=row["attempt"])
            requeued[row["job_pk"]] += 1
        for job_pk, n in requeued.items():
            self._requeued(tx, job_pk, n)
        return requeued.total()

    def _requeued(self, tx: Tx, job_pk: int, n: int) -> None:
        [job] = run(tx.db, "job_released", job_pk=job_pk, n=n)
        self._changes.settle(tx, job, self._now_ms())
        tx.after_commit(self._on_queued)

    def retry(self, tx: Tx, job_id: str) -> Job | None:
        """See `JobStore.retry`."""
        found = run(tx.db, "get_job", id=job_id)
        if not found:
            return None
        changed, back = self._batches.retry(tx, found[0])
        self._changes.settle(tx, changed, self._now_ms())
        self._backlog.returned(tx, changed["client"], back)
        tx.after_commit(self._on_queued)
        return rows.job(run(tx.db, "get_job", id=job_id)[0])


def _to_join(tx: Tx, item: sqlite3.Row) -> list[sqlite3.Row]:
    if not item["joins"]:
        return []
    return run(tx.db, "join_sources", job_pk=item["job_pk"])


def _twin(tx: Tx, item: sqlite3.Row) -> list[sqlite3.Row]:
    if item["twin_of"] is None:
        return []
    return run(tx.db, "twin_facts", pk=item["twin_of"])
