"""Contenders that take turns at the same work, until the time for it is used up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field

from app.guide.statistics import ENOUGH_ROUNDS, Better

Sample = Mapping[str, float]
"""What one round of one contender came to, by the key of the figure."""

FEWEST_ROUNDS = ENOUGH_ROUNDS
MOST_ROUNDS = 25
FAILURES = (MemoryError, OSError, RuntimeError, BrokenExecutor)
"""What a machine may refuse a contender: memory, descriptors, threads, processes."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that is measured in each round."""

    key: str
    label: str
    unit: str
    better: Better = "less"
    exact: bool = False
    """True for what is counted: no noise is in it."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the work."""

    name: str
    run: Callable[[], Sample]
    """Do it once; gives every figure of the case."""
    judged: bool = True
    """False for what is there to compare with, and wins nothing."""


@dataclass(frozen=True, slots=True)
class Case:
    """Some work, the same for all contenders."""

    key: str
    title: str
    work: str
    figures: Sequence[Figure]
    contenders: Sequence[Contender]
    recommended: Sequence[str] = ()
    """Names of the contenders that the guide recommends."""
    fewest: int = FEWEST_ROUNDS
    """Rounds that are done whatever time they take."""
    warm: bool = True
    """Whether a first round is done that does not count."""


@dataclass(frozen=True, slots=True)
class Result:
    """All rounds of a case."""

    samples: Mapping[str, Sequence[Sample]]
    """By the names of those contenders that could do the work."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """By the names of the others, why not."""


def race(
    case: Case,
    budget_s: float,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.perf_counter,
) -> Result:
    """Have the contenders take turns, round after round.

    If the case is to be `warm`, a round that does not count goes before the others. The order
    turns with each round, so that nobody always comes after the same one. A contender that the
    machine refuses something (`FAILURES`) leaves the race; the others go on.

    Args:
        case: what to do; at least `case.fewest` rounds of it, at most `MOST_ROUNDS`.
        budget_s: no further round is begun that would probably end past this.
        say: told what runs now.
        clock: gives seconds.
    """
    end_s = clock() + budget_s
    samples: dict[str, list[Sample]] = {one.name: [] for one in case.contenders}
    failed: dict[str, str] = {}
    took_s = 0.0
    for number in range(0 if case.warm else 1, MOST_ROUNDS + 1):
        began_s = clock()
        if number > case.fewest and began_s + took_s > end_s:
            break
        for one in _turned(case.contenders, number):
            if one.name in failed:
                continue
            say(f"{case.title}: {one.name}" + (f", round {number}" if number else ", warming up"))
            try:
                sample = one.run()
            except FAILURES as error:
                failed[one.name] = str(error) or type(error).__name__
                continue
            if number:
                samples[one.name].append(sample)
        took_s = clock() - began_s
    return Result({name: of for name, of in samples.items() if name not in failed}, failed)


def _turned(contenders: Sequence[Contender], by: int) -> list[Contender]:
    by %= len(contenders)
    return [*contenders[by:], *contenders[:by]]


def timed(work: Callable[[], object]) -> Callable[[], Sample]:
    """Make a contender's `run` of work whose only figure is how long it takes, in `ms`."""

    def run() -> Sample:
        began_s = time.perf_counter()
        work()
        return {"ms": (time.perf_counter() - began_s) * 1000}

    return run


def how_many(one_s: float, turns: float, budget_s: float, fewest: int, most: int) -> int:
    """Give how many pieces of work a contender is to do, so that some rounds fit the budget.

    Args:
        one_s: what one piece takes alone.
        turns: how many times over one round does all pieces, all contenders together.
        budget_s: for the whole race.
        fewest: at least this many.
        most: at most this many.
    """
    rounds = 9  # eight that count, and the first
    return max(fewest, min(most, int(budget_s / (rounds * turns * one_s))))
