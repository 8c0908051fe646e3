"""One run of the benchmarks: its sizes, its rounds, and the tables that come of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
"""The checkout that these benchmarks are part of."""


@dataclass(frozen=True, slots=True)
class Table:
    """A Markdown table with a heading and what is to be said below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Write it; the first column is text, the others are figures."""
        lines = [f"### {self.title}", "", _line(self.columns)]
        lines.append(_line(["---", *["---:"] * (len(self.columns) - 1)]))
        lines += [_line(row) for row in self.rows]
        lines += ["", *self.notes] if self.notes else []
        return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


@dataclass(frozen=True, slots=True)
class Bench:
    """What every case is given."""

    folder: Path
    """Empty, removed at the end; on the disk that is measured."""
    rounds: int
    quick: bool
    urls: int | None = None
    """As many as are to go through in the cases of long lists, instead of their own number."""
    app: Path = ROOT
    """The checkout whose service is measured; peers, origin and clients are always ours."""
    started: float = field(default_factory=time.monotonic)

    def size(self, full: T, quick: T) -> T:
        """Choose between a measurement's size and one that only shows that it works."""
        return quick if self.quick else full

    def say(self, text: str) -> None:
        """Tell whoever waits how far it is."""
        print(f"[{time.monotonic() - self.started:6.0f} s] {text}", file=sys.stderr, flush=True)

    def alternate(self, runs: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
        """Run all, round after round, every other round backwards; give what each gave."""
        results: dict[str, list[T]] = {name: [] for name in runs}
        for number in range(self.rounds):
            names = list(runs) if number % 2 == 0 else list(reversed(runs))
            for name in names:
                self.say(f"round {number + 1} of {self.rounds}: {name}")
                results[name].append(runs[name]())
        return results


Case = Callable[[Bench], list[Table]]


def verdict(requirement: str, measured: str, *, met: bool) -> str:
    """Say whether a requirement holds."""
    return f"- {'met' if met else '**NOT met**'}: {requirement}; measured {measured}."


def unmeasured(requirement: str, why: str) -> str:
    """Say that a requirement was not looked at, lest its absence look like success."""
    return f"- **not measured**: {requirement}; {why}."
