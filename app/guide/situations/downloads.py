"""100 files to download: one by one, threads, asyncio; and how many at once pay off here."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import httpx

from app.guide.bench import Bench
from app.guide.clients import LoopWith, blocking_client, get, loop_with, ours_client, plain_client
from app.guide.race import Case, Contender, Figure, Sample, timed

FILES = 100
FILE_BYTES = 50_000
LATENCIES_MS = (0, 20, 200)
AT_ONCE = (8, 16, 32, 64, 128, 256)
SWEEP_MS = 50
SWEEP_KEY = "at-once"

TIME = Figure("ms", "time for all files", "ms")


def measure(bench: Bench) -> None:
    """Race the ways to download at each latency, then the numbers at once."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # or it tells of each request
    with ExitStack() as stack:
        port = stack.enter_context(bench.server("asyncio"))
        one_client = stack.enter_context(blocking_client())
        many_client = stack.enter_context(blocking_client())
        ours, plain = (
            stack.enter_context(loop_with(open_)) for open_ in (ours_client, plain_client)
        )
        threads = {n: stack.enter_context(ThreadPoolExecutor(n)) for n in (5, 20, 100)}
        for number, latency_ms in enumerate(LATENCIES_MS):
            files = FILES if bench.seconds > 3 else 10
            urls = [_url(port, latency_ms)] * files
            # Where one after the other takes long, a few of them tell: they are all alike.
            few = min(files, max(3, 1000 // (latency_ms + 10)))
            contenders = [
                Contender("one by one", partial(_one_by_one, one_client, urls, few)),
                *(
                    Contender(f"{n} threads", timed(partial(_in_threads, pool, many_client, urls)))
                    for n, pool in threads.items()
                ),
                Contender("asyncio, 20 at once", timed(partial(plain.all, urls, 20))),
                Contender("asyncio, 100 at once", timed(partial(plain.all, urls, 100))),
                Contender("this service's client, 100", timed(partial(ours.all, urls, 100))),
            ]
            bench.race(_case(latency_ms, files, few, contenders), 1 / (4 - number))
        bench.race(_sweep(ours, port, 512 if bench.seconds > 3 else 16))


def _case(latency_ms: int, files: int, few: int, contenders: list[Contender]) -> Case:
    estimate = "" if few == files else f" One by one, {few} were measured and multiplied."
    return Case(
        key=f"latency-{latency_ms}",
        title=f"{files} files, {latency_ms} ms away"
        if latency_ms
        else f"{files} files, right here",
        work=f"{files} files of {FILE_BYTES // 1000} kB from an origin on loopback that answers "
        f"after {latency_ms} ms, over connections that are kept, with httpx.{estimate}",
        figures=[TIME],
        contenders=contenders,
        recommended=[one.name for one in contenders[-3:]],
    )


def _sweep(ours: LoopWith, port: int, files: int) -> Case:
    urls = [_url(port, SWEEP_MS)] * files

    def run(at_once: int) -> Sample:
        sample = timed(partial(ours.all, urls, at_once))()
        return {"per_s": files / sample["ms"] * 1000}

    return Case(
        key=SWEEP_KEY,
        title="How many at once",
        work=f"{files} files of {FILE_BYTES // 1000} kB, {SWEEP_MS} ms away, by this service's own "
        "client, without storing them.",
        figures=[Figure("per_s", "files a second", "1/s", "more")],
        contenders=[Contender(str(n), partial(run, n)) for n in AT_ONCE if n <= files],
    )


def _url(port: int, latency_ms: int) -> str:
    return f"http://127.0.0.1:{port}/wait/{latency_ms}/{FILE_BYTES}"


def _one_by_one(client: httpx.Client, urls: list[str], few: int) -> Sample:
    sample = timed(lambda: [get(client, url) for url in urls[:few]])()
    return {"ms": sample["ms"] * len(urls) / few}


def _in_threads(pool: ThreadPoolExecutor, client: httpx.Client, urls: list[str]) -> None:
    list(pool.map(partial(get, client), urls))
