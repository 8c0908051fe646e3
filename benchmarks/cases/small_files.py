"""Many small files: the price of a request, and what sending them as one job saves."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from statistics import median

from benchmarks import corpus, exchanges, load, services, stats
from benchmarks.bench import Bench, Table
from benchmarks.exchanges import checked, job_done
from benchmarks.wire import Connection, Response, Upload, multipart

FILE_BYTES = 4096
CONNECTIONS = 16
PAGE = 1000


def run(bench: Bench) -> list[Table]:
    count = bench.size(1000, 50)
    files = corpus.small_files(count, FILE_BYTES)
    batch = multipart([(f"{number}.json", data) for number, data in enumerate(files)])
    one_each = partial(exchanges.offload, "/v1/compress", files, "a.json")
    with services.naive(bench.folder) as naive, services.offload(bench.folder) as offload:
        loaded = partial(load.run, clients=CONNECTIONS, count=count)
        loads = {
            "naive, a request each": lambda: (
                loaded(naive.port, exchanges.naive("/compress", files, "a.json")).seconds
            ),
            "Offload, a job each": lambda: loaded(offload.port, one_each()).seconds,
            f"Offload, one job of {count}": lambda: asyncio.run(_batch(offload.port, batch, count)),
        }
        for warm_up in loads.values():
            warm_up()
        results = bench.alternate(loads)
    rates = {name: [count / seconds for seconds in found] for name, found in results.items()}
    naive_rates = next(iter(rates.values()))
    rows = [
        [
            name,
            f"{median(found):.0f}",
            f"{stats.ratio(found, naive_rates):.2f}x",
            f"{stats.spread(found):.0%}",
        ]
        for name, found in rates.items()
    ]
    title = f"small-files: {count} files of 4 KiB, {CONNECTIONS} connections, all results in hand"
    notes = [
        "Offload has files, jobs and results on disk when it says so; naive keeps nothing.",
    ]
    return [Table(title, ("service", "files/s", "to naive", "spread"), rows, notes)]


async def _batch(port: int, batch: Upload, count: int) -> float:
    """Send all in one request, list the results, download each; give the seconds taken."""
    started = time.perf_counter()
    hrefs: list[str] = []
    async with Connection(port) as connection:
        target = f"/v1/compress?wait={exchanges.WAIT_S}"
        made = await connection.request("POST", target, batch, keep=True)
        job = await job_done(connection, made)
        cursor = ""
        while True:
            path = f"{job['links']['items']}?limit={PAGE}{cursor}"
            page = checked(await connection.get(path, keep=True), 200).json()
            hrefs += [file["href"] for item in page["items"] for file in item["results"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"

    async def download(connection: Connection, number: int) -> Response:
        return checked(await connection.get(hrefs[number]), 200)

    if len(hrefs) != count:
        raise RuntimeError(f"{len(hrefs)} results for {count} files.")
    await load.closed_loop(port, download, CONNECTIONS, count=count)
    return time.perf_counter() - started
