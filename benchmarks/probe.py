"""The open loop: a small GET sent every 10 ms whether or not the last one was answered.

A closed loop would stop asking while the service stalls, and so miss the stall. Latency counts
from the moment at which a request was due, so that what a stall held up is counted in full, and
so is the prober's own lateness, which is reported beside it.

`python -m benchmarks.probe PORT TARGET RATE SECONDS` is a process of its own, lest the load's
client hold it up, and prints what it found as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial

from benchmarks.stats import percentile
from benchmarks.wire import SMALL_BYTES, Connection

RATE = 100
ANSWER_LIMIT_S = 30


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe found, in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    own_p99_ms: float
    """How late the prober itself was, on the same scale: it shares the cores."""


async def probe(port: int, target: str, seconds: float) -> Probed:
    """Probe from another process, beside whatever load is on."""
    arguments = ("-m", "benchmarks.probe", str(port), target, str(RATE), str(seconds))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(seconds + 2 * ANSWER_LIMIT_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return Probed(**json.loads(output))


async def _probe(port: int, target: str, rate: float, seconds: float) -> Probed:
    latencies_ms: list[float] = []
    late_ms: list[float] = []
    idle: list[Connection] = []
    fresh = partial(Connection, port, SMALL_BYTES)

    async def ask(due: float) -> None:
        late_ms.append((time.perf_counter() - due) * 1000)
        connection = idle.pop() if idle else await stack.enter_async_context(fresh())
        try:
            response = await connection.get(target)
        except ConnectionError:
            # Idle for so long that the service closed it, in the moment it was used again.
            connection = await stack.enter_async_context(fresh())
            response = await connection.get(target)
        if response.status != 200:
            raise RuntimeError(f"The probe was answered {response.status}.")
        latencies_ms.append((time.perf_counter() - due) * 1000)
        idle.append(connection)

    async with (
        AsyncExitStack() as stack,
        asyncio.timeout(seconds + ANSWER_LIMIT_S),
        asyncio.TaskGroup() as group,
    ):
        started = time.perf_counter()
        for number in range(int(rate * seconds)):
            due = started + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(ask(due))
    return Probed(
        len(latencies_ms),
        percentile(latencies_ms, 50),
        percentile(latencies_ms, 99),
        max(latencies_ms),
        percentile(late_ms, 99),
    )


if __name__ == "__main__":
    found = asyncio.run(
        _probe(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
    )
    print(json.dumps(asdict(found)))
