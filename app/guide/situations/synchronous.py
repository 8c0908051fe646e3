"""Existing synchronous code called from async code, and how late it makes the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from app.guide.bench import Bench
from app.guide.clients import blocking_client, get
from app.guide.race import Case, Contender, Figure, Sample
from app.guide.ticker import lateness

WAIT_MS = 20
BODY_BYTES = 10_000
BOUND = 16
CALLS = 40
FIGURES = (
    Figure("late_ms", "how late the loop was at worst", "ms"),
    Figure("ms", "time for all calls", "ms"),
)
Call = Callable[[], Awaitable[object]]


def measure(bench: Bench) -> None:
    """Race the ways to call a blocking HTTP client from a coroutine."""
    calls = 10 if bench.short else CALLS
    with (
        bench.server("asyncio") as port,
        blocking_client() as client,
        ThreadPoolExecutor(BOUND) as pool,
        asyncio.Runner() as runner,
    ):
        blocking = partial(get, client, f"http://127.0.0.1:{port}/wait/{WAIT_MS}/{BODY_BYTES}")

        async def directly() -> None:
            blocking()

        async def in_pool() -> None:
            await asyncio.get_running_loop().run_in_executor(pool, blocking)

        ways: dict[str, Call] = {
            "directly": directly,
            "to_thread": partial(asyncio.to_thread, blocking),
            f"a pool of {BOUND} threads": in_pool,
        }
        case = Case(
            key="blocking",
            title="A blocking HTTP client in async code",
            work=f"{calls} calls at once of a library that blocks for {WAIT_MS} ms each, while the "
            "loop has a tick due every 5 ms. to_thread uses asyncio's default pool, of cores + 4 "
            "threads.",
            figures=FIGURES,
            contenders=[
                Contender(name, partial(_round, runner, way, calls)) for name, way in ways.items()
            ],
            recommended=list(ways)[1:],
        )
        bench.race(case)


def _round(runner: asyncio.Runner, way: Call, calls: int) -> Sample:
    # One loop for all rounds: its default pool keeps its threads, as the other one does.
    return runner.run(_all(way, calls))


async def _all(way: Call, calls: int) -> Sample:
    async with lateness() as late_ms:
        began_s = time.perf_counter()
        await asyncio.gather(*(way() for _ in range(calls)))
        took_s = time.perf_counter() - began_s
    return {"late_ms": max(late_ms), "ms": took_s * 1000}
