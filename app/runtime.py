"""The running parts, built in order on one exit stack and handed down; no globals."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from app.blobs.base import BlobStore
from app.blobs.disk import DiskBlobStore
from app.blobs.unrecorded import Unrecorded
from app.cpu import CpuPool
from app.engines.base import Engine
from app.engines.local import LocalEngine
from app.errors import StorageError
from app.jobs.base import JobStore
from app.jobs.database import refuse_unusable
from app.jobs.outbox import Outbox
from app.jobs.sqlite import SqliteJobStore
from app.keys import Keyring
from app.model import Lane, NewItem, NewJob
from app.ops.base import Limits, Operation
from app.ops.registry import load_operations
from app.outbound.fetch import Fetcher
from app.settings import Settings

DATABASE = "offload.db"
BLOBS = "blobs"
OBJECTS = Path(BLOBS, "objects")
"""What there is in a data folder."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a request handler and the runner work with."""

    settings: Settings
    keys: Keyring
    operations: Mapping[str, Operation]
    jobs: JobStore
    outbox: Outbox
    blobs: BlobStore
    cpu: CpuPool
    fetcher: Fetcher
    engine: Engine
    reader: Executor
    """One thread, for what would hold up the event loop: understanding large documents."""
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the service is to end."""

    @property
    def item_limits(self) -> Limits:
        """What one item may use."""
        item = self.settings.item
        return Limits(
            time_s=item.timeout_s,
            max_pixels=item.max_pixels,
            max_output_bytes=item.max_output_bytes,
            max_files=item.max_files,
            min_free_bytes=self.settings.blobs.min_free_bytes,
        )

    def unrecorded(self) -> Unrecorded:
        """Give what stores bytes that records are to name before it is left; others go."""
        return Unrecorded(self.blobs, self.jobs.abandon)

    def leave(self) -> None:
        """Let the requests that wait for something have it as it is: the service is to end."""
        self.leaving.set()
        self.jobs.let_go()
        self.outbox.let_go()

    async def cancel_job(self, job_id: str) -> None:
        """Cancel what is unfinished of a job, in the records and on this node's workers."""
        self.engine.cancel(await self.jobs.cancel(job_id))

    async def delete_job(self, job_id: str) -> None:
        """Cancel what is unfinished of a job and remove all of it."""
        self.engine.cancel(await self.jobs.delete_job(job_id))


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Open every part; close them in reverse order, whatever happened.

    Raises:
        StorageError: the data folder cannot be used, or another service uses it.
    """
    keys = Keyring(settings.api_keys, settings.api_keys_file)
    operations = load_operations()
    engine = LocalEngine()
    blobs = DiskBlobStore(settings.data_dir / BLOBS, settings.blobs)
    jobs = SqliteJobStore(
        settings.data_dir / DATABASE,
        settings.jobs,
        clock=partial(datetime.now, UTC),
        lane_of=partial(lane_of, operations),
        on_queued=engine.wake,
        on_canceled=engine.cancel,
    )
    cpu = CpuPool(settings.pool)
    async with AsyncExitStack() as stack:
        stack.enter_context(sole_user_of(settings.data_dir))
        for part in (blobs, jobs, cpu):
            await part.open()
            stack.push_async_callback(part.close)
        fetcher = await stack.enter_async_context(Fetcher(settings.fetch))
        reader = stack.enter_context(ThreadPoolExecutor(1, "reader"))
        yield Runtime(
            settings, keys, operations, jobs, jobs.outbox, blobs, cpu, fetcher, engine, reader
        )


def lane_of(operations: Mapping[str, Operation], item: NewItem, job: NewJob) -> Lane:
    """Tell which slots an item waits for: by what its first step does with it."""
    first = next((step for step in job.steps if step.op != "fetch" or item.url is not None), None)
    return "cpu" if first and operations[first.op].runs == "process" else "io"


def check_data_dir(data_dir: Path) -> None:
    """See before a start that the data folder can be used.

    Raises:
        StorageError: it cannot, or another service uses it; with a sentence for the operator.
    """
    with sole_user_of(data_dir):
        path = data_dir / DATABASE
        if path.exists() and path.stat().st_size:
            refuse_unusable(path)
        elif next((data_dir / OBJECTS).glob("*/*"), None):
            # Taken for new, it would have all of them removed as orphans.
            raise StorageError(
                f"OFFLOAD_DATA_DIR {data_dir} has stored bytes, and its database {DATABASE} is "
                "missing or empty. Restore a backup, or remove the bytes too to start anew."
            )


@contextmanager
def sole_user_of(data_dir: Path) -> Iterator[None]:
    """Hold the data folder: a second service on it would take the first one's work for orphaned."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("w")
    except OSError as error:
        raise StorageError(f"OFFLOAD_DATA_DIR {data_dir} cannot be used: {error}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"Another service runs on OFFLOAD_DATA_DIR {data_dir}; give this one its own."
            ) from error
        yield
