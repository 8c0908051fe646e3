"""How soon small questions are answered while every core is busy."""

from __future__ import annotations

import asyncio
from functools import partial
from statistics import median

from benchmarks import corpus, exchanges, load, services, stats
from benchmarks.bench import Bench, Table, verdict
from benchmarks.exchanges import Exchange, checked
from benchmarks.probe import RATE, Probed, probe
from benchmarks.services import Service
from benchmarks.wire import Connection, multipart

REQUIRED_MS = 50.0
SETTLE_S = 2.0


def run(bench: Bench) -> list[Table]:
    photographs = corpus.photographs(bench.size(12, 2))
    logs = corpus.logs(bench.size(64 << 20, 2 << 20))
    seconds = bench.size(10.0, 1.0)
    loads = {
        "12 MP images, 16 in flight": (
            16,
            exchanges.naive("/thumbnail", photographs, "a.jpg"),
            exchanges.offload("/v1/images?width=800&height=600", photographs, "a.jpg"),
        ),
        "64 MiB gzip, 4 in flight": (
            4,
            exchanges.naive("/compress", [logs], "a.log"),
            exchanges.offload("/v1/compress", [logs], "a.log"),
        ),
    }
    rows: list[list[str]] = []
    notes: list[str] = []
    with services.naive(bench.folder) as naive, services.offload(bench) as offload:
        poll = asyncio.run(finished_job(offload))
        targets = {"naive": (naive, ("/ping",)), "Offload": (offload, ("/livez", poll))}
        for name, (service, paths) in targets.items():
            for path in paths:
                found = asyncio.run(probe(service.port, path, seconds))
                rows.append(_row(f"{name}, {_shown(path)}, idle", [found], []))
        for load_name, (clients, *pair) in loads.items():
            results = bench.alternate(
                {
                    f"{name}, {load_name}": partial(
                        _run, service, exchange, clients, paths, seconds
                    )
                    for (name, (service, paths)), exchange in zip(
                        targets.items(), pair, strict=True
                    )
                }
            )
            for (name, (_, paths)), found in zip(targets.items(), results.values(), strict=True):
                rates = [rate for _, rate in found]
                for position, path in enumerate(paths):
                    probes = [probes[position] for probes, _ in found]
                    rows.append(_row(f"{name}, {_shown(path)}, {load_name}", probes, rates))
                    if path == poll:
                        p99_ms = median(found.p99_ms for found in probes)
                        requirement = f"poll p99 of at most {REQUIRED_MS:g} ms under {load_name}"
                        measured = f"{p99_ms:.1f} ms"
                        notes.append(verdict(requirement, measured, met=p99_ms <= REQUIRED_MS))
    columns = ("service, request, load", "p50 ms", "p99 ms", "max ms", "prober p99 ms", "load /s")
    return [Table(f"saturated: {RATE} small GETs a second", columns, rows, notes)]


def _shown(path: str) -> str:
    return "GET /v1/jobs/{id}" if path.startswith("/v1/jobs/") else f"GET {path}"


def _row(name: str, probes: list[Probed], rates: list[float]) -> list[str]:
    return [
        name,
        f"{median(found.p50_ms for found in probes):.1f}",
        f"{median(found.p99_ms for found in probes):.1f}",
        f"{max(found.max_ms for found in probes):.1f}",
        f"{median(found.own_p99_ms for found in probes):.1f}",
        f"{median(rates):.1f} ({stats.spread(rates):.0%})" if rates else "",
    ]


async def finished_job(offload: Service) -> str:
    """Make the job that is polled; gives its path."""
    async with Connection(offload.port) as connection:
        target = f"/v1/compress?wait={exchanges.WAIT_S}"
        upload = multipart([("a.txt", b"polled\n" * 100)])
        made = checked(await connection.request("POST", target, upload), 200)
        return made.headers["location"]


def _run(
    service: Service, exchange: Exchange, clients: int, paths: tuple[str, ...], seconds: float
) -> tuple[list[Probed], float]:
    """Probe each path in turn under one load; gives what was found, and the load's rate."""
    return asyncio.run(_probed(service, exchange, clients, paths, seconds))


async def _probed(
    service: Service, exchange: Exchange, clients: int, paths: tuple[str, ...], seconds: float
) -> tuple[list[Probed], float]:
    stop = asyncio.Event()
    loading = asyncio.create_task(load.closed_loop(service.port, exchange, clients, stop=stop))
    try:
        await asyncio.sleep(SETTLE_S)
        found = [await probe(service.port, path, seconds) for path in paths]
    finally:
        stop.set()
        done = await loading
    return found, done.per_second
