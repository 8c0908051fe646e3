"""100 files to download: one by one, threads, asyncio; and how many at once pay off here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import httpx

from app.guide.bench import TOO_SHORT, Bench
from app.guide.clients import LoopWith, blocking_client, get, loop_with, ours_client, plain_client
from app.guide.race import Case, Contender, Figure, Sample, timed

FILES = 100
TINY = 10
FILE_BYTES = 50_000
LATENCIES_MS = (0, 20, 200)
AT_ONCE = (16, 32, 64, 128, 256)
SWEEP_MS = 50
SWEEP_KEY = "at-once"

SHORT_MS = 20
"""The latency that is measured where there is little time."""
ENOUGH_MS, SHORT_ENOUGH_MS = 500, 150
"""How long one contender has to wait in a round for its time to say something; and where there is
little time."""

TIME = Figure("ms", "time for all files", "ms")
Way = Callable[[list[str]], None]
"""Fetches these URLs."""


def measure(bench: Bench) -> None:
    """Race the ways to download at each latency, then the numbers at once."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # or it tells of each request
    with ExitStack() as stack:
        port = stack.enter_context(bench.server("asyncio"))
        client = stack.enter_context(blocking_client())
        ours, plain = (stack.enter_context(loop_with(of)) for of in (ours_client, plain_client))
        ways: dict[str, tuple[int, Way]] = {"one by one": (1, partial(_one_by_one, client))}
        for n in (5, 20, 100):
            pool = stack.enter_context(ThreadPoolExecutor(n))
            ways[f"{n} threads"] = (n, partial(_in_threads, pool, client))
        for n in (20, 100):
            ways[f"asyncio, {n} at once"] = (n, partial(plain.all, at_once=n))
        ways["asyncio, 100, over aiohttp"] = (100, partial(ours.all, at_once=100))
        for number, latency_ms in enumerate(LATENCIES_MS):
            if bench.short and latency_ms != SHORT_MS:
                bench.skip(f"{latency_ms} ms away", TOO_SHORT)
            else:
                enough_ms = SHORT_ENOUGH_MS if bench.short else ENOUGH_MS
                files = TINY if bench.tiny else FILES
                bench.race(_case(port, latency_ms, files, enough_ms, ways), 1 / (4 - number))
        bench.race(_sweep(ours, port, 16 if bench.tiny else 64 if bench.short else 256))


def _case(
    port: int, latency_ms: int, all_: int, enough_ms: int, ways: dict[str, tuple[int, Way]]
) -> Case:
    url = _url(port, latency_ms)

    def contender(name: str, at_once: int, way: Way) -> Contender:
        # Where all of them take long, a part of them tells: they are all alike.
        files = min(all_, at_once * max(1, enough_ms // (latency_ms + 2)))
        return Contender(
            name, lambda: {"ms": timed(partial(way, [url] * files))()["ms"] * all_ / files}
        )

    return Case(
        key=f"latency-{latency_ms}",
        title=f"{all_} files, {latency_ms} ms away",
        work=f"{all_} files of {FILE_BYTES // 1000} kB from an origin on loopback that answers "
        f"after {latency_ms} ms, over connections that are kept, with httpx; the last one with "
        "aiohttp's connections below it, as this service has it. What takes long by waiting is "
        "measured with a part of them, and multiplied.",
        figures=[TIME],
        contenders=[contender(name, *way) for name, way in ways.items()],
        recommended=[name for name in ways if "threads" not in name][1:],
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


def _one_by_one(client: httpx.Client, urls: list[str]) -> None:
    for url in urls:
        get(client, url)


def _in_threads(pool: ThreadPoolExecutor, client: httpx.Client, urls: list[str]) -> None:
    list(pool.map(partial(get, client), urls))
