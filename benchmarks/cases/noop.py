"""Items that do nothing: what the service itself takes for one, and the memory of a node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from benchmarks import deployment, load, memory
from benchmarks.bench import ROOT, Bench, Table, verdict
from benchmarks.cases import nodes
from benchmarks.deployment import Deployment
from benchmarks.exchanges import WAIT_S, job_done
from benchmarks.wire import Connection, multipart

POOLS = (1, 2, 4)
ITEMS_S = 2_000
MB = 1e6
TITLE = "noop: items that do nothing, sent with one job"


class Sent:
    """Sends items in one job, and knows how fast they ended once they were recorded."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.per_second = 0.0

    def __call__(self, running: Deployment) -> int:
        """Send them, and wait until all have ended."""
        mark = f"{time.time_ns()}"
        files = [(f"{number}.txt", f"{mark} {number}".encode()) for number in range(self.count)]
        job = asyncio.run(self._done(running, files))
        began, ended = (datetime.fromisoformat(job[at]) for at in ("created_at", "finished_at"))
        self.per_second = self.count / max(0.001, (ended - began).total_seconds())
        return self.count

    async def _done(self, running: Deployment, files: list[tuple[str, bytes]]) -> dict[str, Any]:
        async with asyncio.timeout(load.LIMIT_S), Connection(running.door.port) as connection:
            target = f"/v1/noop?wait={WAIT_S}"
            made = await connection.request("POST", target, multipart(files), keep=True)
            return await job_done(connection, made)


def run(bench: Bench) -> list[Table]:
    """Measure them with so many worker processes, embedded and shared."""
    count = bench.size(20_000, 50)
    rows, held, reached = [], [], []
    for name, way in _ways(bench, count):
        with way as running:
            bench.say(name)
            rest = nodes.at_rest(running, bench.size(6.0, 0.1))
            held.append([f"{name}, at rest", *_memory(running)])
            work = Sent(count)
            row = nodes.measured(name, running, work, rest, Sent(max(1, count // 10)))
            rows.append([*row[:2], f"{work.per_second:.0f}", *row[2:]])
            held.append([f"{name}, after it", *_memory(running)])
            reached.append((work.per_second, name))
    shared = [one for one in reached if "node" in one[1]]
    best, name = max(shared)
    notes = (
        (
            f"{count} files of some 20 bytes, one job; CPU of an item as in `nodes`. The first rate"
            " has the upload in it, the second is from the job's record to its end."
        ),
        "",
        verdict(
            f"{ITEMS_S} items/s that do nothing, nodes sharing a database",
            f"{best:.0f} ({name}), recorded to ended",
            met=best >= ITEMS_S,
        ),
    )
    columns = ("deployment", "/s, all", "/s, from its record", *nodes.COLUMNS[2:])
    said = (
        (
            "Resident memory of the first process of each node; of their worker processes all"
            " together, shared pages divided among those who share them."
        ),
    )
    return [
        Table(TITLE, columns, rows, notes),
        Table("noop: memory of nodes", ("when", "api MB", "work MB", "pool MB"), held, said),
    ]


def _ways(bench: Bench, count: int) -> Iterator[tuple[str, AbstractContextManager[Deployment]]]:
    more = {
        "PYTHONPATH": str(ROOT / "benchmarks" / "noop"),
        "OFFLOAD_UPLOAD_MAX_FILES": str(count),
        "OFFLOAD_JOBS_MAX_ITEMS": str(count),
    }
    yield "embedded, pool of 2", deployment.embedded(bench, 2, more)
    for pool in POOLS:
        yield f"1 + 1 nodes, pool of {pool}", deployment.shared(bench, 1, pool, more=more)


def _memory(running: Deployment) -> list[str]:
    """Give the memory of the nodes' first processes, and of all that these have started."""
    taking, working = (
        sum(memory.rss_bytes(one.pid) for one in some) for some in (running.doors, running.workers)
    )
    both = (*running.doors, *running.workers)
    pool = sum(memory.tree_pss_bytes(one.pid) - memory.pss_bytes(one.pid) for one in both)
    return [f"{size / MB:.0f}" for size in (taking, working, pool)]
