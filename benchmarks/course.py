"""How a long run goes: memory once a second, and every poll, each with its moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bench import Table
from benchmarks.memory import Looking, rss_bytes, tree_pss_bytes
from benchmarks.stats import percentile

MB = 1e6
EVERY_S = 1.0
SLICES = 12


@dataclass(frozen=True, slots=True)
class Sample:
    """What a service held at a moment."""

    at_s: float
    api_bytes: int
    """Resident in its first process, which has the API and fetches."""
    tree_bytes: int
    """Proportional set size of all its processes."""
    database_bytes: int


@dataclass(frozen=True, slots=True)
class Poll:
    """One answered poll of a job."""

    at_s: float
    took_ms: float
    done: int
    """Items that were over."""


@dataclass(slots=True)
class Course:
    """All of it, on one scale of seconds from the beginning."""

    started: float = field(default_factory=time.monotonic)
    samples: list[Sample] = field(default_factory=list)
    polls: list[Poll] = field(default_factory=list)

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.started

    def note(self, took_ms: float, done: int) -> None:
        """Note a poll that was just answered."""
        self.polls.append(Poll(self.now_s, took_ms, done))

    def table(self, title: str, notes: Sequence[str]) -> Table:
        """Cut it into slices of equal length, and say of each how it went."""
        end_s = max([sample.at_s for sample in self.samples] + [poll.at_s for poll in self.polls])
        length_s = end_s / SLICES
        rows, done = [], 0
        for number in range(1, SLICES + 1):
            until_s = number * length_s
            within = _within((number - 1) * length_s, until_s)
            polls = [poll for poll in self.polls if within(poll.at_s)]
            samples = [sample for sample in self.samples if within(sample.at_s)]
            before, done = done, max([done, *(poll.done for poll in polls)])
            rows.append(
                [
                    f"{until_s:.0f} s",
                    f"{done}",
                    f"{(done - before) / length_s:.0f}",
                    *_memory(samples),
                    *polled([poll.took_ms for poll in polls]),
                ]
            )
        columns = (
            *("until", "items done", "items/s", "API MB", "tree MB", "database MB"),
            *("polls", "p50 ms", "p99 ms", "max ms"),
        )
        return Table(title, columns, rows, notes)


def polled(took_ms: Sequence[float]) -> list[str]:
    """Give the number of polls and their p50, p99 and maximum as cells of a table."""
    if not took_ms:
        return ["0", "", "", ""]
    figures = percentile(took_ms, 50), percentile(took_ms, 99), max(took_ms)
    return [f"{len(took_ms)}", *(f"{figure:.1f}" for figure in figures)]


def _within(since_s: float, until_s: float) -> Callable[[float], bool]:
    return lambda at_s: since_s < at_s <= until_s


def _memory(samples: Sequence[Sample]) -> list[str]:
    if not samples:
        return ["", "", ""]
    return [
        f"{max(sample.api_bytes for sample in samples) / MB:.0f}",
        f"{max(sample.tree_bytes for sample in samples) / MB:.0f}",
        f"{samples[-1].database_bytes / MB:.0f}",
    ]


def database_bytes(data: Path) -> int:
    """Give the size of the database in a data folder, its log of writes included."""
    return sum(file.stat().st_size for file in data.glob("offload.db*"))


class Sampled(Looking):
    """Has a service's memory noted for as long as the context is open."""

    def __init__(self, course: Course, pid: int, data: Path) -> None:
        super().__init__(self._note, EVERY_S)
        self._course, self._pid, self._data = course, pid, data

    def _note(self) -> None:
        api_bytes, tree_bytes = rss_bytes(self._pid), tree_pss_bytes(self._pid)
        course = self._course
        database = database_bytes(self._data)
        course.samples.append(Sample(course.now_s, api_bytes, tree_bytes, database))
