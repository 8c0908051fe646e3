"""Durable records: commits shared by many callers against a commit for each call.

The same statements on the same store (`app/jobs/`), `synchronous=FULL` both times; only how many
calls may share a transaction, and so an fsync, differs.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

from app.jobs import writer
from app.jobs.base import JobSettings
from app.jobs.sqlite import SqliteJobStore
from app.model import Blob, Done, NamedBlob, NewItem, NewJob, Step
from benchmarks import stats
from benchmarks.bench import Bench, Table

CALLERS = (1, 64)


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
    return [Table("records: group commit, SQLite, synchronous=FULL", columns, rows)]


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
    store = SqliteJobStore(
        folder / "records.db",
        JobSettings(),
        clock=partial(datetime.now, UTC),
        lane_of=lambda _item, _job: "cpu",
        on_queued=lambda: None,
    )
    await store.open()
    source = NamedBlob(Blob("0" * 64, 1000, "text/plain"), "a.txt")
    result = NamedBlob(Blob("1" * 64, 500, "application/gzip"), "a.txt.gz")
    outcome = Done((result,), {"compress": {"ratio": 2.0}})
    new = NewJob("bench", (Step("compress"),), (NewItem(upload=source),), retention_s=3600)

    async def caller() -> None:
        for _ in range(count // callers):
            await store.submit(new)
            for claim in await store.claim("cpu", 1):
                if not await store.finish(claim, outcome):
                    raise RuntimeError("A claim was void.")

    try:
        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return count // callers * callers / (time.perf_counter() - started)
    finally:
        await store.close()
