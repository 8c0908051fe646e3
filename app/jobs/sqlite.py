"""The embedded job store: SQLite in WAL mode, one writer thread, a few reading threads."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from app.errors import IdempotencyMismatch, Interrupted, NotFound, QueueFull, StorageError
from app.jobs import rows
from app.jobs.announcements import Announcements
from app.jobs.base import IDEMPOTENCY_KEY_AGE, VERSION_AGE, Incoming, JobSettings, Submitted
from app.jobs.batches import Batches
from app.jobs.database import connect, load_statements, migrate
from app.jobs.sqlite_outbox import SqliteOutbox
from app.jobs.streams import BITE_ROWS, DELETED, DROPPING, Streams, dump_steps
from app.jobs.writer import Tx, Writer, translated
from app.model import (
    JOIN_LANE,
    MAX_INTERRUPTIONS,
    Claim,
    Counts,
    Done,
    Failed,
    File,
    Item,
    ItemStatus,
    Job,
    JobStatus,
    Lane,
    NamedBlob,
    NewItem,
    NewJob,
    Outcome,
    Progress,
    Version,
    job_status,
    new_id,
)

T = TypeVar("T")

_Waiters = dict[str, set[asyncio.Future[None]]]
"""By job: who waits for it. Touched on the event loop only."""

READERS = 4
FEW_ROWS = 20
"""Up to so many items are read on the event loop: what a poll of a small job shows."""
PURGE_JOBS = 50
PURGE_ROWS = 1000
FOREVER = (1 << 63) - 1
HELD = "held"
"""The lane of an item that waits for others: nobody claims from it."""


class SqliteJobStore:
    """`JobStore` for one process on one disk. Make it with `open`, on a running event loop."""

    def __init__(
        self,
        path: Path,
        settings: JobSettings,
        *,
        clock: Callable[[], datetime],
        lane_of: Callable[[NewItem, NewJob], Lane],
        on_queued: Callable[[], None],
        on_canceled: Callable[[Iterable[int]], None] = lambda _: None,
    ) -> None:
        """Name the database file.

        `on_queued` is called whenever an item may be claimed; `on_canceled` with the keys of items
        that were running and were canceled because another one failed.
        """
        self._path = path
        self._settings = settings
        self._clock = clock
        self._lane_of = lane_of
        self._on_queued = on_queued
        self._on_canceled = on_canceled
        self._sql = load_statements()
        self._told = Announcements(_Lent(self), self._sql)
        self.outbox = SqliteOutbox(_Lent(self), self._told, self._sql)
        self._batches = Batches(self._run, on_queued)
        self._streams = Streams(self._run, self._sql, self._now_ms)
        self._going_on: set[asyncio.Task[None]] = set()
        self._unfinished: Counter[str] = Counter()
        """Unfinished items by client, those on their way in included; for the event loop only."""
        self._watching: _Waiters = {}
        self._awaiting_end: _Waiters = {}
        self._local = threading.local()
        self._reading: list[sqlite3.Connection] = []

    async def open(self) -> None:
        """Create or migrate the database and start the threads."""
        db = await asyncio.to_thread(self._open_writer)
        self._writer = Writer(db)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="records-reader")
        for row in await self._read(lambda db: self._all(db, "unfinished_by_client")):
            self._unfinished[row["client"]] = row["n"]

    async def close(self) -> None:
        """Finish the writes that were asked for, then stop."""
        for task in tuple(self._going_on):
            task.cancel()
        await asyncio.gather(*self._going_on, return_exceptions=True)
        await self._writer.close()
        await asyncio.to_thread(self._readers.shutdown)
        for db in self._reading:
            db.close()

    # -- submitting --------------------------------------------------------------------------

    def check_backlog(self, items: int = 1) -> None:
        """See `JobStore.check_backlog`."""
        if self._unfinished.total() + items > self._settings.max_unfinished_items:
            raise QueueFull(
                f"{self._unfinished.total()} items are unfinished; this service takes "
                f"{self._settings.max_unfinished_items}. Try again later.",
                retry_after_s=5,
            )

    async def submit(self, new: NewJob) -> Submitted:
        """See `JobStore.submit`."""
        passing = sum(new.passes(item) for item in new.items)
        counts = Counts(queued=new.total_items - passing, succeeded=passing)
        self.check_backlog(counts.queued)
        ahead = self._unfinished[new.client]
        # Counted before they are written, so that submissions under way see each other.
        self._unfinished[new.client] += counts.queued

        def work(tx: Tx) -> Submitted:
            if earlier := self._earlier(tx, new):
                return earlier
            job_id, now_ms = new_id("job"), self._now_ms()
            [row] = self._run(
                tx.db,
                "insert_job",
                id=job_id,
                client=new.client,
                status=job_status(counts),
                steps=dump_steps(new.steps),
                join_at=new.join_at,
                tag=new.tag,
                metadata=rows.dump(new.metadata),
                queued=counts.queued,
                succeeded=passing,
                retention_ms=int(new.retention_s * 1000),
                now_ms=now_ms,
                started_ms=now_ms if passing else None,
                pace=new.pace,
                stops=new.stops,
            )
            self._told.set_webhook(tx, row["pk"], new.webhook)
            for index, item in enumerate(new.items):
                # Round robin between clients for the price of one integer: an item waits behind
                # as many of its own client's as are unfinished, and behind no others.
                self._insert_item(tx, new, row["pk"], index, item, priority=-(ahead + index))
            if new.join_at is not None:
                lane = JOIN_LANE if counts.queued == 1 else HELD
                priority = -(ahead + counts.queued - 1)
                self._insert_join(tx, new, row["pk"], lane, index=len(new.items), priority=priority)
            return self._submitted(tx, new, row["pk"], job_id)

        return await self._counted(work, new.client, counts.queued)

    def _submitted(self, tx: Tx, new: NewJob, job_pk: int, job_id: str) -> Submitted:
        """Do what ends the submission of a job whose rows are there."""
        self._batches.release(tx, job_pk, pace=new.pace, released=0)
        if new.idempotency_key is not None:
            self._run(
                tx.db,
                "insert_key",
                client=new.client,
                key=new.idempotency_key,
                fingerprint=new.fingerprint,
                job_id=job_id,
                now_ms=self._now_ms(),
            )
        tx.after_commit(self._on_queued)
        [stored] = self._run(tx.db, "get_job", id=job_id)
        return Submitted(rows.job(stored), created=True)

    async def _counted(
        self, work: Callable[[Tx], Submitted], client: str, queued: int
    ) -> Submitted:
        """Run a submission of items that are counted already; uncount them if it comes to nothing.

        A caller that is cancelled does not undo the submission, and so not the count.
        """

        def written(done: asyncio.Future[Submitted]) -> None:
            if done.cancelled() or done.exception() or not done.result().created:
                self._unfinished[client] -= queued

        writing = asyncio.ensure_future(self._writer.call(work))
        writing.add_done_callback(written)
        return await asyncio.shield(writing)

    @asynccontextmanager
    async def receiving(self, client: str, *, dedupe: bool) -> AsyncIterator[Incoming]:
        """See `JobStore.receiving`."""
        job_pk = await self._writer.call(self._streams.open)
        try:
            ahead = self._unfinished[client]
            yield _Stream(self, self._streams, job_pk, ahead=ahead, dedupe=dedupe)
        finally:
            self._streams.close(job_pk)

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in the writer's next transaction; for this room only."""
        return await self._writer.call(work)

    async def show(self, new: NewJob, job_pk: int, items: int) -> Submitted:
        """Make a received job its client's; for this room only."""
        queued = items + (new.join_at is not None)
        self.check_backlog(queued)
        ahead = self._unfinished[new.client]
        self._unfinished[new.client] += queued

        def work(tx: Tx) -> Submitted:
            if earlier := self._earlier(tx, new):
                return earlier
            job_id = self._streams.show(tx, job_pk, new, queued=queued)
            self._told.set_webhook(tx, job_pk, new.webhook)
            if new.join_at is not None:
                priority = -(ahead + items)
                self._insert_join(tx, new, job_pk, HELD, index=items, priority=priority)
            return self._submitted(tx, new, job_pk, job_id)

        return await self._counted(work, new.client, queued)

    def _earlier(self, tx: Tx, new: NewJob) -> Submitted | None:
        if new.idempotency_key is None:
            return None
        key = {"client": new.client, "key": new.idempotency_key}
        for known in self._run(tx.db, "get_key", **key):
            job = self._run(tx.db, "get_job", id=known["job_id"])
            if not job:  # deleted since: the key is free again
                self._run(tx.db, "drop_key", **key)
            elif known["fingerprint"] != new.fingerprint:
                raise IdempotencyMismatch(
                    "This Idempotency-Key was used with another request in the last 24 hours."
                )
            else:
                return Submitted(rows.job(job[0]), created=False)
        return None

    def _insert_item(
        self, tx: Tx, new: NewJob, job_pk: int, index: int, item: NewItem, *, priority: int
    ) -> None:
        file_id, source = item.file_id, item.upload
        if file_id is not None:
            stored = self._run(tx.db, "get_file", id=file_id)
            if not stored or stored[0]["client"] != new.client:
                raise NotFound(f"There is no file {file_id!r}.")
            file = rows.file(stored[0])
            source = NamedBlob(file.blob, file.name)
        elif source is not None:
            file_id = self._insert_file(tx, new.client, source, job_pk=job_pk)
        passes = new.passes(item)
        [row] = self._run(
            tx.db,
            "insert_item",
            job_pk=job_pk,
            idx=index,
            status=ItemStatus.SUCCEEDED if passes else ItemStatus.QUEUED,
            priority=priority,
            name=(source.name if source else item.name) or "",
            file_id=file_id,
            blob=source.blob.key if source else None,
            media_type=source.blob.media_type if source else None,
            size_bytes=source.blob.size_bytes if source else None,
            url=item.url,
            headers=rows.dump(dict(item.headers)) if item.headers else None,
            joins=False,
            ended_ms=self._now_ms() if passes else None,
            **self._batches.columns(tx, new, job_pk, item, self._lane_of(item, new)),
        )
        self._told.set_store(tx, row["pk"], item.store)
        if passes and source is not None:
            self._insert_file(tx, new.client, source, job_pk=job_pk, item_pk=row["pk"], position=0)

    def _insert_join(
        self, tx: Tx, new: NewJob, job_pk: int, lane: str, *, index: int, priority: int
    ) -> None:
        nothing = dict.fromkeys(
            (
                *("file_id", "blob", "media_type", "size_bytes", "url", "headers"),
                *("sha256", "max_bytes", "twin_key", "twin_of"),
            )
        )
        [row] = self._run(
            tx.db,
            "insert_item",
            job_pk=job_pk,
            idx=index,
            status=ItemStatus.QUEUED,
            lane=lane,
            priority=priority,
            name="",
            joins=True,
            ended_ms=None,
            **nothing,
        )
        self._told.set_store(tx, row["pk"], new.store)

    def _insert_file(
        self,
        tx: Tx,
        client: str,
        source: NamedBlob,
        *,
        job_pk: int | None = None,
        item_pk: int | None = None,
        position: int | None = None,
        expires_ms: int | None = None,
    ) -> str:
        file_id = new_id("file")
        self._run(
            tx.db,
            "insert_file",
            id=file_id,
            client=client,
            blob=source.blob.key,
            name=source.name,
            media_type=source.blob.media_type,
            size_bytes=source.blob.size_bytes,
            job_pk=job_pk,
            item_pk=item_pk,
            position=position,
            now_ms=self._now_ms(),
            expires_ms=expires_ms,
        )
        return file_id

    # -- reading -----------------------------------------------------------------------------

    async def get_job(self, job_id: str) -> Job | None:
        """See `JobStore.get_job`."""
        found = self._look_up("get_job", id=job_id)
        return rows.job(found[0]) if found else None

    async def list_jobs(
        self,
        client: str,
        *,
        status: JobStatus | None = None,
        tag: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[list[Job], str | None]:
        """See `JobStore.list_jobs`."""
        found = await self._read(
            lambda db: self._all(
                db,
                "list_jobs",
                client=client,
                status=status,
                tag=tag,
                before=rows.read_cursor(cursor, FOREVER),
                limit=limit + 1,
            )
        )
        page, next_cursor = rows.page(found, "pk", limit)
        return [rows.job(row) for row in page], next_cursor

    async def list_items(
        self,
        job_id: str,
        *,
        status: ItemStatus | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> tuple[list[Item], str | None]:
        """See `JobStore.list_items`."""

        def read(db: sqlite3.Connection) -> tuple[list[Item], str | None]:
            found = self._all(
                db,
                "list_items",
                job_id=job_id,
                status=status,
                after=rows.read_cursor(cursor, -1),
                limit=limit + 1,
            )
            page, next_cursor = rows.page(found, "idx", limit)
            return self._with_results(db, page), next_cursor

        return self._read_here(read) if limit <= FEW_ROWS else await self._read(read)

    async def items_since(
        self, job_id: str, after: tuple[int, int], limit: int = 500
    ) -> list[Item]:
        """See `JobStore.items_since`."""
        seq, idx = after

        def read(db: sqlite3.Connection) -> list[Item]:
            found = self._all(db, "items_since", job_id=job_id, seq=seq, idx=idx, limit=limit)
            return self._with_results(db, found)

        return await self._read(read)

    def _with_results(self, db: sqlite3.Connection, found: list[sqlite3.Row]) -> list[Item]:
        results: dict[int, list[File]] = {}
        keys = [row["pk"] for row in found if row["status"] == ItemStatus.SUCCEEDED]
        for row in self._all(db, "results_of", item_pks=rows.dump(keys)):
            results.setdefault(row["item_pk"], []).append(rows.file(row))
        pushes = self.outbox.pushes_of(db, found)
        return [
            rows.item(row, tuple(results.get(row["pk"], ())), pushes.get(row["pk"]))
            for row in found
        ]

    async def changed(self, job_id: str, since: int, timeout_s: float) -> Job | None:
        """See `JobStore.changed`."""
        return await self._once(job_id, lambda job: job.seq > since, self._watching, timeout_s)

    async def ended(self, job_id: str, timeout_s: float) -> Job | None:
        """See `JobStore.ended`."""
        return await self._once(job_id, lambda job: job.status.done, self._awaiting_end, timeout_s)

    async def _once(
        self, job_id: str, holds: Callable[[Job], bool], waiters: _Waiters, timeout_s: float
    ) -> Job | None:
        give_up_at = asyncio.get_running_loop().time() + timeout_s
        while True:
            # Registered before the read: a commit between the two still wakes us. One before the
            # read may wake us too, with nothing new: then it all begins again.
            with _registered(waiters, job_id) as woken:
                job = await self.get_job(job_id)
                if job is None or holds(job):
                    return job
                try:
                    async with asyncio.timeout_at(give_up_at):
                        await woken
                except TimeoutError:
                    return job

    # -- running -----------------------------------------------------------------------------

    async def claim(self, lane: Lane, limit: int) -> list[Claim]:
        """See `JobStore.claim`."""

        def work(tx: Tx) -> list[Claim]:
            now_ms = self._now_ms()
            taken = self._run(tx.db, "claim", lane=lane, limit=limit, now_ms=now_ms)
            jobs: dict[int, sqlite3.Row] = {}
            for job_pk, n in Counter(row["job_pk"] for row in taken).items():
                [jobs[job_pk]] = self._run(tx.db, "job_began", job_pk=job_pk, n=n, now_ms=now_ms)
                self._announce(tx, jobs[job_pk]["id"])
            # RETURNING gives rows in no promised order.
            taken.sort(key=lambda row: (-row["priority"], row["pk"]))
            return [
                rows.claim(row, jobs[row["job_pk"]], self._to_join(tx, row), self._twin(tx, row))
                for row in taken
            ]

        return await self._writer.call(work)

    def _to_join(self, tx: Tx, item: sqlite3.Row) -> list[sqlite3.Row]:
        if not item["joins"]:
            return []
        return self._run(tx.db, "join_sources", job_pk=item["job_pk"])

    def _twin(self, tx: Tx, item: sqlite3.Row) -> list[sqlite3.Row]:
        if item["twin_of"] is None:
            return []
        return self._run(tx.db, "twin_facts", pk=item["twin_of"])

    async def finish(self, claim: Claim, outcome: Outcome) -> bool:
        """See `JobStore.finish`."""
        return await self._writer.call(lambda tx: self._finish(tx, claim, outcome))

    def _finish(self, tx: Tx, claim: Claim, outcome: Outcome) -> bool:
        succeeded = isinstance(outcome, Done)
        now_ms = self._now_ms()
        ended = self._run(
            tx.db,
            "finish_item",
            pk=claim.item_key,
            attempt=claim.attempt,
            status=ItemStatus.SUCCEEDED if succeeded else ItemStatus.FAILED,
            facts=rows.dump(outcome.facts),
            refused=rows.dump_refused(outcome.refused) if isinstance(outcome, Done) else None,
            problem=rows.dump_problem(outcome.problem) if isinstance(outcome, Failed) else None,
            now_ms=now_ms,
        )
        if not ended:
            return False
        job_pk = ended[0]["job_pk"]
        [job] = self._run(tx.db, "count_finished", job_pk=job_pk, succeeded=int(succeeded))
        if isinstance(outcome, Done):
            for position, result in enumerate(outcome.results):
                self._insert_file(
                    tx,
                    job["client"],
                    result,
                    job_pk=job_pk,
                    item_pk=claim.item_key,
                    position=position,
                )
        self._told.item_ended(tx, job, claim, outcome, ended[0]["store"])
        job, followers = self._batches.ended(tx, claim.item_key, ended[0], job, outcome, now_ms)
        if isinstance(outcome, Failed):
            self._told.items_failed(tx, job, followers, outcome.problem)
        if job["stops"] and not succeeded:
            self._cancel_rest(tx, job, now_ms)
        else:
            self._settle(tx, job, now_ms)
        over = 1 + len(followers)
        tx.after_commit(lambda: self._unfinished.subtract({job["client"]: over}))
        return True

    def _settle(self, tx: Tx, job: sqlite3.Row, now_ms: int) -> None:
        """Write what the job is now that its counts have changed, and tell its watchers."""
        only_the_join = job["join_at"] is not None and job["queued"] == 1 and not job["running"]
        if only_the_join and self._run(tx.db, "release_join", job_pk=job["pk"], lane=JOIN_LANE):
            tx.after_commit(self._on_queued)
        status = job_status(rows.counts(job), stops=bool(job["stops"]))
        if status != job["status"]:
            self._run(
                tx.db,
                "set_job_status",
                job_pk=job["pk"],
                status=status,
                finished_ms=now_ms if status.done else None,
                expires_ms=now_ms + job["retention_ms"] if status.done else None,
            )
            if status.done:
                self._told.job_ended(tx, job, status)
        self._announce(tx, job["id"], over=status.done)

    async def tell(self, progress: Iterable[tuple[Claim, Progress]]) -> None:
        """See `JobStore.tell`."""
        told = tuple(progress)

        def work(tx: Tx) -> None:
            changed: set[int] = set()
            for claim, now in told:
                found = self._run(
                    tx.db,
                    "tell_progress",
                    pk=claim.item_key,
                    attempt=claim.attempt,
                    done=now.done,
                    total=now.total,
                )
                changed.update(row["job_pk"] for row in found)
            for job_pk in changed:
                [job] = self._run(tx.db, "job_told", job_pk=job_pk)
                self._announce(tx, job["id"])

        await self._writer.call(work)

    async def release(self, claims: Iterable[Claim]) -> None:
        """See `JobStore.release`."""
        given_back = [(claim.item_key, claim.attempt) for claim in claims]

        def work(tx: Tx) -> None:
            for item_key, attempt in given_back:
                for row in self._run(tx.db, "release_item", pk=item_key, attempt=attempt):
                    self._requeued(tx, row["job_pk"], 1)

        await self._writer.call(work)

    def _requeued(self, tx: Tx, job_pk: int, n: int) -> None:
        [job] = self._run(tx.db, "job_released", job_pk=job_pk, n=n)
        self._settle(tx, job, self._now_ms())
        tx.after_commit(self._on_queued)

    async def recover(self) -> int:
        """See `JobStore.recover`."""

        def work(tx: Tx) -> int:
            requeued: Counter[int] = Counter()
            for row in self._run(tx.db, "running_items"):
                attempts = row["attempt"] - row["attempts_before"]
                if attempts >= MAX_INTERRUPTIONS:
                    given_up = Interrupted(
                        f"The service went down {attempts} times while it worked on this."
                    )
                    self._finish(tx, rows.bare_claim(row), Failed(given_up.problem()))
                    continue
                self._run(tx.db, "release_item", pk=row["pk"], attempt=row["attempt"])
                requeued[row["job_pk"]] += 1
            for job_pk, n in requeued.items():
                self._requeued(tx, job_pk, n)
            return requeued.total()

        return await self._writer.call(work)

    # -- ending ------------------------------------------------------------------------------

    async def cancel(self, job_id: str) -> list[int]:
        """See `JobStore.cancel`."""
        return await self._writer.call(lambda tx: self._cancel(tx, job_id))

    def _cancel(self, tx: Tx, job_id: str) -> list[int]:
        found = self._run(tx.db, "get_job", id=job_id)
        if not found:
            return []
        if not found[0]["queued"] + found[0]["running"]:
            return []
        return self._cancel_unfinished(tx, found[0], self._now_ms())

    def _cancel_unfinished(self, tx: Tx, job: sqlite3.Row, now_ms: int) -> list[int]:
        unfinished = job["queued"] + job["running"]
        running = self._run(tx.db, "running_item_keys", job_pk=job["pk"])
        if unfinished > BITE_ROWS:
            job = self._streams.cancel_released(tx, job, now_ms)
            self._go_on(tx, self._cancel_some)
        else:
            [job] = self._run(tx.db, "count_canceled", job_pk=job["pk"])
            self._run(tx.db, "cancel_items", job_pk=job["pk"], seq=job["seq"], now_ms=now_ms)
        self._settle(tx, job, now_ms)
        ended = unfinished - job["queued"] - job["running"]
        tx.after_commit(lambda: self._unfinished.subtract({job["client"]: ended}))
        return [row["pk"] for row in running]

    def _go_on(self, tx: Tx, bite: Callable[[Tx], bool]) -> None:
        """Once this is committed, take bites until none is left; `purge` does so after a crash."""

        async def bites() -> None:
            with suppress(StorageError):
                while await self._writer.call(bite):
                    pass

        def start() -> None:
            task = asyncio.ensure_future(bites())
            self._going_on.add(task)
            task.add_done_callback(self._going_on.discard)

        tx.after_commit(start)

    def _cancel_some(self, tx: Tx) -> bool:
        """Cancel some more of jobs that are too large for one transaction; True if any is left."""
        for before in self._streams.canceling(tx):
            job, client = self._streams.cancel_some(tx, before, self._now_ms()), before["client"]
            self._settle(tx, job, self._now_ms())
            ended = before["queued"] - job["queued"]
            tx.after_commit(partial(self._unfinished.subtract, {client: ended}))
            return True
        return False

    def _cancel_rest(self, tx: Tx, job: sqlite3.Row, now_ms: int) -> None:
        """Cancel what is unfinished of a job of which an item has failed."""
        running = self._cancel_unfinished(tx, job, now_ms)
        tx.after_commit(lambda: self._on_canceled(running))

    async def retry(self, job_id: str) -> Job | None:
        """See `JobStore.retry`."""
        job = await self.get_job(job_id)
        if job is None:
            return None
        self.check_backlog(job.counts.failed)

        def work(tx: Tx) -> Job | None:
            found = self._run(tx.db, "get_job", id=job_id)
            if not found:
                return None
            changed, back = self._batches.retry(tx, found[0])
            self._settle(tx, changed, self._now_ms())
            tx.after_commit(lambda: self._unfinished.update({changed["client"]: back}))
            tx.after_commit(self._on_queued)
            return rows.job(self._run(tx.db, "get_job", id=job_id)[0])

        return await self._writer.call(work)

    async def delete_job(self, job_id: str) -> list[int]:
        """See `JobStore.delete_job`."""

        def work(tx: Tx) -> list[int]:
            found = self._run(tx.db, "get_job", id=job_id)
            if found and rows.counts(found[0]).total > BITE_ROWS:
                running = self._hide(tx, found[0])
            else:
                running = self._cancel(tx, job_id)
                self._run(tx.db, "delete_job", id=job_id)
                self._told.job_dropped(tx, job_id, events=True)
            self._announce(tx, job_id, over=True)
            return running

        return await self._writer.call(work)

    def _hide(self, tx: Tx, job: sqlite3.Row) -> list[int]:
        """Take a job that is too large for one transaction from its client at once."""
        running = self._run(tx.db, "running_item_keys", job_pk=job["pk"])
        self._streams.hide(tx, job["pk"], DELETED)
        self._go_on(tx, self._streams.drop_some)
        unfinished = job["queued"] + job["running"]
        tx.after_commit(lambda: self._unfinished.subtract({job["client"]: unfinished}))
        return [row["pk"] for row in running]

    # -- files -------------------------------------------------------------------------------

    async def add_file(self, client: str, blob: NamedBlob, retention_s: float) -> File:
        """See `JobStore.add_file`."""

        def work(tx: Tx) -> File:
            expires_ms = self._now_ms() + int(retention_s * 1000)
            file_id = self._insert_file(tx, client, blob, expires_ms=expires_ms)
            return rows.file(self._run(tx.db, "get_file", id=file_id)[0])

        return await self._writer.call(work)

    async def get_file(self, file_id: str) -> File | None:
        """See `JobStore.get_file`."""
        found = self._look_up("get_file", id=file_id)
        return rows.file(found[0]) if found else None

    async def delete_file(self, file_id: str) -> None:
        """See `JobStore.delete_file`."""
        await self._writer.call(lambda tx: self._run(tx.db, "delete_file", id=file_id))

    async def extend(self, file: File, retention_s: float) -> None:
        """See `JobStore.extend`."""

        def work(tx: Tx) -> None:
            now_ms = self._now_ms()
            if file.job_id is not None:
                self._run(tx.db, "extend_job", job_id=file.job_id, now_ms=now_ms)
            else:
                expires_ms = now_ms + int(retention_s * 1000)
                self._run(tx.db, "extend_file", id=file.id, expires_ms=expires_ms)

        await self._writer.call(work)

    # -- versions ----------------------------------------------------------------------------

    async def remember(self, job_id: str, version: Version) -> None:
        """See `JobStore.remember`."""

        def work(tx: Tx) -> None:
            self._run(
                tx.db,
                "put_version",
                job_id=job_id,
                key=version.key,
                blob=version.blob.key,
                media_type=version.blob.media_type,
                size_bytes=version.blob.size_bytes,
                facts=rows.dump(version.facts),
                now_ms=self._now_ms(),
            )

        await self._writer.call(work)

    async def recall(self, job_id: str, key: bytes) -> Version | None:
        """See `JobStore.recall`."""
        found = await self._read(lambda db: self._all(db, "get_version", job_id=job_id, key=key))
        return rows.version(found[0]) if found else None

    # -- keeping house -----------------------------------------------------------------------

    async def purge(self) -> bool:
        """See `JobStore.purge`."""

        def work(tx: Tx) -> bool:
            now_ms = self._now_ms()
            due = self._run(tx.db, "due_jobs", now_ms=now_ms, limit=PURGE_JOBS)
            for row in due:
                if row["status"] == JobStatus.EXPIRED:
                    if rows.counts(row).total > BITE_ROWS:
                        self._streams.hide(tx, row["pk"], DROPPING)
                    else:
                        self._run(tx.db, "drop_job", job_pk=row["pk"])
                        self._told.job_dropped(tx, row["id"], events=False)
                    continue
                if self._streams.empty_some(tx, row["pk"]):
                    return True
                [job] = self._run(tx.db, "expire_job", job_pk=row["pk"], now_ms=now_ms)
                self._told.job_expired(tx, job)
                self._announce(tx, row["id"])
            files = self._run(tx.db, "drop_due_files", now_ms=now_ms, limit=PURGE_ROWS)
            before_ms = now_ms - IDEMPOTENCY_KEY_AGE // timedelta(milliseconds=1)
            keys = self._run(tx.db, "drop_old_keys", before_ms=before_ms, limit=PURGE_ROWS)
            before_ms = now_ms - VERSION_AGE // timedelta(milliseconds=1)
            old = self._run(tx.db, "drop_old_versions", before_ms=before_ms, limit=PURGE_ROWS)
            more = self._streams.drop_some(tx) or self._cancel_some(tx)
            return more or len(due) == PURGE_JOBS or PURGE_ROWS in (len(files), len(keys), len(old))

        return await self._writer.call(work)

    async def unreferenced(self, keys: Sequence[str]) -> list[str]:
        """See `JobStore.unreferenced`."""

        def read(db: sqlite3.Connection) -> list[str]:
            return [k for k in keys if not self._all(db, "is_referenced", blob=k)[0][0]]

        return await self._read(read)

    async def check_writable(self) -> None:
        """See `JobStore.check_writable`."""
        await self._writer.call(lambda tx: self._run(tx.db, "write_probe"))

    # -- the plumbing ------------------------------------------------------------------------

    def _open_writer(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = connect(self._path)
            try:
                migrate(db)
            except sqlite3.Error:
                db.close()
                raise
        except sqlite3.Error as error:
            raise translated(error) from error
        except OSError as error:
            raise StorageError("The data folder cannot be made.", log_detail=str(error)) from error
        return db

    def _now_ms(self) -> int:
        return rows.to_ms(self._clock())

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        run = partial(self._read_here, work)
        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    def _read_here(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._reader())
        except sqlite3.Error as error:
            raise translated(error) from error

    def _look_up(self, statement: str, **key: str) -> list[sqlite3.Row]:
        """Read one row by its key on the event loop: some 10 us, where a thread takes 100.

        In WAL mode a reader waits for nobody, and the pages of a key are few.
        """
        return self._read_here(lambda db: self._all(db, statement, **key))

    def _reader(self) -> sqlite3.Connection:
        """Give the calling thread's own connection."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = connect(self._path, read_only=True)
            self._reading.append(db)
        return db

    def _all(self, db: sqlite3.Connection, statement: str, **values: Any) -> list[sqlite3.Row]:
        return db.execute(self._sql[statement], values).fetchall()

    _run = _all
    """Alike for SQLite; the name tells a reader whether the statement changes something."""

    def _announce(self, tx: Tx, job_id: str, *, over: bool = False) -> None:
        tx.after_commit(lambda: _wake(self._watching, job_id))
        if over:
            tx.after_commit(lambda: _wake(self._awaiting_end, job_id))


class _Lent:
    """`announcements.Database`: what is told is written in the store's own transactions."""

    def __init__(self, store: SqliteJobStore) -> None:
        self.now_ms = store._now_ms  # noqa: SLF001 - the store's other half
        self.read = store._read  # noqa: SLF001
        self.announce = store._announce  # noqa: SLF001
        self._store = store

    async def write(self, work: Callable[[Tx], T]) -> T:
        return await self._store.write(work)


class _Stream:
    """`Incoming`: one job on its way in."""

    def __init__(
        self,
        store: SqliteJobStore,
        streams: Streams,
        job_pk: int,
        *,
        ahead: int,
        dedupe: bool,
    ) -> None:
        self._store = store
        self._add = partial(streams.add, job_pk=job_pk, ahead=ahead, dedupe=dedupe)
        self._job_pk = job_pk
        self._items = 0

    async def add(self, items: Sequence[NewItem]) -> None:
        """See `Incoming.add`."""
        self._store.check_backlog(self._items + len(items))
        await self._store.write(partial(self._add, items=items, at=self._items))
        self._items += len(items)

    async def submit(self, new: NewJob) -> Submitted:
        """See `Incoming.submit`."""
        return await self._store.show(new, self._job_pk, self._items)


@contextmanager
def _registered(waiters: _Waiters, job_id: str) -> Iterator[asyncio.Future[None]]:
    waiter = asyncio.get_running_loop().create_future()
    waiters.setdefault(job_id, set()).add(waiter)
    try:
        yield waiter
    finally:
        waiting = waiters.get(job_id, set())
        waiting.discard(waiter)
        if not waiting:
            waiters.pop(job_id, None)


def _wake(waiters: _Waiters, job_id: str) -> None:
    for waiter in waiters.pop(job_id, ()):
        if not waiter.done():
            waiter.set_result(None)
