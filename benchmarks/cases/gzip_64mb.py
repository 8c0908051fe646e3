"""One large file: uploaded, compressed, and its result in hand."""

from __future__ import annotations

import asyncio
import zlib
from functools import partial
from statistics import median

from benchmarks import corpus, exchanges, load, services, stats
from benchmarks.bench import Bench, Table, verdict
from benchmarks.exchanges import Exchange
from benchmarks.load import Load
from benchmarks.services import Service
from benchmarks.wire import Connection

LEVELS = ("balanced", "7", "9", "best", "fast")
REQUIRED = 4.0
MB = 1e6


def run(bench: Bench) -> list[Table]:
    size_bytes = bench.size(64 << 20, 2 << 20)
    inputs = {
        "logs": corpus.logs(size_bytes),
        "text": corpus.source_text(size_bytes),
    }
    with services.naive(bench.folder) as naive, services.offload(bench) as offload:
        return [_table(bench, kind, data, naive, offload) for kind, data in inputs.items()]


def _table(bench: Bench, kind: str, data: bytes, naive: Service, offload: Service) -> Table:
    services_by_name = {"naive, zlib 9": naive}
    exchanges_by_name = {"naive, zlib 9": partial(exchanges.naive, "/compress")}
    for level in LEVELS:
        services_by_name[f"Offload, {level}"] = offload
        exchanges_by_name[f"Offload, {level}"] = partial(
            exchanges.offload, f"/v1/compress?level={level}"
        )
    ratios = {
        name: len(data) / _verified(services_by_name[name], make([data], "a", keep=True), data)
        for name, make in exchanges_by_name.items()
    }
    results = {
        clients: bench.alternate(
            {
                f"{name}, {kind}, {clients} clients": partial(
                    load.run,
                    services_by_name[name].port,
                    make([data], "a"),
                    clients,
                    count=2 * clients,
                )
                for name, make in exchanges_by_name.items()
            }
        )
        for clients in (1, 2)
    }
    by_clients = {
        clients: dict(zip(exchanges_by_name, found.values(), strict=True))
        for clients, found in results.items()
    }
    return _as_table(bench, kind, len(data), ratios, by_clients)


def _verified(service: Service, exchange: Exchange, data: bytes) -> int:
    """Do it once, also to warm up; give the result's size, if it decompresses to the input."""

    async def once() -> bytes:
        async with Connection(service.port) as connection:
            return (await exchange(connection, 0)).body

    result = asyncio.run(once())
    if zlib.decompress(result, 47) != data:  # 47: gzip or zlib, by its header
        raise RuntimeError("The result does not decompress to what was sent.")
    return len(result)


def _as_table(
    bench: Bench,
    kind: str,
    size_bytes: int,
    ratios: dict[str, float],
    by_clients: dict[int, dict[str, list[Load]]],
) -> Table:
    naive, *ours = ratios
    speeds = {
        clients: {name: [r.per_second * size_bytes / MB for r in runs] for name, runs in of.items()}
        for clients, of in by_clients.items()
    }
    rows = []
    for name, ratio in ratios.items():
        row = [name, f"{ratio:.3f}"]
        for clients in speeds:
            row.append(f"{median(speeds[clients][name]):.1f}")
            row.append(f"{stats.ratio(speeds[clients][name], speeds[clients][naive]):.2f}x")
            row.append(f"{median(r.p50_ms for r in by_clients[clients][name]) / 1000:.2f}")
            row.append(f"{median(r.client_cpu for r in by_clients[clients][name]):.2f}")
        rows.append(row)
    notes = []
    # To the third decimal, as shown: a ratio that differs in the fourth is the same.
    dense = [name for name in ours if round(ratios[name], 3) >= round(ratios[naive], 3)]
    for clients in speeds:
        gain = {
            name: stats.ratio(speeds[clients][name], speeds[clients][naive]) for name in dense
        } or {"no level is as dense": 0.0}
        best = max(gain, key=lambda name: gain[name])
        notes.append(
            verdict(
                f"{clients} in flight, at least {REQUIRED:g}x naive at naive's ratio or better",
                f"{gain[best]:.2f}x with {best}",
                met=gain[best] >= REQUIRED,
            )
        )
    columns = ["service and level", "input / output"]
    for clients in speeds:
        columns += [f"MB/s, {clients} in flight", "to naive", "p50 s", "client cores"]
    title = f"gzip-64mb: {size_bytes >> 20} MiB of {kind}, uploaded, compressed, downloaded"
    return Table(title, columns, rows, notes)
