"""The closed loop: so many clients, each sending its next request once it has its last answer."""

from __future__ import annotations

import asyncio
import itertools
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import uvloop

from benchmarks.exchanges import Exchange
from benchmarks.stats import percentile
from benchmarks.wire import Connection

LIMIT_S = 300
"""No single load takes longer, whatever went wrong."""

Task = Callable[[int], Awaitable[object]]
"""Does the n-th piece of work."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a load came to."""

    latencies_ms: list[float]
    seconds: float
    """From the first request's first byte to the last answer's last."""
    client_cpu: float
    """Share of one core that this client took: near 1 it would measure itself."""

    @property
    def per_second(self) -> float:
        """Pieces of work a second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def p50_ms(self) -> float:
        """Median latency."""
        return percentile(self.latencies_ms, 50)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of latency; of fewer than 100 requests the slowest."""
        return percentile(self.latencies_ms, 99)


def run(
    port: int,
    exchange: Exchange,
    clients: int,
    *,
    count: int | None = None,
    seconds: float | None = None,
) -> Load:
    """Put a load on a service, until `count` requests are sent or `seconds` are over.

    By the loop that costs the client least, since it shares the cores.
    """
    return uvloop.run(closed_loop(port, exchange, clients, count=count, seconds=seconds))


def run_here(task: Task, clients: int, *, seconds: float) -> Load:
    """As `run`, of work that is not behind a port: a command, a call into a pool."""
    return asyncio.run(_repeated(lambda: nullcontext(task), clients, None, seconds, None))


async def closed_loop(
    port: int,
    exchange: Exchange,
    clients: int,
    *,
    count: int | None = None,
    seconds: float | None = None,
    stop: asyncio.Event | None = None,
) -> Load:
    """As `run`; a `stop` that is set ends it too. Requests under way are always finished."""

    @asynccontextmanager
    async def connected() -> AsyncIterator[Task]:
        async with Connection(port) as connection:
            yield partial(exchange, connection)

    return await _repeated(connected, clients, count, seconds, stop)


async def _repeated(
    client_made: Callable[[], AbstractAsyncContextManager[Task]],
    clients: int,
    count: int | None,
    seconds: float | None,
    stop: asyncio.Event | None,
) -> Load:
    numbers = itertools.count()
    latencies_ms: list[float] = []
    cpu_before_s, started = _cpu_s(), time.perf_counter()
    stop_at = started + (LIMIT_S if seconds is None else seconds)

    async def client() -> None:
        async with client_made() as task:
            while not (stop and stop.is_set()):
                number = next(numbers)
                # One is always done, on however busy a machine: there is no rate of nothing.
                late = number > 0 and time.perf_counter() >= stop_at
                if late or (count is not None and number >= count):
                    return
                sent = time.perf_counter()
                await task(number)
                latencies_ms.append((time.perf_counter() - sent) * 1000)

    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    taken_s = time.perf_counter() - started
    return Load(latencies_ms, taken_s, (_cpu_s() - cpu_before_s) / taken_s)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
