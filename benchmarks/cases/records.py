"""Durable records: commits shared by many callers, and look-ups on the event loop.

Writing: the same rules on the same database, `synchronous=FULL` both times; only how many calls may
share a transaction, and so an fsync, differs. Reading: the same statement, run where the event loop
runs and handed to a reading thread.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from app.model.blobs import Blob, NamedBlob
from app.model.chunks import Done, Ended
from app.model.jobs import NewItem, NewJob, Step
from app.records import intake, nodes, outcome, queue, reading
from app.stores import writer
from app.stores.sqlite import SqliteDatabase
from benchmarks import stats
from benchmarks.bench import Bench, Table

CALLERS = (1, 64)
NODE, MOST = "bench", 1_000_000
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
    done = Done((result,), {"compress": {"ratio": 2.0}})
    async with _opened(folder) as database:

        async def caller() -> None:
            for _ in range(count // callers):
                await database.write(intake.submit, NEW, MOST)
                for chunk in await database.write(queue.take, NODE, "cpu", 1):
                    ended = [Ended(claim, done) for claim in chunk.claims]
                    if not await database.write(outcome.finish, NODE, ended, [chunk]):
                        raise RuntimeError("A claim was void.")

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return count // callers * callers / (time.perf_counter() - started)


@asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(folder / "records.db")
    await database.open()
    await database.write(nodes.join, NODE, frozenset({"work"}))
    try:
        yield database
    finally:
        await database.close()


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


async def _here(database: SqliteDatabase, job_id: str) -> None:
    await database.look(reading.get_job, job_id)


async def _in_thread(database: SqliteDatabase, job_id: str) -> None:
    await database.read(reading.get_job, job_id)


def _micros(
    folder: Path, count: int, look_up: Callable[[SqliteDatabase, str], Awaitable[None]]
) -> float:
    async def timed(own: Path) -> float:
        async with _opened(own) as database:
            made = [await database.write(intake.submit, NEW, MOST) for _ in range(count)]
            ids = [submitted.job.id for submitted in made]
            await look_up(database, ids[0])  # opens the connection of whoever reads
            started = time.perf_counter()
            for job_id in ids:
                await look_up(database, job_id)
            return (time.perf_counter() - started) / count * 1e6

    with tempfile.TemporaryDirectory(dir=folder) as own:
        return asyncio.run(timed(Path(own)))
