"""Lists of URLs, beside what else fetches them, and the memory that a long one takes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from benchmarks import fetches, memory, processes, services
from benchmarks.bench import Bench
from benchmarks.cases import fetch_million
from benchmarks.contest import OURS, Contest, Measured, Run, held, timed
from benchmarks.peers import fetchers
from benchmarks.peers.fetchers import AIOHTTP, CURL, TUTORIAL, Fetcher
from benchmarks.services import Service
from benchmarks.wire import Connection

SMALL, LARGE, LONG = "URLs of 4 KB", "URLs of 8 MB", "URLs of 16 bytes in a long list"
WARM_UP = 16


def small_urls(bench: Bench) -> Iterator[Contest]:
    yield _fetched(bench, SMALL, bench.size(2_000, 50), 4_000, (TUTORIAL, AIOHTTP, CURL))


def large_urls(bench: Bench) -> Iterator[Contest]:
    yield _fetched(bench, LARGE, bench.size(100, 4), 8_000_000, (CURL,))


def _fetched(
    bench: Bench, work: str, count: int, size_bytes: int, peers: Sequence[Fetcher]
) -> Contest:
    missing = {peer.name: "it is not installed" for peer in peers if not peer.installed}
    with services.origin(bench.folder) as origin:
        urls = fetches.urls_of(origin.port, count, size_bytes)
        runs: dict[str, Run] = {
            peer.name: partial(_by_peer, bench, origin, peer, urls, size_bytes)
            for peer in peers
            if peer.installed
        }
        runs[OURS] = partial(_by_us, bench, origin, urls, size_bytes)
        return held(bench, work, runs, missing)


def _by_peer(
    bench: Bench, origin: Service, peer: Fetcher, urls: Sequence[str], size_bytes: int
) -> Measured:
    before_s = processes.cpu_s(origin.pid)
    spent = fetchers.fetched(peer, bench.folder, urls, size_bytes)
    used = processes.Cpu(spent.cpu_s, {}, 0.0)
    return Measured(len(urls), spent.seconds, used, processes.cpu_s(origin.pid) - before_s)


def _by_us(bench: Bench, origin: Service, urls: Sequence[str], size_bytes: int) -> Measured:
    """Fetch by a service that has just started: none of these bodies is there already."""
    with services.offload(bench, fetches.SETTINGS) as offload:
        fetches.fetch(offload.port, fetches.urls_of(origin.port, WARM_UP, 1))
        os.sync()
        before, origin_s = processes.cpu(offload.pid), processes.cpu_s(origin.pid)
        seconds, job = fetches.fetch(offload.port, urls)
        used = processes.cpu(offload.pid).since(before)
        origin_s = processes.cpu_s(origin.pid) - origin_s
        peak_bytes = memory.peak_rss_bytes(offload.pid)
        fetches.check_results(offload.port, job, size_bytes)
    return Measured(len(urls), seconds, used, origin_s, peak_bytes=peak_bytes)


def long_list(bench: Bench) -> Iterator[Contest]:
    """Fetch a long list, once whatever the rounds, and look at the memory of the API process."""
    urls_count = bench.urls or bench.size(20_000, 200)
    runs = {OURS: partial(_long, bench, urls_count)}
    yield held(replace(bench, rounds=1), LONG, runs)


def _long(bench: Bench, count: int) -> Measured:
    with (
        services.origin(bench.folder) as origin,
        services.offload(bench, fetches.SETTINGS) as offload,
    ):
        urls = fetches.urls_of(origin.port, count, fetch_million.BODY_BYTES)
        origin_s = processes.cpu_s(origin.pid)
        measured = timed(offload, count, lambda: asyncio.run(_submitted_and_done(offload, urls)))
        return replace(
            measured,
            client_s=processes.cpu_s(origin.pid) - origin_s,
            peak_bytes=memory.peak_rss_bytes(offload.pid),
        )


async def _submitted_and_done(offload: Service, urls: Sequence[str]) -> None:
    async with Connection(offload.port) as connection:
        made = await fetch_million.submitted(connection, fetch_million.listed(urls))
        done = await fetch_million.polled_until(connection, made, lambda job: bool(job["done"]))
    if done["counts"]["succeeded"] != len(urls):
        raise RuntimeError(f"Not all of {len(urls)} URLs were fetched: {done['counts']}")
