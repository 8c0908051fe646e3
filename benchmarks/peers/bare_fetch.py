"""The usual ways to fetch many URLs in Python, each into a file, as a process of its own.

`python -m benchmarks.peers.bare_fetch httpx|aiohttp|requests LIST FOLDER CONNECTIONS` takes the
URLs of LIST, one a line, names the files by their lines, and prints as JSON what it took from the
first request on: the interpreter's start and the imports are not counted.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TIMEOUT_S = 30
"""As the tutorial's; for a connection of the pool they wait as long as it takes."""

Pairs = Sequence[tuple[str, Path]]
Fetch = Callable[[Pairs, int], None]
"""Fetches all, over so many connections, each into its file."""


def by_httpx() -> Fetch:
    import httpx

    async def fetch(pairs: Pairs, connections: int) -> None:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        timeout = httpx.Timeout(TIMEOUT_S, pool=None)
        async with httpx.AsyncClient(limits=limits, timeout=timeout) as client:

            async def one(url: str, target: Path) -> None:
                async with client.stream("GET", url) as response:
                    response.raise_for_status()
                    with target.open("xb") as file:
                        async for chunk in response.aiter_bytes():
                            file.write(chunk)

            await _gathered(one, pairs)

    return lambda pairs, connections: asyncio.run(fetch(pairs, connections))


def by_aiohttp() -> Fetch:
    import aiohttp

    async def fetch(pairs: Pairs, connections: int) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=connections)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

            async def one(url: str, target: Path) -> None:
                async with session.get(url, raise_for_status=True) as response:
                    with target.open("xb") as file:
                        async for chunk in response.content.iter_any():
                            file.write(chunk)

            await _gathered(one, pairs)

    return lambda pairs, connections: asyncio.run(fetch(pairs, connections))


def by_requests() -> Fetch:
    from benchmarks.tutorial_fetch import THREADS, plain

    def fetch(pairs: Pairs, _: int) -> None:
        with ThreadPoolExecutor(THREADS) as threads:
            for _ in threads.map(lambda pair: pair[1].write_bytes(plain(pair[0])), pairs):
                pass

    return fetch


async def _gathered(one: Callable[[str, Path], Awaitable[None]], pairs: Pairs) -> None:
    await asyncio.gather(*(one(url, target) for url, target in pairs))


WAYS: dict[str, Callable[[], Fetch]] = {
    "httpx": by_httpx,
    "aiohttp": by_aiohttp,
    "requests": by_requests,
}


def main(way: str, listed: str, folder: str, connections: str) -> None:
    fetch = WAYS[way]()
    urls = Path(listed).read_text().split()
    pairs = [(url, Path(folder) / str(number)) for number, url in enumerate(urls)]
    used_s, started = time.process_time(), time.perf_counter()
    fetch(pairs, int(connections))
    taken = {"seconds": time.perf_counter() - started, "cpu_s": time.process_time() - used_s}
    print(json.dumps(taken))


if __name__ == "__main__":
    main(*sys.argv[1:])
