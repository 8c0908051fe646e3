"""Which of zlib-ng's levels a block of deflate gets: told by trying them on the data itself.

zlib-ng numbers its levels as zlib does, and what they compress to differs by the data: of JSON
logs its 5 makes 0.4 % more than zlib's 6 does at twice the speed, and its 7 makes 5 % less; of
source text 5 makes 0.8 % more and 7 makes 0.6 % less. So every `TRIAL_EVERY` blocks levels are
tried on a part of one, and a quick one and a small one mixed in such shares that they come out as
small as zlib's. They are judged by size alone: the same input gives the same choice on every
machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from zlib_ng import zlib_ng

from app.ops.codecs.levels import DeflateLevels

TRIAL_EVERY = 16
TRIAL_BYTES = 128 << 10
"""Of a block of 1 MiB: a trial of two levels and zlib takes a twentieth of what compressing 16
blocks does."""
_BEFORE_BYTES = 32 << 10
"""What the trial may point back into, as nearly all of a block may: without it the trial of JSON
misses by 1 % of the size, with it by 0.2."""

_MARGIN = 0.001
"""Added to what a trial tells: half of what it misses by. All of that costs 5 % of the time, and
the sizes of nine kinds of data came out the same within 0.2 %."""
_NEARLY = 0.003

_TIMES = {5: 1.0, 7: 1.8, 9: 3.0, 8: 3.5}
"""How long zlib-ng's levels take, 5 being 1: of logs and of source text, in the middle."""


def chooser(levels: DeflateLevels) -> Callable[[bytes], int]:
    """Give what is to be called with each block in turn, and gives its level."""
    if levels.as_small_as is None:
        [only] = levels.block_levels
        return lambda _: only
    return _AsSmallAs(levels.as_small_as, levels.block_levels).level


class _AsSmallAs:
    """The quickest levels with which all blocks together are as small as zlib makes them.

    An account is kept in parts of a block as zlib would have made it: a quick level that
    compresses less is had for what a slower one has saved before.
    """

    def __init__(self, zlib_level: int, levels: tuple[int, ...]) -> None:
        self._zlib_level = zlib_level
        self._levels = levels
        self._turn = 0
        self._owed = 0.0

    def level(self, block: bytes) -> int:
        if self._turn % TRIAL_EVERY == 0:
            self._costs = self._tried(block)
            self._quick, self._small = _mixed(self._costs)
        self._turn += 1
        affordable = self._owed + self._costs[self._quick] <= 0
        level = self._quick if affordable else self._small
        # Data that zlib-ng cannot make as small must not be paid for by the data after it.
        self._owed = min(self._owed + self._costs[level], 0.0)
        return level

    def _tried(self, block: bytes) -> dict[int, float]:
        """Give how much more than zlib levels make, up to the first that makes no more."""
        wanted = _trial(zlib, self._zlib_level, block)
        costs: dict[int, float] = {}
        for level in self._levels:
            costs[level] = _trial(zlib_ng, level, block) / wanted - 1 + _MARGIN
            if costs[level] <= 0:
                break
        return costs


def _mixed(costs: dict[int, float]) -> tuple[int, int]:
    """Give the quick level and the small one that together take least time for zlib's size."""
    small = next(reversed(costs))
    if costs[small] > 0:
        # None is small enough: the quickest of those that come nearly as close as any.
        least = min(costs.values())
        small = next(level for level, cost in costs.items() if cost <= least + _NEARLY)
        return small, small

    def time(quick: int) -> float:
        share = 0.0 if quick == small else costs[small] / (costs[small] - costs[quick])
        return share * _TIMES[quick] + (1 - share) * _TIMES[small]

    return min(costs, key=time), small


def _trial(library: Any, level: int, block: bytes) -> int:
    """Give how many bytes the library makes of a part of the block."""
    before, part = block[:_BEFORE_BYTES], block[_BEFORE_BYTES:][:TRIAL_BYTES]
    compressor = library.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=before)
    return len(compressor.compress(part)) + len(compressor.flush())
