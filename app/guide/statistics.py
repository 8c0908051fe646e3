"""What the rounds say: a spread for each contender, and a verdict only where there is one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Literal, Self

ENOUGH_ROUNDS = 4
"""Of each of two contenders, with which a rank test can say anything at all."""
CHANCE = 0.05
"""Two that are alike are told apart as seldom as this."""
LEAST_DIFFERENCE = 0.02
"""As a share. What is less depends on where things lie in memory, and matters to nobody."""
NOISY = 0.25
"""Noise, as a share, above which contenders that cannot be told apart are not called equal."""

Better = Literal["less", "more"]
Untold = Literal["no_difference", "too_noisy", "too_few_rounds"]
Kind = Literal["winner", "shared", Untold]
Agrees = Literal["yes", "no", "nothing_said", Untold]


@dataclass(frozen=True, slots=True)
class Spread:
    """How far a contender's rounds lie apart, in the unit of the figure."""

    least: float
    middle: float
    """The median."""
    most: float

    @classmethod
    def of(cls, rounds: Sequence[float]) -> Self:
        """Make it of at least one round."""
        return cls(min(rounds), median(rounds), max(rounds))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said of one figure."""

    kind: Kind
    leaders: tuple[str, ...]
    """The best by its median, then those that cannot be told from it."""
    between: Untold
    """Why the leaders cannot be told apart, where there are several."""
    noise: float
    """How much the leaders' rounds differ from their own medians, as a share."""
    next_best: str | None = None
    """The best of those that are behind."""
    times: float | None = None
    """How many times better the first leader's median is than that one's; None where one is 0."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Tells whether two contenders differ, by all of their rounds."""

    better: Better
    """Whether less or more of the figure is better."""
    exact: bool = False
    """Whether the figure is counted: then no noise is in it, and one round is enough."""
    machine_noise: float = 0.0
    """How much the same piece of work differed from itself, as a share."""

    def differ(self, best: Sequence[float], other: Sequence[float]) -> bool:
        """Tell whether `best`, whose median is no worse, is ahead of `other`.

        By the Mann-Whitney U test, and by `LEAST_DIFFERENCE`. Of too few rounds for that, none
        may be as good as any of the other's, and the medians have to lie further apart than
        `NOISY` and the machine's noise.
        """
        against = self._against(best, other)
        if self.exact:
            return against == 0
        times = ratio(median(best), median(other)) or math.inf
        if min(len(best), len(other)) < ENOUGH_ROUNDS:
            return against == 0 and times > 1 + max(NOISY, self.machine_noise)
        return times > 1 + LEAST_DIFFERENCE and chance(len(best), len(other), against) < CHANCE

    def _against(self, best: Sequence[float], other: Sequence[float]) -> int:
        """Count the pairs of a round of each in which `best` is not ahead: Mann and Whitney's U."""
        sign = 1 if self.better == "less" else -1
        return sum(sign * one >= sign * two for one in best for two in other)

    def untold(self, leaders: Sequence[Sequence[float]], noise: float) -> Untold:
        """Say why leaders with these rounds cannot be told apart."""
        if self.exact:
            return "no_difference"
        if min(map(len, leaders)) < ENOUGH_ROUNDS:
            return "too_few_rounds"
        return "too_noisy" if noise > NOISY else "no_difference"


def judged(rounds: Mapping[str, Sequence[float]], judge: Judge) -> Verdict:
    """Judge at least one contender by at least one round of each."""
    middles = {name: median(of) for name, of in rounds.items()}
    order = sorted(middles, key=middles.__getitem__, reverse=judge.better == "more")
    best, rest = order[0], order[1:]
    tied = [name for name in rest if not judge.differ(rounds[best], rounds[name])]
    behind = [name for name in rest if name not in tied]
    leaders = (best, *tied)
    of_leaders = [rounds[name] for name in leaders]
    noise = 0.0 if judge.exact else noise_of_rounds(of_leaders)
    between = judge.untold(of_leaders, noise)
    if not behind:
        return Verdict(between if rest else "winner", leaders, between, noise)
    kind: Kind = "shared" if tied else "winner"
    times = ratio(middles[best], middles[behind[0]])
    return Verdict(kind, leaders, between, noise, behind[0], times)


def chance(one: int, other: int, against: int) -> float:
    """Give the probability that chance alone sets two that are alike so far apart, either way.

    Exactly, by the distribution of Mann and Whitney's U, with ties counted as against.

    Args:
        one: rounds of the one.
        other: rounds of the other.
        against: pairs of a round of each in which the better one is not ahead.
    """
    ways = _ways(one, other)
    return min(1.0, 2 * sum(ways[: against + 1]) / sum(ways))


@lru_cache(64)
def _ways(one: int, other: int) -> tuple[int, ...]:
    """Count the orders of so many rounds with each U: the Gaussian binomial's coefficients."""
    most = one * other
    counts = [1] + [0] * most
    for i in range(1, one + 1):
        for k in range(most, other + i - 1, -1):
            counts[k] -= counts[k - other - i]
        for k in range(i, most + 1):
            counts[k] += counts[k - i]
    return tuple(counts)


def ratio(one: float, other: float) -> float | None:
    """Give how many times the larger is the smaller; None where that is 0."""
    low, high = sorted((one, other))
    return high / low if low > 0 else None


def agrees(verdict: Verdict, recommended: Sequence[str]) -> Agrees:
    """Tell whether what the guide recommends is among what was best here.

    Leaders that noise or want of rounds has put together say nothing, if the guide recommends some
    of them and others not.
    """
    alone = verdict.next_best is None and verdict.kind == "winner"
    if not recommended or alone:
        return "nothing_said"
    if verdict.next_best is None:
        return verdict.between
    ours = set(verdict.leaders) & set(recommended)
    mixed = 0 < len(ours) < len(verdict.leaders)
    if mixed and verdict.between != "no_difference":
        return verdict.between
    return "yes" if ours else "no"


def noise_of_rounds(rounds: Sequence[Sequence[float]]) -> float:
    """Give how much rounds of contenders differ from their own medians, all of them together."""
    middles = [median(of) for of in rounds]
    return noise_of(
        [
            one / middle if middle else 1.0
            for of, middle in zip(rounds, middles, strict=True)
            for one in of
        ]
    )


def noise_of(times: Sequence[float]) -> float:
    """Give how much the same work differs from itself: nine tenths of it lie within this share.

    Of the median, between the 5th and the 95th percentile of at least one time.
    """
    ordered = sorted(times)
    return (percentile(ordered, 95) - percentile(ordered, 5)) / median(ordered)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Give the smallest of some ordered values that so many percent of them do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
