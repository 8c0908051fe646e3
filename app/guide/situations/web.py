"""A web server with many requests: event loop or a thread for each, and computing beside it."""

from __future__ import annotations

import asyncio
import resource
import time
from functools import partial

import uvloop

from app.guide.bench import TOO_SHORT, Bench
from app.guide.pools import cores
from app.guide.race import Case, Contender, Figure, Sample
from app.guide.statistics import percentile

WAIT_MS = 50
BODY_BYTES = 200
IN_FLIGHT = {10: 8, 100: 4, 1_000: 1}
"""Connections at a time, and the requests that each of them makes."""
BESIDE = 6
"""Requests of each connection beside one that computes."""
SPARE = 100
"""Descriptors beside those of the connections."""
WORK_MS = 20
LIGHT = 20
"""Connections whose requests only wait, beside one whose requests compute."""

FIGURES = (
    Figure("p99_ms", "p99 of the answers", "ms"),
    Figure("per_s", "requests a second", "1/s", "more"),
)
ASYNCIO, THREAD_EACH, POOL = "asyncio", "a thread for each", "a pool of 40 threads"


def measure(bench: Bench) -> None:
    """Race the servers at each number in flight, then the places for a piece that computes."""
    # First of all: the servers have as many.
    descriptors = _descriptors(max(IN_FLIGHT) + SPARE)
    with bench.server("asyncio", cores()) as loop_port, bench.server("threads") as threads_port:
        for number, (in_flight, most) in enumerate(IN_FLIGHT.items()):
            each = min(2, most) if bench.short else most
            if in_flight > 100 and bench.short:
                bench.skip(f"{in_flight:,} in flight", TOO_SHORT)
            elif descriptors < in_flight + SPARE:
                bench.skip(f"{in_flight:,} in flight", "this user may not open as many connections")
            else:
                bench.race(_waiting(in_flight, each, loop_port, threads_port), 1 / (4 - number))
        bench.race(_computing(loop_port, 2 if bench.short else BESIDE))


def _descriptors(wanted: int) -> int:
    """Have this process open so many files, or as many as it may; gives how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return wanted
    most = wanted if hard == unlimited else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def _waiting(in_flight: int, each: int, loop_port: int, threads_port: int) -> Case:
    def contender(name: str, port: int, way: str) -> Contender:
        path = f"/{way}/{WAIT_MS}/{BODY_BYTES}"
        return Contender(name, partial(_round, port, path, in_flight, each))

    return Case(
        key=f"waiting-{in_flight}",
        title=f"Requests that wait, {in_flight:,} in flight",
        work=f"{in_flight:,} connections make {each} requests each; an answer waits {WAIT_MS} ms "
        "for something else, then has 200 bytes.",
        figures=FIGURES,
        contenders=[
            contender(ASYNCIO, loop_port, "wait"),
            contender(THREAD_EACH, threads_port, "wait"),
            contender(POOL, loop_port, "pool"),
        ],
        recommended=[ASYNCIO],
    )


def _computing(port: int, each: int) -> Case:
    def contender(name: str, way: str | None) -> Contender:
        return Contender(name, partial(_beside, port, way, each), judged=way is not None)

    return Case(
        key="computing",
        title="The same beside a request that computes",
        work=f"{LIGHT} connections whose requests wait {WAIT_MS} ms; beside them one that asks for "
        f"{WORK_MS} ms of pure Python, over and over. What is measured is the {LIGHT}.",
        figures=FIGURES[:1],
        contenders=[
            contender("no such request", None),
            contender("in the event loop", "loop"),
            contender("in a thread", "thread"),
            contender("in a process", "process"),
        ],
        recommended=["in a process"],
    )


def _round(port: int, path: str, in_flight: int, each: int) -> Sample:
    """Make all requests; gives p99_ms and per_s."""
    began_s = time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        taken_ms = runner.run(_all(port, path, in_flight, each))
    took_s = time.perf_counter() - began_s
    return {"p99_ms": percentile(sorted(taken_ms), 99), "per_s": len(taken_ms) / took_s}


async def _all(port: int, path: str, in_flight: int, each: int) -> list[float]:
    taken_ms = await asyncio.gather(*(_ask(port, path, each) for _ in range(in_flight)))
    return [ms for of_one in taken_ms for ms in of_one]


def _beside(port: int, way: str | None, each: int) -> Sample:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        taken_ms = runner.run(_all_beside(port, way, each))
    return {"p99_ms": percentile(sorted(taken_ms), 99)}


async def _all_beside(port: int, way: str | None, each: int) -> list[float]:
    path = f"/wait/{WAIT_MS}/{BODY_BYTES}"
    if way is None:
        return await _all(port, path, LIGHT, each)
    heavy = asyncio.create_task(_ask(port, f"/{way}/{WORK_MS}/{BODY_BYTES}", 1_000_000))
    try:
        return await _all(port, path, LIGHT, each)
    finally:
        heavy.cancel()
        await asyncio.gather(heavy, return_exceptions=True)


async def _ask(port: int, path: str, times: int) -> list[float]:
    """Make requests on a connection, one after the other; gives how many ms each took.

    Raises `OSError` if the server ends the connection.
    """
    taken_ms = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in range(times):
            began_s = time.perf_counter()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split()[0]))
            taken_ms.append((time.perf_counter() - began_s) * 1000)
    except asyncio.IncompleteReadError:
        raise ConnectionError("the server ended a connection") from None
    finally:
        writer.close()
    return taken_ms
