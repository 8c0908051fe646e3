"""What the rounds say: a spread for each contender, and a verdict only where there is one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, Self

NOISY = 0.25
"""Noise, as a share, above which contenders that cannot be told apart are not called equal."""

Better = Literal["less", "more"]
Kind = Literal["winner", "shared", "no_difference", "too_busy"]
Agrees = Literal["yes", "no", "no_difference", "too_busy", "nothing_said"]


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
    next_best: str | None = None
    """The best of those that are behind."""
    times: float | None = None
    """How many times better the first leader's median is than that one's; None where one is 0."""


def judged(spreads: Mapping[str, Spread], better: Better, noise: float) -> Verdict:
    """Judge at least one contender.

    Two differ if none of one's rounds is as good as any of the other's, and their medians lie
    further apart than the noise.

    Args:
        spreads: by contender.
        better: whether less or more of the figure is better.
        noise: how much the same piece of work differed from itself, as a share.
    """
    order = sorted(spreads, key=lambda name: spreads[name].middle, reverse=better == "more")
    best, rest = spreads[order[0]], order[1:]
    tied = [name for name in rest if not _apart(best, spreads[name], noise)]
    behind = [name for name in rest if name not in tied]
    leaders = (order[0], *tied)
    if rest and not behind:
        return Verdict("too_busy" if noise > NOISY else "no_difference", leaders)
    kind: Kind = "shared" if tied else "winner"
    if not behind:
        return Verdict(kind, leaders)
    return Verdict(kind, leaders, behind[0], ratio(best.middle, spreads[behind[0]].middle))


def _apart(one: Spread, other: Spread, noise: float) -> bool:
    if one.least <= other.most and other.least <= one.most:
        return False
    times = ratio(one.middle, other.middle)
    return times is None or times > 1 + noise


def ratio(one: float, other: float) -> float | None:
    """Give how many times the larger is the smaller; None where that is 0."""
    low, high = sorted((one, other))
    return high / low if low > 0 else None


def agrees(verdict: Verdict, recommended: Sequence[str]) -> Agrees:
    """Tell whether what the guide recommends is among what was best here."""
    if not recommended:
        return "nothing_said"
    if verdict.kind in ("no_difference", "too_busy"):
        return verdict.kind
    return "yes" if set(verdict.leaders) & set(recommended) else "no"


def noise_of(times: Sequence[float]) -> float:
    """Give how much the same work differs from itself: nine tenths of it lie within this share.

    Of the median, between the 5th and the 95th percentile of at least one time.
    """
    ordered = sorted(times)
    return (percentile(ordered, 95) - percentile(ordered, 5)) / median(ordered)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Give the smallest of some ordered values that so many percent of them do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
