"""Memory: of the whole process tree under load, and of the API process under a huge upload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from statistics import median

from benchmarks import corpus, exchanges, load, services, stats
from benchmarks.bench import Bench, Table, verdict
from benchmarks.exchanges import Exchange, checked, job_done
from benchmarks.memory import MIB, Peak, rss_bytes, tree_pss_bytes
from benchmarks.services import Service
from benchmarks.wire import Connection, Upload

REQUIRED_GROWTH_MB = 50.0

Start = Callable[[], AbstractContextManager[Service]]


def run(bench: Bench) -> list[Table]:
    return [_under_load(bench), _huge_upload(bench)]


def _under_load(bench: Bench) -> Table:
    photographs = corpus.photographs(bench.size(12, 2))
    logs = corpus.logs(bench.size(64 << 20, 2 << 20))
    door = "/v1/images?width=800&height=600"
    loads = {
        "64 MiB gzip, 4 in flight": (
            (
                exchanges.naive("/compress", [logs], "a"),
                exchanges.offload("/v1/compress", [logs], "a"),
            ),
            4,
            bench.size(12, 4),
        ),
        "12 MP images, 16 in flight": (
            (
                exchanges.naive("/thumbnail", photographs, "a.jpg"),
                exchanges.offload(door, photographs, "a.jpg"),
            ),
            16,
            bench.size(160, 16),
        ),
    }
    rows = []
    for name, (pair, clients, count) in loads.items():
        results = bench.alternate(
            {
                f"{service}, {name}": partial(_peak, start, exchange, clients, count)
                for (service, start), exchange in zip(_starts(bench).items(), pair, strict=True)
            }
        )
        naive, offload = results.values()
        for service, found in zip(_starts(bench), (naive, offload), strict=True):
            peaks = [peak for _, peak in found]
            rows.append(
                [
                    f"{service}, {name}",
                    f"{median(before for before, _ in found) / MIB:.0f}",
                    f"{median(peaks) / MIB:.0f}",
                    f"{stats.ratio(peaks, [peak for _, peak in naive]):.2f}x",
                ]
            )
    columns = ("service, load", "idle MiB", "peak MiB", "peak to naive")
    notes = [
        "Proportional set size of all processes of a freshly started service.",
        "Idle naive has no workers yet; Offload starts and warms its own before it listens.",
    ]
    return Table("memory: the whole process tree", columns, rows, notes)


def _starts(bench: Bench) -> dict[str, Start]:
    return {
        "naive": partial(services.naive, bench.folder),
        "Offload": partial(services.offload, bench),
    }


def _peak(start: Start, exchange: Exchange, clients: int, count: int) -> tuple[int, int]:
    with start() as service, Peak(partial(tree_pss_bytes, service.pid)) as peak:
        load.run(service.port, exchange, clients, count=count)
    return peak.before_bytes, peak.bytes


def _huge_upload(bench: Bench) -> Table:
    pieces = bench.size(32, 2)
    piece = corpus.logs(bench.size(64 << 20, 4 << 20))
    upload = Upload("application/octet-stream", (piece,) * pieces)
    settings = {
        "OFFLOAD_UPLOAD_MAX_BYTES": str(4 << 30),
        "OFFLOAD_ITEM_MAX_OUTPUT_BYTES": str(4 << 30),
    }
    growths, trees, seconds = [], [], []
    for number in range(bench.rounds):
        bench.say(f"round {number + 1} of {bench.rounds}: upload of {upload.size_bytes >> 20} MiB")
        with services.offload(bench, settings) as service:
            asyncio.run(_put(service, Upload(upload.content_type, (piece[: 1 << 20],))))
            with (
                Peak(partial(rss_bytes, service.pid)) as api,
                Peak(partial(tree_pss_bytes, service.pid)) as tree,
            ):
                seconds.append(asyncio.run(_put(service, upload)))
            growths.append((api.bytes - api.before_bytes) / 1e6)
            trees.append(tree.bytes / MIB)
    worst = max(growths)
    rate = median(upload.size_bytes / 1e6 / taken for taken in seconds)
    rows = [
        [f"{upload.size_bytes / 1e9:.2f} GB", f"{worst:.1f}", f"{median(trees):.0f}", f"{rate:.0f}"]
    ]
    columns = ("raw PUT, format=gzip, level=fast", "worst API growth MB", "tree peak MiB", "MB/s")
    requirement = f"the API process grows by less than {REQUIRED_GROWTH_MB:g} MB"
    notes = [verdict(requirement, f"{worst:.1f} MB", met=worst < REQUIRED_GROWTH_MB)]
    return Table("memory: one huge upload", columns, rows, notes)


async def _put(service: Service, upload: Upload) -> float:
    """Send a raw body as `curl -T` does and wait for its job; gives the seconds taken."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with Connection(service.port) as connection:
        target = f"/v1/compress/a.log?format=gzip&level=fast&wait={exchanges.WAIT_S}"
        made = checked(await connection.request("PUT", target, upload, keep=True), 200)
        await job_done(connection, made)
    return loop.time() - started
