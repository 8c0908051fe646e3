"""The embedded job store: SQLite in WAL mode, put together from one part a subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from pathlib import Path

from app.jobs import files, reading, rows, versions
from app.jobs.announcements import Announcements
from app.jobs.backlog import Backlog
from app.jobs.base import Incoming, JobSettings, Submitted
from app.jobs.batches import Batches
from app.jobs.changes import Changes
from app.jobs.connections import Connections
from app.jobs.database import STATEMENTS, run
from app.jobs.ending import Ending
from app.jobs.running import Running
from app.jobs.sqlite_outbox import SqliteOutbox
from app.jobs.streams import Streams
from app.jobs.submitting import Submissions
from app.model import (
    Claim,
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
)

FEW_ROWS = 20
"""Up to so many items are read on the event loop: what a poll of a small job shows."""


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
        self._clock = clock
        now_ms = self._now_ms
        announcements, batches, streams = Announcements(now_ms), Batches(on_queued), Streams(now_ms)
        self._connections = connections = Connections(path)
        self._backlog = backlog = Backlog(settings.max_unfinished_items)
        self._changes = changes = Changes(announcements, on_queued)
        self._read, self._write = connections.read, connections.write
        self._submissions = Submissions(
            connections,
            backlog,
            announcements,
            batches,
            streams,
            now_ms=now_ms,
            lane_of=lane_of,
            on_queued=on_queued,
        )
        self._ending = Ending(
            connections,
            changes,
            announcements,
            streams,
            backlog,
            now_ms=now_ms,
            on_canceled=on_canceled,
        )
        self._running = Running(
            changes,
            announcements,
            batches,
            backlog,
            self._ending,
            now_ms=now_ms,
            on_queued=on_queued,
        )
        self.outbox = SqliteOutbox(connections, announcements, changes, now_ms)

    async def open(self) -> None:
        """Create or migrate the database and start the threads."""
        await self._connections.open()
        for row in await self._read(lambda db: run(db, "unfinished_by_client")):
            self._backlog.unfinished[row["client"]] = row["n"]

    async def close(self) -> None:
        """Finish the writes that were asked for, then stop."""
        await self._ending.stop()
        await self._connections.close()

    def _now_ms(self) -> int:
        return rows.to_ms(self._clock())

    # -- submitting --------------------------------------------------------------------------

    def check_backlog(self, items: int = 1) -> None:
        """See `JobStore.check_backlog`."""
        self._backlog.check(items)

    async def submit(self, new: NewJob) -> Submitted:
        """See `JobStore.submit`."""
        return await self._submissions.submit(new)

    def receiving(self, client: str, *, dedupe: bool) -> AbstractAsyncContextManager[Incoming]:
        """See `JobStore.receiving`."""
        return self._submissions.receiving(client, dedupe=dedupe)

    # -- reading -----------------------------------------------------------------------------

    async def get_job(self, job_id: str) -> Job | None:
        """See `JobStore.get_job`."""
        found = self._connections.look_up("get_job", id=job_id)
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
        read = partial(
            reading.list_jobs, client=client, status=status, tag=tag, cursor=cursor, limit=limit
        )
        return await self._read(read)

    async def list_items(
        self,
        job_id: str,
        *,
        status: ItemStatus | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> tuple[list[Item], str | None]:
        """See `JobStore.list_items`."""
        read = partial(reading.list_items, job_id=job_id, status=status, cursor=cursor, limit=limit)
        if limit <= FEW_ROWS:
            return self._connections.read_here(read)
        return await self._read(read)

    async def items_since(
        self, job_id: str, after: tuple[int, int], limit: int = 500
    ) -> list[Item]:
        """See `JobStore.items_since`."""
        read = partial(reading.items_since, job_id=job_id, after=after, limit=limit)
        return await self._read(read)

    async def changed(self, job_id: str, since: int, timeout_s: float) -> Job | None:
        """See `JobStore.changed`."""
        waiting = self._changes.waiting
        return await waiting.until(job_id, self.get_job, lambda job: job.seq > since, timeout_s)

    async def ended(self, job_id: str, timeout_s: float) -> Job | None:
        """See `JobStore.ended`."""
        waiting = self._changes.awaiting_end
        return await waiting.until(job_id, self.get_job, lambda job: job.status.done, timeout_s)

    def let_go(self) -> None:
        """See `JobStore.let_go`."""
        self._changes.waiting.let_go()
        self._changes.awaiting_end.let_go()

    # -- running -----------------------------------------------------------------------------

    async def claim(self, lane: Lane, limit: int) -> list[Claim]:
        """See `JobStore.claim`."""
        return await self._write(partial(self._running.claim, lane=lane, limit=limit))

    async def began(self, begun: Iterable[tuple[Claim, float]]) -> None:
        """See `JobStore.began`."""
        told = tuple(begun)
        await self._write(partial(self._running.began, begun=told))

    async def finish(self, claim: Claim, outcome: Outcome, worked_s: float = 0.0) -> bool:
        """See `JobStore.finish`."""
        ending = partial(self._running.finish, claim=claim, outcome=outcome, worked_s=worked_s)
        return await self._write(ending)

    async def tell(self, progress: Iterable[tuple[Claim, Progress]]) -> None:
        """See `JobStore.tell`."""
        told = tuple(progress)
        await self._write(partial(self._running.tell, progress=told))

    async def release(self, claims: Iterable[Claim]) -> None:
        """See `JobStore.release`."""
        given_back = tuple(claims)
        await self._write(partial(self._running.release, given_back=given_back))

    async def recover(self) -> int:
        """See `JobStore.recover`."""
        return await self._write(self._running.recover)

    async def retry(self, job_id: str) -> Job | None:
        """See `JobStore.retry`."""
        job = await self.get_job(job_id)
        if job is None:
            return None
        self._backlog.check(job.counts.failed)
        return await self._write(partial(self._running.retry, job_id=job_id))

    # -- ending ------------------------------------------------------------------------------

    async def cancel(self, job_id: str) -> list[int]:
        """See `JobStore.cancel`."""
        return await self._write(partial(self._ending.cancel, job_id=job_id))

    async def delete_job(self, job_id: str) -> list[int]:
        """See `JobStore.delete_job`."""
        return await self._write(partial(self._ending.delete, job_id=job_id))

    async def purge(self) -> bool:
        """See `JobStore.purge`."""
        return await self._write(self._ending.purge)

    # -- files, versions ---------------------------------------------------------------------

    async def add_file(self, client: str, blob: NamedBlob, retention_s: float) -> File:
        """See `JobStore.add_file`."""
        return await self._write(
            lambda tx: files.add(tx, client, blob, retention_s, self._now_ms())
        )

    async def get_file(self, file_id: str) -> File | None:
        """See `JobStore.get_file`."""
        found = self._connections.look_up("get_file", id=file_id)
        return rows.file(found[0]) if found else None

    async def delete_file(self, file_id: str) -> None:
        """See `JobStore.delete_file`."""
        await self._write(lambda tx: run(tx.db, "delete_file", id=file_id))

    async def extend(self, file: File, retention_s: float) -> None:
        """See `JobStore.extend`."""
        await self._write(lambda tx: files.extend(tx, file, retention_s, self._now_ms()))

    async def remember(self, job_id: str, version: Version) -> None:
        """See `JobStore.remember`."""
        await self._write(lambda tx: versions.remember(tx, job_id, version, self._now_ms()))

    async def recall(self, job_id: str, key: bytes) -> Version | None:
        """See `JobStore.recall`."""
        return await self._read(lambda db: versions.recall(db, job_id, key))

    async def abandon(self, keys: Sequence[str]) -> None:
        """See `JobStore.abandon`."""
        loose = [{"blob": key} for key in keys]
        await self._write(lambda tx: tx.db.executemany(STATEMENTS["abandon"], loose))

    async def loose(self, limit: int = 500) -> list[str]:
        """See `JobStore.loose`."""
        taking = await self._write(lambda tx: run(tx.db, "take_loose_blobs", limit=limit))
        return [row["blob"] for row in taking]

    async def unreferenced(self, keys: Sequence[str]) -> list[str]:
        """See `JobStore.unreferenced`."""
        return await self._read(lambda db: reading.unreferenced(db, keys))

    async def check_writable(self) -> None:
        """See `JobStore.check_writable`."""
        await self._write(lambda tx: run(tx.db, "write_probe"))
