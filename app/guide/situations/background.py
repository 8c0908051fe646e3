"""A background task in FastAPI: what a request pays for it, and what `kill -9` leaves of 50."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from app.guide.bench import Bench
from app.guide.clients import failing_as_os_error
from app.guide.race import Case, Contender, Figure, Sample
from app.guide.subjects import Durable, InProcess
from app.served import NotServed

WAIT_MS = 200
"""So long that none of the tasks is done when the last of them has been handed over."""
BODY_BYTES = 50_000
REQUESTS = 10
"""In a round of what a request pays."""
KILLED = 50
PATIENCE_S = 60.0
NOTHING_COMES_S = 3 * WAIT_MS / 1000
"""How long a fresh process is given to do what the killed one had to: it knows nothing of it."""
CREATE_TASK, EXECUTOR, POOL = "create_task", "the default executor", "a process pool"
WAYS = {CREATE_TASK: "create_task", EXECUTOR: "executor", POOL: "pool"}
DURABLE = "a durable job of this service"
WORK = (
    f"fetch {BODY_BYTES // 1000} kB from an origin on loopback that takes {WAIT_MS} ms, compress "
    "them, keep the result"
)
Subject = InProcess | Durable
Round = Callable[[Subject, str], Coroutine[Any, Any, Sample]]


def measure(bench: Bench) -> None:
    """Start all subjects, race their requests, then kill each with 50 tasks handed over."""
    with bench.server("asyncio") as port, asyncio.Runner() as runner:
        url = f"http://127.0.0.1:{port}/wait/{WAIT_MS}/{BODY_BYTES}"
        application = InProcess(bench.folder, url)
        ours = Durable(bench.folder, url, {"OFFLOAD_POOL_WORKERS": "1"} if bench.tiny else {})
        for way in WAYS.values():
            (bench.folder / way).mkdir()
        subjects: dict[str, tuple[Subject, str]] = {
            name: (application, way) for name, way in WAYS.items()
        }
        bench.say("Starting the application and the service")
        runner.run(application.start())
        try:
            try:
                runner.run(ours.start())
                subjects[DURABLE] = (ours, "compress")
            except NotServed as error:
                bench.skip(DURABLE, str(error))
            bench.race(_paying(runner, subjects), 0.5)
            bench.race(_killing(runner, subjects))
        finally:
            runner.run(application.kill())
            if DURABLE in subjects:
                runner.run(ours.kill())


def _paying(runner: asyncio.Runner, subjects: dict[str, tuple[Subject, str]]) -> Case:
    return Case(
        key="request",
        title="What a request pays for its task",
        work=f"{REQUESTS} requests one after the other, each answered once its task is begun. "
        f"A task: {WORK}. Then all of them are waited for.",
        figures=[Figure("ms", "a request, median", "ms")],
        contenders=[
            Contender(name, partial(_run, runner, _pay, *of)) for name, of in subjects.items()
        ],
        recommended=[CREATE_TASK],
    )


def _run(runner: asyncio.Runner, round_: Round, subject: Subject, way: str) -> Sample:
    with failing_as_os_error():
        return runner.run(round_(subject, way))


async def _pay(subject: Subject, way: str) -> Sample:
    await subject.prepare(way)
    expected = await subject.done(way, 0, 0) + REQUESTS
    taken_ms = []
    for _ in range(REQUESTS):
        began_s = time.perf_counter()
        await subject.submit(way)
        taken_ms.append((time.perf_counter() - began_s) * 1000)
    await subject.done(way, expected, PATIENCE_S)
    return {"ms": statistics.median(taken_ms)}


def _killing(runner: asyncio.Runner, subjects: dict[str, tuple[Subject, str]]) -> Case:
    return Case(
        key="killed",
        title=f"What kill -9 leaves of {KILLED} tasks",
        work=f"{KILLED} requests at once, all answered, then SIGKILL to the process and its "
        f"workers, and a new start. A task: {WORK}.",
        figures=[Figure("left", f"tasks of {KILLED} that are done in the end", "", "more", True)],
        contenders=[
            Contender(name, partial(_run, runner, _kill, *of)) for name, of in subjects.items()
        ],
        recommended=[DURABLE],
        fewest=1,
        warm=False,
    )


async def _kill(subject: Subject, way: str) -> Sample:
    await subject.prepare(way)
    before = await subject.done(way, 0, 0)
    await asyncio.gather(*(subject.submit(way) for _ in range(KILLED)))
    await subject.kill()
    await subject.start()
    patience_s = PATIENCE_S if isinstance(subject, Durable) else NOTHING_COMES_S
    return {"left": await subject.done(way, before + KILLED, patience_s) - before}
