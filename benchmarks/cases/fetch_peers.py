"""Many small files and some large ones from a fast origin, beside what else fetches URLs.

Every fetcher ends with all bodies in files. Ours are synced, digested and recorded besides.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks import fetches, processes, services, stats
from benchmarks.bench import Bench, Table, unmeasured, verdict
from benchmarks.memory import Peak, tree_pss_bytes
from benchmarks.peers import fetchers
from benchmarks.peers.fetchers import CONNECTIONS, CURL, TUTORIAL, Spent
from benchmarks.services import Service

MB = 1e6
OURS = "Offload"
CURL_SMALL = 0.5
CURL_LARGE = 0.8
TUTORIAL_SMALL = 3.0
FLAT_MB = 32
"""What is taken for flat, from the small bodies to the large: two buffers of each download."""
WARM_UP = 16

_WORK = (
    f"{CONNECTIONS} connections each; the tutorial has one for each URL, 20 at a time. All write"
    " files, and every file's size is checked. Offload has its defaults; what it stores is also"
    " digested, synced and recorded, and the time is that of the job, from the request to its end."
)
_COUNTED = (
    "CPU and memory are those of all processes of a fetcher: for Offload, the idle workers too."
    " Memory is the sum of the proportional set sizes, at most, looked at 20 times a second."
    " The time of curl and aria2c is that of the process; a Python peer's begins with its first"
    " request. Origin and fetcher share the cores; `origin cores` is what the origin took of one."
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one fetcher."""

    spent: Spent
    origin_cores: float
    """What the origin took of one core meanwhile: near 1 it would be what is measured."""


@dataclass(frozen=True, slots=True)
class Bodies:
    """What there is to fetch, and how it went, round by round and by fetcher."""

    count: int
    size_bytes: int
    runs: Mapping[str, Sequence[Measured]]

    def rates(self, name: str) -> list[float]:
        """Give a fetcher's requests a second, round by round."""
        return [self.count / run.spent.seconds for run in self.runs[name]]

    def gain(self, name: str) -> float | None:
        """Tell how many times as fast as a fetcher ours is; None if that is missing."""
        if name not in self.runs:
            return None
        return stats.ratio(self.rates(OURS), self.rates(name))

    def peak_mb(self, name: str) -> float:
        """Give the memory that a fetcher held at most."""
        return median(run.spent.peak_bytes for run in self.runs[name]) / MB


def run(bench: Bench) -> list[Table]:
    with services.origin(bench.folder) as origin:
        small = _measured(bench, origin, bench.size(1000, 50), 4_000)
        large = _measured(bench, origin, bench.size(100, 4), 8_000_000)
    return [
        _table(small, "files of 4 KB", (_WORK, "", _COUNTED)),
        _table(large, "files of 8 MB", verdicts(small, large)),
    ]


def _measured(bench: Bench, origin: Service, count: int, size_bytes: int) -> Bodies:
    urls = fetches.urls_of(origin.port, count, size_bytes)
    runs: dict[str, Callable[[], Spent]] = {
        fetcher.name: partial(fetchers.fetched, fetcher, bench.folder, urls, size_bytes)
        for fetcher in fetchers.ALL
        if fetcher.installed
    }
    for fetcher in fetchers.ALL:
        if fetcher.installed:
            fetchers.fetched(fetcher, bench.folder, urls[:WARM_UP], size_bytes)
    runs[OURS] = partial(_ours, bench, origin, urls, size_bytes)
    named = {
        f"{name}, {count} of {size_bytes} bytes": partial(_beside_origin, origin, fetch)
        for name, fetch in runs.items()
    }
    return Bodies(count, size_bytes, dict(zip(runs, bench.alternate(named).values(), strict=True)))


def _beside_origin(origin: Service, fetch: Callable[[], Spent]) -> Measured:
    before_s = processes.cpu_s(origin.pid)
    spent = fetch()
    return Measured(spent, (processes.cpu_s(origin.pid) - before_s) / spent.seconds)


def _ours(bench: Bench, origin: Service, urls: Sequence[str], size_bytes: int) -> Spent:
    """Fetch by a service that has just started, so that its peak is that of these bodies."""
    with services.offload(bench, fetches.SETTINGS) as service:
        fetches.fetch(service.port, fetches.urls_of(origin.port, WARM_UP, 1))
        os.sync()
        with Peak(partial(tree_pss_bytes, service.pid)) as peak:
            used_s = processes.cpu_s(service.pid)
            seconds, job = fetches.fetch(service.port, urls)
            used_s = processes.cpu_s(service.pid) - used_s
        fetches.check_results(service.port, job, size_bytes)
    return Spent(seconds, used_s, peak.bytes)


def _table(bodies: Bodies, what: str, notes: Sequence[str]) -> Table:
    rows = [_row(bodies, name) for name in bodies.runs]
    missing = [fetcher.name for fetcher in fetchers.ALL if fetcher.name not in bodies.runs]
    rows += [[f"{name}: not installed", *[""] * (len(rows[0]) - 1)] for name in missing]
    columns = (
        *("fetcher", "requests/s", "MB/s", "Offload to it", "CPU s", "peak MB"),
        *("origin cores", "spread"),
    )
    return Table(f"fetch-peers: {bodies.count} {what} from loopback", columns, rows, notes)


def _row(bodies: Bodies, name: str) -> list[str]:
    rates, runs = bodies.rates(name), bodies.runs[name]
    return [
        name,
        f"{median(rates):.1f}",
        f"{median(rates) * bodies.size_bytes / MB:.1f}",
        f"{bodies.gain(name):.2f}x",
        f"{median(run.spent.cpu_s for run in runs):.2f}",
        f"{bodies.peak_mb(name):.0f}",
        f"{median(run.origin_cores for run in runs):.2f}",
        f"{stats.spread(rates):.0%}",
    ]


def verdicts(small: Bodies, large: Bodies) -> list[str]:
    """Say whether what is required holds."""
    growth = large.peak_mb(OURS) - small.peak_mb(OURS)
    tutorial = small.gain(TUTORIAL.name), large.gain(TUTORIAL.name)
    return [
        _to_curl(small, CURL_SMALL, "small files"),
        _to_curl(large, CURL_LARGE, "large files"),
        verdict(
            f"at least {TUTORIAL_SMALL:g}x the tutorial, small files",
            f"{tutorial[0]:.2f}x, and {tutorial[1]:.2f}x with large files",
            met=(tutorial[0] or 0) >= TUTORIAL_SMALL,
        ),
        verdict(
            f"memory flat: at most {FLAT_MB} MB more with large files than with small",
            f"{growth:.0f} MB",
            met=growth <= FLAT_MB,
        ),
    ]


def _to_curl(bodies: Bodies, required: float, what: str) -> str:
    requirement = f"at least {required:g}x {CURL.name}, {what}"
    gain = bodies.gain(CURL.name)
    if gain is None:
        return unmeasured(requirement, f"{CURL.name} is not installed")
    return verdict(requirement, f"{gain:.2f}x", met=gain >= required)
