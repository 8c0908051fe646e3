"""What a deployment answers while much is waited for, or much comes at once."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from benchmarks import corpus, deployment, fetches, memory
from benchmarks.bench import Bench, Table, verdict
from benchmarks.cases.fetch_million import listed, submitted
from benchmarks.cases.nodes import at_rest
from benchmarks.course import polled
from benchmarks.deployment import Deployment
from benchmarks.exchanges import checked
from benchmarks.wire import SMALL_BYTES, Connection, Upload, multipart

KB = 1024
MB = 1e6
WAKE_UP_MS = 400
WAIT = "?wait=60"
POLL_EVERY_S = 0.05
LIMIT_S = 1800
PARTS = ("api", "PostgreSQL")


@dataclass(slots=True)
class Woken:
    """What waits for jobs, and polls beside them, took, in milliseconds."""

    late: list[float] = field(default_factory=list)
    """From a job's recorded end to the end of the answer that had been waiting for it."""
    whole: list[float] = field(default_factory=list)
    """From the request that made it."""
    polls: list[float] = field(default_factory=list)


def wake_up(bench: Bench) -> list[Table]:
    """Submit at one node and wait at another, one job at a time, and eight."""
    wanted = bench.size(300, 3)
    rows, p99s = [], []
    with deployment.shared(bench, 1, 2, doors=2) as running:
        asyncio.run(_woken(running, 1, 3))  # to warm up
        for clients in (1, 8):
            bench.say(f"{clients} waited for")
            found = asyncio.run(_woken(running, clients, wanted))
            rows += [
                [f"answer after the job's end, {clients} at a time", *polled(found.late)],
                [f"job from submission to answer, {clients} at a time", *polled(found.whole)],
                [f"polls beside them, {clients} at a time", *polled(found.polls)],
            ]
            p99s.append(float(rows[-3][3]))
        bench.say("polls at rest")
        rows.append(["polls at rest", *polled(asyncio.run(_polls_at_rest(running, wanted)))])
    notes = (
        (
            "Two nodes that take requests, one that works: jobs of 1 KB are submitted at one,"
            " without `wait`, and waited for at the other by `?wait=60`; polls go to that one too."
            " A job's end is its `finished_at`, so its commit counts as time until the answer. Only"
            " those waits count that began before the job's end."
        ),
        "",
        verdict(
            f"a wait at another node is answered within {WAKE_UP_MS} ms of the end, p99",
            f"{p99s[0]:.0f} ms one at a time, {p99s[1]:.0f} ms with eight",
            met=max(p99s) <= WAKE_UP_MS,
        ),
    )
    columns = ("what", "times", "p50 ms", "p99 ms", "max ms")
    return [Table("wake-up: waits across nodes", columns, rows, notes)]


async def _woken(running: Deployment, clients: int, wanted: int) -> Woken:
    found, submitting, waiting = Woken(), running.doors[0].port, running.doors[1].port
    ended = asyncio.Event()

    async def client(name: int) -> None:
        async with Connection(submitting) as here, Connection(waiting) as there:
            while len(found.late) < wanted:
                await _wait_once(here, there, found, f"{name} {time.time_ns()}")

    async def poller() -> None:
        async with Connection(submitting) as here, Connection(waiting) as there:
            job = await _submit(here, "polled")
            while not ended.is_set():
                found.polls.append(await _poll_ms(there, job))
                await asyncio.sleep(POLL_EVERY_S)

    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        group.create_task(poller())
        async with asyncio.TaskGroup() as waits:
            for name in range(clients):
                waits.create_task(client(name))
        ended.set()
    return found


async def _wait_once(here: Connection, there: Connection, found: Woken, mark: str) -> None:
    began = time.time()
    job = await _submit(here, mark)
    asked = time.time()
    answer = await there.get(f"{job['links']['self']}{WAIT}", keep=True)
    answered, job = time.time(), checked(answer, 200).json()
    if not job["done"]:
        raise RuntimeError(f"A wait ended before its job: {job['counts']}")
    ended = datetime.fromisoformat(job["finished_at"]).timestamp()
    if ended > asked:
        found.late.append((answered - ended) * 1000)
        found.whole.append((answered - began) * 1000)


async def _submit(connection: Connection, mark: str) -> dict[str, Any]:
    upload = multipart([("a.json", mark.encode() + corpus.small_files(1, KB)[0])])
    made = await connection.request("POST", "/v1/compress", upload, keep=True)
    job: dict[str, Any] = checked(made, 202).json()
    return job


