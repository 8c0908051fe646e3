"""Why paths and not bytes, why processes and not threads, why waiting belongs on the event loop."""

from __future__ import annotations

import asyncio
import mmap
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from isal import isal_zlib

from benchmarks import services, stats
from benchmarks.bench import Bench, Table
from benchmarks.services import Service
from benchmarks.wire import SMALL_BYTES, Connection

TICK_S = 0.001
WAIT_MS = 50
LIMIT_S = 120

Timed = tuple[float, list[float]]
"""Milliseconds taken, and how late each tick of the event loop was meanwhile."""


def run(bench: Bench) -> list[Table]:
    spawn = get_context("spawn")
    with (
        ProcessPoolExecutor(2, mp_context=spawn) as processes,
        ThreadPoolExecutor(2) as threads,
    ):
        for pool in (processes, threads):
            list(pool.map(sum_of_squares, [1_000] * 8))  # so that all are started
        return [
            _bytes_or_path(bench, processes),
            _threads_or_processes(bench, processes, threads),
            _codecs(bench, processes, threads),
            _waiting(bench),
        ]


# -- bytes or paths ------------------------------------------------------------------------------


def echo(data: bytes) -> bytes:
    """Stand for work on bytes: they come through the pipe and the result goes back through it."""
    return data


def copy(source: str, target: str) -> int:
    """Stand for the same work on files: read where it lies, written where it is wanted."""
    with open(source, "rb") as reader, open(target, "wb") as writer:  # noqa: PTH123
        with mmap.mmap(reader.fileno(), 0, access=mmap.ACCESS_READ) as data:
            writer.write(data)
        return os.fstat(writer.fileno()).st_size


def _bytes_or_path(bench: Bench, processes: Executor) -> Table:
    size_bytes = bench.size(64 << 20, 4 << 20)
    data = os.urandom(size_bytes)
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        source.write_bytes(data)
        runs = {
            "pickled bytes there and back": partial(echo, data),
            "paths; the worker reads and writes": partial(copy, str(source), str(target)),
        }
        results = bench.alternate(
            {
                name: partial(_timed, partial(_in_executor, processes, [work]))
                for name, work in runs.items()
            }
        )
    title = f"handover: {size_bytes >> 20} MiB to a worker process and back"
    return Table(title, *_rows(results))


# -- threads or processes ------------------------------------------------------------------------


def sum_of_squares(up_to: int) -> int:
    """Stand for a team's own function: pure Python, which holds the interpreter's lock."""
    return sum(number * number for number in range(up_to))


def compressed_bytes(source: str) -> int:
    """Stand for a codec: one long call into C, which lets go of the interpreter's lock."""
    return len(isal_zlib.compress(Path(source).read_bytes(), 3))


def _threads_or_processes(bench: Bench, processes: Executor, threads: Executor) -> Table:
    work = partial(sum_of_squares, bench.size(5_000_000, 200_000))
    results = _either_way(bench, processes, threads, work)
    return Table("handover: 4 calls of a pure Python function", *_rows(results))


def _codecs(bench: Bench, processes: Executor, threads: Executor) -> Table:
    size_bytes = bench.size(64 << 20, 1 << 20)
    with tempfile.NamedTemporaryFile(dir=bench.folder) as source:
        source.write(random.Random(1).randbytes(size_bytes // 2).hex().encode())
        source.flush()
        work = partial(compressed_bytes, source.name)
        results = _either_way(bench, processes, threads, work)
    title = f"handover: 4 calls of a codec (isal), {size_bytes >> 20} MiB each"
    return Table(title, *_rows(results))


def _either_way(
    bench: Bench, processes: Executor, threads: Executor, work: Callable[[], object]
) -> dict[str, list[Timed]]:
    return bench.alternate(
        {
            name: partial(_timed, partial(_in_executor, pool, [work] * 4))
            for name, pool in (("2 threads", threads), ("2 processes", processes))
        }
    )


async def _in_executor(pool: Executor, calls: list[Callable[[], object]]) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(loop.run_in_executor(pool, call) for call in calls))


# -- waiting -------------------------------------------------------------------------------------


def _waiting(bench: Bench) -> Table:
    count = bench.size(500, 40)
    with services.origin(bench.folder) as origin:
        results = bench.alternate(
            {
                "20 threads, a requests.Session each": partial(_by_threads, origin, count),
                "one event loop, gather": partial(_timed, partial(_by_gather, origin, count)),
            }
        )
    title = f"handover: {count} requests to an origin that takes {WAIT_MS} ms to answer"
    return Table(title, *_rows(results))


def _by_threads(origin: Service, count: int) -> Timed:
    module = "benchmarks.tutorial_fetch"
    arguments = (str(origin.port), str(count), "session", str(WAIT_MS))
    ended = subprocess.run(
        (sys.executable, "-m", module, *arguments),
        cwd=services.ROOT,
        capture_output=True,
        check=True,
        timeout=LIMIT_S,
    )
    return float(ended.stdout) * 1000, []


async def _by_gather(origin: Service, count: int) -> None:
    async def get(number: int) -> None:
        async with Connection(origin.port, SMALL_BYTES) as connection:
            await connection.get(f"/{WAIT_MS}/{number}")

    await asyncio.gather(*(get(number) for number in range(count)))


# -- timing --------------------------------------------------------------------------------------


def _timed(work: Callable[[], Awaitable[None]]) -> Timed:
    """Run `work` on a fresh event loop beside a ticker that notes how late it is called."""

    async def both() -> Timed:
        late_ms: list[float] = []
        ticker = asyncio.create_task(_tick(late_ms))
        await asyncio.sleep(5 * TICK_S)
        late_ms.clear()
        started = time.perf_counter()
        async with asyncio.timeout(LIMIT_S):
            await work()
        taken_ms = (time.perf_counter() - started) * 1000
        await asyncio.sleep(2 * TICK_S)  # so that a tick which was held up is noted
        ticker.cancel()
        return taken_ms, late_ms

    return asyncio.run(both())


async def _tick(late_ms: list[float]) -> None:
    while True:
        due = time.perf_counter() + TICK_S
        await asyncio.sleep(TICK_S)
        late_ms.append((time.perf_counter() - due) * 1000)


def _rows(results: dict[str, list[Timed]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Compare with the first way; gives columns and rows."""
    first = [taken_ms for taken_ms, _ in next(iter(results.values()))]
    rows = []
    for name, found in results.items():
        times = [taken_ms for taken_ms, _ in found]
        late = [late_ms for _, late_ms in found if late_ms]
        rows.append(
            [
                name,
                f"{median(times):.0f}",
                f"{stats.ratio(first, times):.2f}x",
                f"{median(stats.percentile(ms, 99) for ms in late):.1f}" if late else "",
                f"{median(map(max, late)):.1f}" if late else "",
            ]
        )
    return ("way", "ms", "times as fast", "loop late p99 ms", "loop late max ms"), rows
