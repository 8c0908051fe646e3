"""Many URLs of one fast origin, by one job, against threads and requests."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from statistics import median

from benchmarks import fetches, services, stats
from benchmarks.bench import Bench, Table, verdict

REQUIRED = 2.0


def run(bench: Bench) -> list[Table]:
    count = bench.size(1000, 50)
    with (
        services.origin(bench.folder) as origin,
        services.offload(bench.folder, fetches.SETTINGS) as offload,
    ):
        loads = {
            "20 threads, requests.get": partial(_tutorial, origin.port, count, "plain"),
            "20 threads, a Session each": partial(_tutorial, origin.port, count, "session"),
            f"Offload, one job of {count}": partial(_job, offload.port, origin.port, count),
        }
        for warm_up in loads.values():
            warm_up()
        results = bench.alternate(loads)
    rates = {name: [count / seconds for seconds in found] for name, found in results.items()}
    plain, session, ours = rates.values()
    rows = [
        [
            name,
            f"{median(found):.0f}",
            f"{stats.ratio(found, plain):.2f}x",
            f"{stats.ratio(found, session):.2f}x",
            f"{stats.spread(found):.0%}",
        ]
        for name, found in rates.items()
    ]
    gain = stats.ratio(ours, plain)
    requirement = f"at least {REQUIRED:g}x the tutorial's threads and requests.get"
    notes = [
        "Offload's bodies and records are on disk, durably; the threads keep theirs in memory.",
        "Offload holds its default limit of 16 requests under way to one host.",
        "",
        verdict(requirement, f"{gain:.2f}x", met=gain >= REQUIRED),
    ]
    columns = ("fetcher", "URLs/s", "to requests.get", "to Session", "spread")
    return [Table(f"fetch-1000: {count} URLs of 4 KB from loopback", columns, rows, notes)]


def _tutorial(port: int, count: int, how: str) -> float:
    command = (sys.executable, "-m", "benchmarks.tutorial_fetch", str(port), str(count), how)
    ended = subprocess.run(
        command, cwd=services.ROOT, capture_output=True, check=True, timeout=fetches.LIMIT_S
    )
    return float(ended.stdout)


def _job(port: int, origin_port: int, count: int) -> float:
    seconds, _ = fetches.fetch(port, fetches.urls_of(origin_port, count))
    return seconds
