"""URLs of the loopback origin, and jobs of Offload that fetch them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from benchmarks import exchanges
from benchmarks.exchanges import checked, job_done
from benchmarks.origin import BODY_BYTES
from benchmarks.wire import Connection, Upload

SETTINGS = {"OFFLOAD_FETCH_ALLOW_NETWORKS": '["127.0.0.1/32"]'}
"""All that is set: without it loopback is refused."""
LIMIT_S = 300
PAGE = 1000


def urls_of(origin_port: int, count: int, size_bytes: int = BODY_BYTES) -> list[str]:
    """Give URLs whose bodies have that size and differ from one another."""
    return [f"http://127.0.0.1:{origin_port}/0/{number}/{size_bytes}" for number in range(count)]


def fetch(port: int, urls: Sequence[str]) -> tuple[float, dict[str, Any]]:
    """Fetch URLs by one job; give the seconds until it was done, and the job.

    Raises:
        RuntimeError: not all of them succeeded.
    """
    body = Upload("application/json", (json.dumps({"urls": urls}).encode(),))

    async def once() -> dict[str, Any]:
        async with asyncio.timeout(LIMIT_S), Connection(port) as connection:
            target = f"/v1/fetch?wait={exchanges.WAIT_S}"
            made = await connection.request("POST", target, body, keep=True)
            return await job_done(connection, made)

    started = time.perf_counter()
    job = asyncio.run(once())
    return time.perf_counter() - started, job


def check_results(port: int, job: dict[str, Any], size_bytes: int) -> None:
    """Make sure that each item of a job has a result of that size, and no two the same one.

    Raises:
        RuntimeError: that is not so.
    """

    async def digests() -> list[str]:
        async with Connection(port) as connection:
            return [
                result["sha256"]
                async for item in _items(connection, job)
                for result in item["results"]
                if result["size_bytes"] == size_bytes
            ]

    found = asyncio.run(digests())
    total = job["counts"]["total"]
    if len(found) != total or len(set(found)) != total:
        raise RuntimeError(
            f"{len(found)} results of {size_bytes} bytes, {len(set(found))} of them different, "
            f"of {total} URLs."
        )


async def _items(connection: Connection, job: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    cursor = ""
    while True:
        path = f"{job['links']['items']}?limit={PAGE}{cursor}"
        page = checked(await connection.get(path, keep=True), 200).json()
        for item in page["items"]:
            yield item
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={page['next_cursor']}"
