"""The running parts, built in order on one exit stack and handed down; no globals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from app.blobs.base import BlobStore
from app.blobs.disk import DiskBlobStore
from app.blobs.unrecorded import Unrecorded
from app.cpu import CpuPool
from app.errors import StorageError
from app.keys import Keyring
from app.model.deliveries import Delivery
from app.model.jobs import Job
from app.nodes import machine
from app.nodes.folder import (
    BLOBS,
    DATABASE,
    Held,
    check_without_bucket,
    check_without_records,
    hold,
    tie,
    tie_bucket,
)
from app.nodes.node import Node
from app.nodes.waiting import Waiters, watch
from app.ops.base import Limits, Offered
from app.ops.registry import load_offered
from app.outbound.fetch import Fetcher
from app.outbound.remotes import Remotes
from app.queues.base import Engine
from app.records import files, outbox, reading, topics
from app.settings import Settings
from app.stores.base import Database
from app.stores.sqlite import SqliteDatabase
from app.submissions import Submissions
from app.tasks import cancel

if TYPE_CHECKING:
    from app.blobs.objects import ObjectBlobStore
    from app.stores.postgres import PostgresDatabase

LargeBytes: TypeAlias = "DiskBlobStore | ObjectBlobStore"
"""Where large bodies are kept."""

TIED_WITHIN_S = 2.0
TIE_LOOK_S = 0.1


@dataclass(slots=True)
class Runtime:
    """What a request handler and the work go by."""

    settings: Settings
    keys: Keyring
    operations: Mapping[str, Offered]
    database: Database
    node: Node
    blobs: BlobStore
    cpu: CpuPool
    fetcher: Fetcher
    reader: Executor
    """One thread, for what would hold up the event loop: understanding large documents."""
    submissions: Submissions
    changes: Waiters
    ends: Waiters
    deliveries: Waiters
    """Those who wait for a change of a job, for its end, and for the end of a delivery."""
    engine: Engine | None = None
    """What hands chunks to this node; None where it looks for them itself."""
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the service is to end."""

    @property
    def item_limits(self) -> Limits:
        """What one item may use."""
        return self.settings.item_limits

    def unrecorded(self) -> Unrecorded:
        """Give what stores bytes that records are to name before it is left; others go."""
        return Unrecorded(self.blobs, self._abandon)

    async def _abandon(self, keys: list[str]) -> None:
        await self.database.note(files.abandon, keys)

    def leave(self) -> None:
        """Let the requests that wait for something have it as it is: the service is to end."""
        self.leaving.set()
        for waiters in (self.changes, self.ends, self.deliveries):
            waiters.let_go()

    async def changed(self, job_id: str, since: int, timeout_s: float) -> Job | None:
        """Give the job as soon as its `seq` is above `since`, or as it is after `timeout_s`."""
        return await self.changes.until(job_id, self._job, lambda job: job.seq > since, timeout_s)

    async def ended(self, job_id: str, timeout_s: float, *, is_new: bool = False) -> Job | None:
        """Give the job as soon as it is done or deleted, or as it is after `timeout_s`.

        With `is_new` it was submitted here a moment ago.
        """
        return await self.ends.until(
            job_id, self._job, lambda job: job.status.done, timeout_s, is_new=is_new
        )

    async def _job(self, job_id: str) -> Job | None:
        return await self.database.look(reading.get_job, job_id)

    async def delivered(self, delivery_id: str, timeout_s: float) -> Delivery | None:
        """Give a delivery as soon as it is delivered or dead, or as it is after `timeout_s`."""
        return await self.deliveries.until(
            delivery_id, self._delivery, lambda delivery: delivery.status.done, timeout_s
        )

    async def _delivery(self, delivery_id: str) -> Delivery | None:
        return await self.database.look(outbox.get, delivery_id)


def database_of(settings: Settings) -> SqliteDatabase | PostgresDatabase:
    """Give the database that the settings name, not opened yet."""
    if settings.database_url is None:
        return SqliteDatabase(settings.data_dir / DATABASE)
    from app.queues import pgqueuer
    from app.stores.postgres import PostgresDatabase
    from app.stores.postgres_link import Messages

    messages = Messages(pgqueuer.install, pgqueuer.send)
    return PostgresDatabase(settings.database_url.get_secret_value(), messages=messages)


def _engine_of(settings: Settings, database: Database) -> Engine | None:
    if settings.database_url is None or "work" not in settings.roles:
        return None
    from app.queues.pgqueuer import PgQueuerEngine

    return PgQueuerEngine(settings.database_url.get_secret_value(), database)


