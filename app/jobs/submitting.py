"""How a job gets into the SQLite store: in one piece, or its items a part at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from app.errors import IdempotencyMismatch, InvalidParameter, NotFound
from app.jobs import files, rows
from app.jobs.announcements import Announcements
from app.jobs.backlog import Backlog
from app.jobs.base import Incoming, Submitted
from app.jobs.batches import Batches
from app.jobs.connections import Connections
from app.jobs.database import run
from app.jobs.streams import Streams
from app.jobs.writer import Tx
from app.model import (
    JOIN_LANE,
    Counts,
    ItemStatus,
    Lane,
    NamedBlob,
    NewItem,
    NewJob,
    job_status,
    new_id,
)

HELD = "held"
"""The lane of an item that waits for others: nobody claims from it."""


class Submissions:
    """Writes new jobs, each with all that belongs to it in one transaction."""

    def __init__(
        self,
        connections: Connections,
        backlog: Backlog,
        announcements: Announcements,
        batches: Batches,
        streams: Streams,
        *,
        now_ms: Callable[[], int],
        lane_of: Callable[[NewItem, NewJob], Lane],
        on_queued: Callable[[], None],
    ) -> None:
        """Lean on the store's other parts. `on_queued` is called when an item may be claimed."""
        self._connections = connections
        self._backlog = backlog
        self._announcements = announcements
        self._batches = batches
        self._streams = streams
        self._now_ms = now_ms
        self._lane_of = lane_of
        self._on_queued = on_queued

    # -- in one piece ------------------------------------------------------------------------

    async def submit(self, new: NewJob) -> Submitted:
        """See `JobStore.submit`."""
        passing = sum(new.passes(item) for item in new.items)
        counts = Counts(queued=new.total_items - passing, succeeded=passing)
        ahead = self._backlog.enter(new.client, counts.queued)

        def work(tx: Tx) -> Submitted:
            if earlier := _earlier(tx, new):
                return earlier
            own = OwnAsides.of(tx, new)
            return self._insert(tx, own.job, counts, ahead, own)

        return await self._counted(work, new.client, counts.queued)

    def _insert(
        self, tx: Tx, new: NewJob, counts: Counts, ahead: int, asides: OwnAsides
    ) -> Submitted:
        job_id, now_ms = new_id("job"), self._now_ms()
        [row] = run(
            tx.db,
            "insert_job",
            id=job_id,
            client=new.client,
            status=job_status(counts),
            steps=rows.dump_steps(new.steps),
            join_at=new.join_at,
            tag=new.tag,
            metadata=rows.dump(new.metadata),
            queued=counts.queued,
            succeeded=counts.succeeded,
            retention_ms=int(new.retention_s * 1000),
            now_ms=now_ms,
            started_ms=now_ms if counts.succeeded else None,
            pace=new.pace,
            stops=new.stops,
        )
        job_pk = row["pk"]
        asides.insert(tx, job_pk, now_ms)
        self._announcements.set_webhook(tx, job_pk, new.webhook)
        for index, item in enumerate(new.items):
            # Round robin between clients for the price of one integer: an item waits behind
            # as many of its own client's as are unfinished, and behind no others.
            priority = -(ahead + index)
            self._insert_item(tx, new, job_pk, index, item, priority=priority, now_ms=now_ms)
        if new.join_at is not None:
            lane = JOIN_LANE if counts.queued == 1 else HELD
            priority = -(ahead + counts.queued - 1)
            self._insert_join(tx, new, job_pk, lane, index=len(new.items), priority=priority)
        return self._submitted(tx, new, job_pk, job_id)

    # -- a part at a time --------------------------------------------------------------------

    @asynccontextmanager
    async def receiving(self, client: str, *, dedupe: bool) -> AsyncIterator[Incoming]:
        """See `JobStore.receiving`."""
        job_pk = await self._connections.write(self._streams.open)
        try:
            ahead = self._backlog.unfinished[client]
            yield _Stream(self, job_pk, ahead=ahead, dedupe=dedupe)
        finally:
            self._streams.close(job_pk)

    async def add(
        self, job_pk: int, items: Sequence[NewItem], *, at: int, ahead: int, dedupe: bool
    ) -> None:
        """Write some more items of a job that is being received, behind `at` others."""
        self._backlog.check(at + len(items))
        add = partial(self._streams.add, job_pk=job_pk, ahead=ahead, dedupe=dedupe)
        await self._connections.write(partial(add, items=items, at=at))

    async def show(self, new: NewJob, job_pk: int, items: int) -> Submitted:
        """Make a received job its client's."""
        queued = items + (new.join_at is not None)
        ahead = self._backlog.enter(new.client, queued)

        def work(tx: Tx) -> Submitted:
            if earlier := _earlier(tx, new):
                return earlier
            own = OwnAsides.of(tx, new)
            job_id = self._streams.show(tx, job_pk, own.job, queued=queued)
            own.insert(tx, job_pk, self._now_ms())
            self._announcements.set_webhook(tx, job_pk, new.webhook)
            if new.join_at is not None:
                priority = -(ahead + items)
                self._insert_join(tx, new, job_pk, HELD, index=items, priority=priority)
            return self._submitted(tx, new, job_pk, job_id)

        return await self._counted(work, new.client, queued)

    # -- both --------------------------------------------------------------------------------

    async def _counted(
        self, work: Callable[[Tx], Submitted], client: str, queued: int
    ) -> Submitted:
        """Run a submission of items that are counted already; uncount them if it comes to nothing.

        A caller that is cancelled does not undo the submission, and so not the count.
        """

        def written(done: asyncio.Future[Submitted]) -> None:
            if done.cancelled() or done.exception() or not done.result().created:
                self._backlog.leave(client, queued)

        writing = asyncio.ensure_future(self._connections.write(work))
        writing.add_done_callback(written)
        return await asyncio.shield(writing)

    def _submitted(self, tx: Tx, new: NewJob, job_pk: int, job_id: str) -> Submitted:
        """Do what ends the submission of a job whose rows are there."""
        self._batches.release(tx, job_pk, pace=new.pace, released=0)
        if new.idempotency_key is not None:
            run(
                tx.db,
                "insert_key",
                client=new.client,
                key=new.idempotency_key,
                fingerprint=new.fingerprint,
                job_id=job_id,
                now_ms=self._now_ms(),
            )
        tx.after_commit(self._on_queued)
        [stored] = run(tx.db, "get_job", id=job_id)
        return Submitted(rows.job(stored), created=True)

    def _insert_item(
        self,
        tx: Tx,
        new: NewJob,
        job_pk: int,
        index: int,
        item: NewItem,
        *,
        priority: int,
        now_ms: int,
    ) -> None:
        file_id, source = item.file_id, item.upload
        if file_id is not None:
            source = _stored(tx, new.client, file_id)
        elif source is not None:
            file_id = files.insert(tx, new.client, source, now_ms, job_pk=job_pk)
        passes = new.passes(item)
        [row] = run(
            tx.db,
            "insert_item",
            job_pk=job_pk,
            idx=index,
            status=ItemStatus.SUCCEEDED if passes else ItemStatus.QUEUED,
            priority=priority,
            name=(source.name if source else item.name) or "",
            file_id=file_id,
            **rows.blob_columns(source.blob if source else None),
            url=item.url,
            headers=rows.dump(dict(item.headers)) if item.headers else None,
            joins=False,
            ended_ms=now_ms if passes else None,
            broken=rows.dump_problem(item.problem) if item.problem else None,
            **self._batches.columns(tx, new, job_pk, item, self._lane_of(item, new)),
        )
        item_pk = row["pk"]
        self._announcements.set_store(tx, item_pk, item.store)
        if passes and source is not None:
            files.insert(tx, new.client, source, now_ms, job_pk=job_pk, item_pk=item_pk, position=0)

    def _insert_join(
        self, tx: Tx, new: NewJob, job_pk: int, lane: str, *, index: int, priority: int
    ) -> None:
        nothing = dict.fromkeys(
            (
                *("file_id", "url", "headers"),
                *("sha256", "max_bytes", "twin_key", "twin_of", "broken"),
            )
        )
        [row] = run(
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
            **rows.blob_columns(None),
            **nothing,
        )
        self._announcements.set_store(tx, row["pk"], new.store)


