"""Two or more ways to do the same work, run in turn, and the lines and verdicts that come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks import stats
from benchmarks.bench import Bench
from benchmarks.load import Load

Run = Callable[[int], Load]
"""Puts so many clients at work."""


@dataclass(frozen=True, slots=True)
class Raced:
    """What a race of several contenders found, by the number in flight and then by contender."""

    loads: Mapping[int, Mapping[str, Sequence[Load]]]

    def rates(self, name: str, clients: int) -> list[float]:
        """Give a contender's pieces of work a second, round by round."""
        return [load.per_second for load in self.loads[clients][name]]

    def gain(self, name: str, other: str, clients: int) -> float:
        """Tell how many times as fast as another it is."""
        return stats.ratio(self.rates(name, clients), self.rates(other, clients))

    def p50_ms(self, name: str, clients: int) -> float:
        """Give a contender's median latency."""
        return median(load.p50_ms for load in self.loads[clients][name])

    def p99_ms(self, name: str, clients: int) -> float:
        """Give a contender's 99th percentile of latency."""
        return median(load.p99_ms for load in self.loads[clients][name])

    def client_cores(self, name: str, clients: int) -> float:
        """Give what the client took of one core."""
        return median(load.client_cpu for load in self.loads[clients][name])

    def spread(self, name: str, clients: int) -> float:
        """Tell how far a contender's rounds lie apart."""
        return stats.spread(self.rates(name, clients))


def raced(bench: Bench, runs: Mapping[str, Run], clients: Sequence[int], what: str) -> Raced:
    """Run all contenders in turn, round after round, with each number in flight."""
    loads = {}
    for count in clients:
        named = {
            f"{name}, {what}, {count} in flight": partial(run, count) for name, run in runs.items()
        }
        loads[count] = dict(zip(runs, bench.alternate(named).values(), strict=True))
    return Raced(loads)
