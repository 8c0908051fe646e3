"""Nodes that share a database, beside one process with SQLite: the rate, and whose CPU an item is.

What the model of larger deployments is fed with (`benchmarks/simulation/`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from benchmarks import corpus, deployment, exchanges, load
from benchmarks.bench import Bench, Table
from benchmarks.deployment import Deployment
from benchmarks.exchanges import job_done
from benchmarks.wire import Connection, multipart

KB = 1024
REST = "a second at rest"
IN_FLIGHT = 32
COLUMNS = (
    *("work, deployment", "/s", "api ms", "work ms", "pool ms"),
    *("PostgreSQL ms", "PostgreSQL KB"),
)
NOTE = (
    "CPU of one piece of work, beyond what a second takes at rest, and what its records take. "
    "api: the process that takes requests; work: those that run items, by themselves; pool: their "
    "worker processes. Embedded is one process for both, and SQLite is in it. Client, nodes, "
    "PostgreSQL and the bucket's server shared the machine's cores, so rates are of all of them "
    "together."
)
Work = Callable[[Deployment], int]
"""Has a deployment do something; gives how often."""


def run(bench: Bench) -> list[Table]:
    """Measure every kind of work on every deployment."""
    ways: dict[str, AbstractContextManager[Deployment]] = {
        "embedded": deployment.embedded(bench),
        "1 + 1 nodes": deployment.shared(bench, 1, 2),
        "1 + 2 nodes": deployment.shared(bench, 2, 1),
    }
    works = dict(_works(bench))
    rows = []
    for name, way in ways.items():
        with way as running:
            rest = at_rest(running, bench.size(10.0, 0.1))
            rows.append([f"{REST}: {name}", "", *(f"{1000 * s:.2f}" for s in rest.values()), ""])
            for kind, work in works.items():
                bench.say(f"{name}: {kind}")
                rows.append(measured(f"{kind}: {name}", running, work, rest))
    rows.sort(key=lambda row: [REST, *works].index(row[0].partition(":")[0]))
    return [Table("nodes: several that share a database", COLUMNS, rows, (NOTE,))]


def _works(bench: Bench) -> Iterator[tuple[str, Work]]:
    small = corpus.small_files(64, KB)
    pictures = corpus.photographs(bench.size(4, 1), 1632, 1224)
    posted = exchanges.offload("/v1/compress", small, "a")
    resized = exchanges.offload("/v1/images?width=400&height=300", pictures, "a.jpg")
    many = corpus.small_files(bench.size(5_000, 50), KB)
    yield "jobs of 1 KB, 32 in flight", in_flight(posted, IN_FLIGHT, bench.size(6.0, 0.3))
    yield "items of 1 KB, sent with one job", lambda running: _one_job(running, many)
    yield "2 MP to 400x300, 8 in flight", in_flight(resized, 8, bench.size(6.0, 0.3))


def in_flight(exchange: exchanges.Exchange, clients: int, seconds: float) -> Work:
    """Give what keeps so many pieces of work going."""

    def work(running: Deployment) -> int:
        return len(load.run(running.door.port, exchange, clients, seconds=seconds).latencies_ms)

    return work


def _one_job(running: Deployment, files: Sequence[bytes]) -> int:
    mark = b"%020d\n" % time.time_ns()
    body = multipart([(f"{number}.json", mark + data) for number, data in enumerate(files)])

    async def once() -> None:
        async with asyncio.timeout(load.LIMIT_S), Connection(running.door.port) as connection:
            target = f"/v1/compress?wait={exchanges.WAIT_S}"
            await job_done(connection, await connection.request("POST", target, body, keep=True))

    asyncio.run(once())
    return len(files)


def at_rest(running: Deployment, seconds: float) -> dict[str, float]:
    """Give the seconds of CPU that each part takes in a second without work."""
    time.sleep(seconds / 2)  # what the start left to do
    before, began = running.cpu_s(), time.perf_counter()
    time.sleep(seconds)
    lasted_s = time.perf_counter() - began
    after = running.cpu_s()
    return {part: max(0.0, after[part] - before[part]) / lasted_s for part in after}


def measured(
    name: str,
    running: Deployment,
    work: Work,
    rest: Mapping[str, float],
    warm_up: Work | None = None,
) -> list[str]:
    """Do it once to warm up, or something else, and then again; give the row."""
    (warm_up or work)(running)  # what is done once is no item's
    before, stored, began = running.cpu_s(), running.stored_bytes(), time.perf_counter()
    count = work(running)
    seconds, after = time.perf_counter() - began, running.cpu_s()
    used_ms = [
        1000 * max(0.0, after[part] - before[part] - rest[part] * seconds) / count for part in after
    ]
    kept_kb = (running.stored_bytes() - stored) / count / KB
    return [name, *(f"{figure:.2f}" for figure in (count / seconds, *used_ms, kept_kb))]
