"""Contenders at one piece of work: at what rate each does it, and whose CPU that takes.

One that fails is told by its reason, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks import load, processes, stats
from benchmarks.bench import Bench
from benchmarks.exchanges import Exchange
from benchmarks.load import Load
from benchmarks.processes import Cpu
from benchmarks.services import Service

OURS = "Offload"
NAIVE = "tutorial"
BARE = "bare FastAPI"
COLUMNS = (
    *(
        "work, contender",
        "/s",
        "ours to it",
        "p50 ms",
        "p99 ms",
        "first process ms",
        "by thread ms",
    ),
    *("others ms", "client ms", "cores", "peak MB", "spread"),
)
MB = 1e6
THREADS_SHOWN = 5
REASON_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one contender."""

    count: int
    """Pieces of work that it did."""
    seconds: float
    cpu: Cpu
    """What the contender used."""
    client_s: float
    """CPU of whoever is beside it on the same cores: its client, or the origin that it asks."""
    latencies_ms: Sequence[float] = ()
    peak_bytes: int = 0
    """The most that its first process held, where that was looked at."""

    @property
    def per_second(self) -> float:
        """Pieces of work a second."""
        return self.count / self.seconds

    @property
    def cores(self) -> float:
        """How many cores were busy with it, the client included."""
        return (self.cpu.first_s + self.cpu.others_s + self.client_s) / self.seconds


Run = Callable[[], Measured]


def beside(look: Callable[[], Cpu], run: Callable[[], Load]) -> Measured:
    """Put a load on a contender and give what both took; `look` tells what it has used so far."""
    before = look()
    found = run()
    used = look().since(before)
    client_s = found.client_cpu * found.seconds
    return Measured(len(found.latencies_ms), found.seconds, used, client_s, found.latencies_ms)


def served(service: Service, run: Callable[[], Load]) -> Run:
    """Make the run of a contender that is a service."""
    return partial(beside, partial(processes.cpu, service.pid), run)


def loaded(
    service: Service,
    exchange: Exchange,
    clients: int,
    *,
    count: int | None = None,
    seconds: float | None = None,
) -> Run:
    """Make the run of a service under a load of `count` requests or so many seconds."""
    put = partial(load.run, service.port, exchange, clients, count=count, seconds=seconds)
    return served(service, put)


def timed(service: Service, count: int, work: Callable[[], object]) -> Measured:
    """Have a service do `count` pieces of work by one call, and give what that took."""
    look = partial(processes.cpu, service.pid)
    before, client_s, started = look(), time.process_time(), time.perf_counter()
    work()
    seconds, client_s = time.perf_counter() - started, time.process_time() - client_s
    return Measured(count, seconds, look().since(before), client_s)


@dataclass(frozen=True, slots=True)
class Contest:
    """How a piece of work went, by contender."""

    work: str
    runs: Mapping[str, Sequence[Measured]]
    failures: Mapping[str, str]
    """Why who is not among the runs."""

    def rates(self, name: str) -> list[float]:
        """Give a contender's pieces of work a second, round by round."""
        return [run.per_second for run in self.runs[name]]

    def rate(self, name: str) -> float:
        """Give the median of those."""
        return median(self.rates(name))

    def gain(self, name: str) -> float:
        """Tell how many times as fast as another ours is; raises `KeyError` if either failed."""
        return stats.ratio(self.rates(OURS), self.rates(name))

    def latency_ms(self, name: str, percent: float) -> float:
        """Give the median over the rounds of a percentile of the latencies."""
        return median(stats.percentile(run.latencies_ms, percent) for run in self.runs[name])

    def first_ms(self, name: str) -> float:
        """Give the CPU of a contender's first process, for a piece of work: ours is the API."""
        return self._each_ms(name, lambda run: run.cpu.first_s)

    def peak_mb(self, name: str) -> float:
        """Give the most that a contender's first process held in any round, in 10^6 bytes."""
        return max(run.peak_bytes for run in self.runs[name]) / MB

    def _each_ms(self, name: str, seconds: Callable[[Measured], float]) -> float:
        return median(seconds(run) * 1000 / run.count for run in self.runs[name])

    def rows(self) -> Iterator[list[str]]:
        """Give a line of the table for each contender, those that failed last."""
        for name in self.runs:
            yield self._row(name)
        for name, reason in self.failures.items():
            yield [f"{self.work}: {name}", f"**failed**: {reason}", *[""] * (len(COLUMNS) - 2)]

    def _row(self, name: str) -> list[str]:
        runs = self.runs[name]
        return [
            f"{self.work}: {name}",
            f"{self.rate(name):.1f}",
            f"{self.gain(name):.2f}x" if name != OURS and OURS in self.runs else "",
            *self._latencies(name),
            f"{self.first_ms(name):.2f}",
            _by_thread(runs[0]),
            f"{self._each_ms(name, lambda run: run.cpu.others_s):.2f}",
            f"{self._each_ms(name, lambda run: run.client_s):.2f}",
            f"{median(run.cores for run in runs):.2f}",
            f"{self.peak_mb(name):.0f}" if runs[0].peak_bytes else "",
            f"{stats.spread(self.rates(name)):.0%}",
        ]

    def _latencies(self, name: str) -> list[str]:
        if not self.runs[name][0].latencies_ms:
            return ["", ""]
        return [f"{self.latency_ms(name, percent):.2f}" for percent in (50, 99)]


def _by_thread(run: Measured) -> str:
    """Give the main thread's part first, then the others', the busiest first; of the first run."""
    each_ms = [used_s * 1000 / run.count for used_s in run.cpu.threads_s.values()]
    if not each_ms:
        return ""
    others = sorted((used_ms for used_ms in each_ms[1:] if used_ms >= 0.005), reverse=True)
    shown, rest = others[:THREADS_SHOWN], others[THREADS_SHOWN:]
    parts = [f"{used_ms:.2f}" for used_ms in (each_ms[0], *shown)]
    return " + ".join(parts) + (f" + {len(rest)} of {sum(rest):.2f}" if rest else "")


def held(
    bench: Bench, work: str, runs: Mapping[str, Run], missing: Mapping[str, str] | None = None
) -> Contest:
    """Let all do the work in turn, round after round; never raises for what one of them does."""
    failures = dict(missing or {})

    def attempted(name: str) -> Measured | None:
        if name in failures:
            return None
        try:
            return runs[name]()
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are to be measured
            failures[name] = reason(error)
            bench.say(f"{work}: {name} failed: {failures[name]}")
            return None

    found = bench.alternate({f"{work}: {name}": partial(attempted, name) for name in runs})
    whole = {
        name: [run for run in measured if run is not None]
        for name, measured in zip(runs, found.values(), strict=True)
        if name not in failures
    }
    return Contest(work, whole, failures)


def failed(work: str, error: Exception) -> Contest:
    """Give the contest that did not come about."""
    return Contest(work, {}, {OURS: reason(error)})


def reason(error: BaseException) -> str:
    """Say in a line that fits a table why something failed, by its first cause if it has many."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = " ".join(f"{type(error).__name__}: {error}".replace("|", "/").split())
    return said[:REASON_CHARACTERS]