def held_folder(settings: Settings) -> AbstractContextManager[Held]:
    """Use the data folder; PostgreSQL is brought up to date under a lock of its own."""
    if settings.database_url is None:
        return hold(settings.data_dir, settings.roles)
    check_without_records(settings.data_dir)
    return hold(settings.data_dir, settings.roles, up_to_date=lambda _: True)


async def _tie(
    settings: Settings,
    database: SqliteDatabase | PostgresDatabase,
    blobs: LargeBytes,
) -> None:
    """Tie the records to where large bodies are. Raises as `tie` does."""
    folder = settings.data_dir
    if isinstance(database, SqliteDatabase):
        if isinstance(blobs, DiskBlobStore):
            check_without_bucket(folder)
        else:
            tied = partial(tie_bucket, folder)
            await _tie_to_bucket(settings, f"OFFLOAD_DATA_DIR {folder}", tied, blobs)
    else:
        await tie_postgres(settings, database.tie, blobs)


async def tie_postgres(
    settings: Settings, tied: Callable[[str, bool], bool], blobs: LargeBytes
) -> None:
    """Tie a PostgreSQL database, by its `tied`, to where large bodies are. Raises as `tie` does."""
    if isinstance(blobs, DiskBlobStore):
        await asyncio.to_thread(tie, settings.data_dir, tied)
    else:
        await _tie_to_bucket(settings, "OFFLOAD_DATABASE_URL", tied, blobs)


async def _tie_to_bucket(
    settings: Settings, records: str, tied: Callable[[str, bool], bool], blobs: ObjectBlobStore
) -> None:
    name, is_new = await blobs.identity()
    give_up_at = time.monotonic() + TIED_WITHIN_S
    while not await asyncio.to_thread(tied, name, is_new):
        # Another node of these records may have made the name, and be about to tie them.
        if time.monotonic() > give_up_at:
            raise StorageError(
                f"The database of {records} does not belong to OFFLOAD_STORAGE_URL "
                f"{settings.storage.url}: use the two that were first used together, or empty ones."
            )
        await asyncio.sleep(TIE_LOOK_S)


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Open every part; close them in reverse order, whatever happened.

    Raises:
        StorageError: the data folder cannot be used, or another service uses it.
    """
    keys = Keyring(settings.api_keys, settings.api_keys_file)
    blobs, database = blobs_of(settings), database_of(settings)
    cpu = CpuPool(settings.pool)
    tells = partial(_told, settings, cpu)
    node = Node(database, settings.roles, alone=not settings.shared, tells=tells)
    async with AsyncExitStack() as stack:
        held = stack.enter_context(held_folder(settings))
        for part in (blobs, database):
            await part.open()
            stack.push_async_callback(part.close)
        await _tie(settings, database, blobs)
        held.share()
        if "work" in settings.roles:
            await cpu.open()
            stack.push_async_callback(cpu.close)
        await stack.enter_async_context(node)
        changes = Waiters(database, topics.JOB, reading.seqs, attrgetter("seq"))
        ends = Waiters(database, topics.OVER, reading.seqs)
        deliveries = Waiters(database, topics.SETTLED, outbox.settled_of)
        others_commit = settings.shared or "work" not in settings.roles
        looking = watch((changes, ends, deliveries), hasty=others_commit)
        watching = asyncio.create_task(looking)
        stack.push_async_callback(cancel, watching)
        fetcher = await stack.enter_async_context(
            Fetcher(settings.fetch, Remotes(settings.all_remotes), now=node.now)
        )
        reader = stack.enter_context(ThreadPoolExecutor(1, "reader"))
        yield Runtime(
            settings,
            keys,
            load_offered(),
            database,
            node,
            blobs,
            cpu,
            fetcher,
            reader,
            Submissions(database, settings.jobs.max_unfinished_items),
            changes,
            ends,
            deliveries,
            _engine_of(settings, database),
        )


def _told(settings: Settings, cpu: CpuPool) -> dict[str, Any]:
    """Give what this node says of itself."""
    works = "work" in settings.roles
    workers = {"workers": cpu.workers * works, "workers_busy": cpu.busy * works}
    floor = {"disk_floor_bytes": settings.blobs.min_free_bytes}
    return workers | floor | machine.told(settings.data_dir)


def blobs_of(settings: Settings) -> LargeBytes:
    """Give where the settings want large bodies kept."""
    root = settings.data_dir / BLOBS
    if not settings.storage.url:
        return DiskBlobStore(root, settings.blobs)
    from app.blobs.objects import ObjectBlobStore

    try:
        return ObjectBlobStore(root, settings.blobs, settings.storage)
    except ValueError as error:
        raise StorageError(str(error)) from error
