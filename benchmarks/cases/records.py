"""Durable records: commits shared by many callers, and look-ups on the event loop.

Writing: the same statements on the same store (`app/jobs/`), `synchronous=FULL` both times; only
how many calls may share a transaction, and so an fsync, differs. Reading: the same statement, run
where the event loop runs and handed to a reading thread.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

from app.jobs import database, writer
from app.jobs.base import JobSettings
from app.jobs.connections import Connections
from app.jobs.sqlite import SqliteJobStore
from app.model import Blob, Done, NamedBlob, NewItem, NewJob, Step
from benchmarks import stats
from benchmarks.bench import Bench, Table

CALLERS = (1, 64)
SOURCE = NamedBlob(Blob("0" * 32, 1000, "text/plain", "0" * 64), "a.txt")
NEW = NewJob("bench", (Step("compress"),), (NewItem(upload=SOURCE),), retention_s=3600)


def run(bench: Bench) -> list[Table]:
    rows = []
    for callers in CALLERS:
        count = bench.size(2_000 if callers == 1 else 10_000, 200)
        results = bench.alternate(
            {
                f"{how}, {callers} callers": partial(
                    _rate, bench.folder, callers, count, per_commit
                )
                for how, per_commit in (
                    ("a transaction for each call", 1),
                    (
                        f"up to {writer.MAX_CALLS_PER_COMMIT} calls a commit",
                        writer.MAX_CALLS_PER_COMMIT,
                    ),
                )
            }
        )
        alone = next(iter(results.values()))
        rows += [
            [
                name,
                f"{median(found):.0f}",
                f"{stats.ratio(found, alone):.2f}x",
                f"{stats.spread(found):.0%}",
            ]
            for name, found in results.items()
        ]
    columns = ("durable submit + claim + finish", "cycles/s", "to one each", "spread")
    return [
        Table("records: group commit, SQLite, synchronous=FULL", columns, rows),
        _look_ups(bench),
    ]


def _rate(folder: Path, callers: int, count: int, per_commit: int) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as own, _calls_per_commit(per_commit):
        return asyncio.run(_cycles(Path(own), callers, count))


@contextmanager
def _calls_per_commit(number: int) -> Iterator[None]:
    kept = writer.MAX_CALLS_PER_COMMIT
    writer.MAX_CALLS_PER_COMMIT = number
    try:
        yield
    finally:
        writer.MAX_CALLS_PER_COMMIT = kept


async def _cycles(folder: Path, callers: int, count: int) -> float:
    result = NamedBlob(Blob("1" * 32, 500, "application/gzip", "1" * 64), "a.txt.gz")
    outcome = Done((result,), {"compress": {"ratio": 2.0}})
    async with _store(folder) as store:

        async def caller() -> None:
            for _ in range(count // callers):
                await store.submit(NEW)
                for claim in await store.claim("cpu", 1):
                    if not await store.finish(claim, outcome):
                        raise RuntimeError("A claim was void.")

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return count // callers * callers / (time.perf_counter() - started)


@asynccontextmanager
async def _store(folder: Path) -> AsyncIterator[SqliteJobStore]:
    store = SqliteJobStore(
        folder / "records.db",
        JobSettings(),
        clock=partial(datetime.now, UTC),
        lane_of=lambda _item, _job: "cpu",
        on_queued=lambda: None,
    )
    await store.open()
    try:
        yield store
    finally:
        await store.close()


# -- look-ups ------------------------------------------------------------------------------------


def _look_ups(bench: Bench) -> Table:
    count = bench.size(2_000, 100)
    results = bench.alternate(
        {
            name: partial(_micros, bench.folder, count, how)
            for name, how in (
                ("on the event loop", _here),
                ("in a reading thread, and back", _in_thread),
            )
        }
    )
    first = next(iter(results.values()))
    rows = [
        [name, f"{median(found):.0f}", f"{stats.ratio(found, first):.1f}x"]
        for name, found in results.items()
    ]
    title = f"records: {count} jobs looked up by key, one after the other"
    return Table(title, ("where", "us each", "to the loop"), rows)


async def _here(connections: Connections, job_id: str) -> None:
    connections.look_up("get_job", id=job_id)


async def _in_thread(connections: Connections, job_id: str) -> None:
    await connections.read(lambda db: database.run(db, "get_job", id=job_id))


def _micros(
    folder: Path, count: int, look_up: Callable[[Connections, str], Awaitable[None]]
) -> float:
    async def timed(own: Path) -> float:
        async with _store(own) as store:
            ids = [(await store.submit(NEW)).job.id for _ in range(count)]
            connections = Connections(own / "records.db")
            await connections.open()
            await look_up(connections, ids[0])  # opens the connection of whoever reads
            started = time.perf_counter()
            for job_id in ids:
                await look_up(connections, job_id)
            taken_s = time.perf_counter() - started
            await connections.close()
            return taken_s / count * 1e6

    with tempfile.TemporaryDirectory(dir=folder) as own:
        return asyncio.run(timed(Path(own)))