class _Stream:
    """`Incoming`: one job on its way in."""

    def __init__(self, into: Submissions, job_pk: int, *, ahead: int, dedupe: bool) -> None:
        self._into = into
        self._add = partial(into.add, job_pk, ahead=ahead, dedupe=dedupe)
        self._job_pk = job_pk
        self._items = 0

    async def add(self, items: Sequence[NewItem]) -> None:
        """See `Incoming.add`."""
        await self._add(items, at=self._items)
        self._items += len(items)

    async def submit(self, new: NewJob) -> Submitted:
        """See `Incoming.submit`."""
        return await self._into.show(new, self._job_pk, self._items)


@dataclass(frozen=True, slots=True)
class OwnAsides:
    """A job whose steps name files of its own, and those files, not written yet."""

    job: NewJob
    files: dict[str, NamedBlob]
    """By id."""

    @classmethod
    def of(cls, tx: Tx, new: NewJob) -> OwnAsides:
        """Give a job files of its own for those that its client's steps name.

        Raises:
            InvalidParameter: the client has no such file.
        """
        steps, own = rows.dump_steps(new.steps), {}
        for file_id in new.asides:
            try:
                source = _stored(tx, new.client, file_id)
            except NotFound as error:
                raise InvalidParameter(
                    f"A step names a file that is not there. {error.detail}"
                ) from None
            own_id = new_id("file")
            own[own_id] = source
            # Nobody can guess an id, so that it stands nowhere else by chance.
            steps = steps.replace(json.dumps(file_id), json.dumps(own_id))
        return cls(replace(new, steps=rows.steps(steps)) if own else new, own)

    def insert(self, tx: Tx, job_pk: int, now_ms: int) -> None:
        """Write the files, as inputs of the job."""
        for file_id, source in self.files.items():
            files.insert(tx, self.job.client, source, now_ms, job_pk=job_pk, file_id=file_id)


def _earlier(tx: Tx, new: NewJob) -> Submitted | None:
    """Give the job that this idempotency key has made already."""
    if new.idempotency_key is None:
        return None
    key = {"client": new.client, "key": new.idempotency_key}
    for known in run(tx.db, "get_key", **key):
        job = run(tx.db, "get_job", id=known["job_id"])
        if not job:  # deleted since: the key is free again
            run(tx.db, "drop_key", **key)
        elif known["fingerprint"] != new.fingerprint:
            raise IdempotencyMismatch(
                "This Idempotency-Key was used with another request in the last 24 hours."
            )
        else:
            return Submitted(rows.job(job[0]), created=False)
    return None


def _stored(tx: Tx, client: str, file_id: str) -> NamedBlob:
    stored = run(tx.db, "get_file", id=file_id)
    if not stored or stored[0]["client"] != client:
        raise NotFound(f"There is no file {file_id!r}.")
    file = rows.file(stored[0])
    return NamedBlob(file.blob, file.name)