async def _poll_ms(connection: Connection, job: dict[str, Any]) -> float:
    began = time.perf_counter()
    checked(await connection.get(job["links"]["self"], keep=True), 200)
    return (time.perf_counter() - began) * 1000


async def _polls_at_rest(running: Deployment, count: int) -> list[float]:
    async with Connection(running.door.port) as here, Connection(running.doors[1].port) as there:
        job = await _submit(here, "at rest")
        checked(await there.get(f"{job['links']['self']}{WAIT}"), 200)
        return [await _poll_ms(there, job) for _ in range(count)]


def watched(bench: Bench) -> list[Table]:
    """Have a thousand jobs waited for at one node while nothing happens."""
    count, seconds = bench.size(1_000, 5), bench.size(20.0, 0.2)
    with deployment.shared(bench, 0, 1) as running:
        jobs = asyncio.run(_submitted(running, count))
        rest, resting_bytes = at_rest(running, seconds), memory.rss_bytes(running.door.pid)
        bench.say(f"{count} waits")
        used, held_bytes = asyncio.run(_waited_for(running, jobs, seconds))
    rows = [
        [f"{count} jobs that nobody waits for", *_cells(rest), f"{resting_bytes / MB:.0f}"],
        [f"{count} jobs, each waited for", *_cells(used), f"{held_bytes / MB:.0f}"],
    ]
    notes = (
        (
            f"CPU of a second, over {seconds:.0f} s. No node works, so no job ends; each wait has a"
            " connection of its own, and all are answered by one node."
        ),
    )
    columns = ("what", "api ms/s", "PostgreSQL ms/s", "api MB")
    return [Table("watched: many waits, and nothing happens", columns, rows, notes)]


def _cells(used_s: dict[str, float]) -> list[str]:
    return [f"{1000 * used_s[part]:.1f}" for part in PARTS]


async def _submitted(running: Deployment, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(LIMIT_S), Connection(running.door.port) as connection:
        return [await _submit(connection, str(number)) for number in range(count)]


async def _waited_for(
    running: Deployment, jobs: list[dict[str, Any]], seconds: float
) -> tuple[dict[str, float], int]:
    """Wait for all, and see what that takes; give it and the memory of the node."""
    async with asyncio.timeout(LIMIT_S), AsyncExitStack() as stack:
        waits = []
        for job in jobs:
            connection = await stack.enter_async_context(Connection(running.door.port, SMALL_BYTES))
            waits.append(asyncio.create_task(connection.get(f"{job['links']['self']}{WAIT}")))
        used = await asyncio.to_thread(at_rest, running, seconds)
        if any(wait.done() for wait in waits):
            raise RuntimeError("A wait ended although nothing works.")
        held_bytes = memory.rss_bytes(running.door.pid)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return used, held_bytes


def submissions(bench: Bench) -> list[Table]:
    """Send many items at once, to a node that takes them while none works."""
    counts = (bench.urls,) if bench.urls else bench.size((100_000, 1_000_000), (100, 1_000))
    rows = []
    with deployment.shared(bench, 0, 1, more=fetches.SETTINGS) as running:
        asyncio.run(_sent(running, listed(fetches.urls_of(9, 16))))  # to warm up
        for count in counts:
            bench.say(f"{count} items")
            rows.append(_submission(running, count))
    notes = (
        (
            "One NDJSON body of URLs to `/v1/fetch`, one after the other in the same deployment;"
            " the time is until the 202. Memory is what was resident at most, and before it."
        ),
    )
    columns = (
        *("items at once", "seconds", "items/s", "api CPU s", "PostgreSQL CPU s", "PostgreSQL MB"),
        *("api MB at most", "before"),
    )
    return [Table("submissions: many items at once", columns, rows, notes)]


def _submission(running: Deployment, count: int) -> list[str]:
    upload, pid = listed(fetches.urls_of(9, count)), running.door.pid
    memory.forget_peak(pid)
    held_bytes, before, stored = memory.rss_bytes(pid), running.cpu_s(), running.stored_bytes()
    began = time.perf_counter()
    asyncio.run(_sent(running, upload))
    seconds, after = time.perf_counter() - began, running.cpu_s()
    return [
        *(f"{count}", f"{seconds:.1f}", f"{count / seconds:.0f}"),
        *(f"{after[part] - before[part]:.1f}" for part in PARTS),
        f"{(running.stored_bytes() - stored) / MB:.0f}",
        *(f"{size / MB:.0f}" for size in (memory.peak_rss_bytes(pid), held_bytes)),
    ]


async def _sent(running: Deployment, upload: Upload) -> None:
    async with asyncio.timeout(LIMIT_S), Connection(running.door.port) as connection:
        await submitted(connection, upload)
