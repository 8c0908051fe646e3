"""Which of zlib-ng's levels a block of deflate gets: told by trying them on the data itself.

zlib-ng numbers its levels as zlib does, and what they compress to differs by the data: its 5 makes
JSON logs as small as zlib's 6 at twice the speed, source text 0.8 % larger. So every
`TRIAL_EVERY` blocks the levels are tried on a part of one, and judged by size alone: the
same input gives the same choice on every machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

from zlib_ng import zlib_ng

from app.ops.codecs.levels import DeflateLevels

TRIAL_EVERY = 16
TRIAL_BYTES = 128 << 10
"""Of a block of 1 MiB: a trial of some levels and zlib takes a twentieth of what compressing 16
blocks does."""
_BEFORE_BYTES = 32 << 10
"""What the trial may point back into, as nearly all of a block may: without it the trial of JSON
misses by 1 % of the size, with it by 0.2."""

_MARGIN = 0.002
"""What a trial tells of the whole is that uncertain."""
_NEARLY = 0.003
_WORTH = 1.01
"""Where the smallest is asked for, a slower level has to save as much."""


def chooser(levels: DeflateLevels) -> Callable[[bytes], int]:
    """Give what is to be called with each block in turn, and gives its level."""
    if len(levels.block_levels) == 1:
        [only] = levels.block_levels
        return lambda _: only
    if levels.as_small_as is None:
        return _Smallest(levels.block_levels).level
    return _AsSmallAs(levels.as_small_as, levels.block_levels).level


class _Smallest:
    """The level that compresses best; the first one if there is little between them."""

    def __init__(self, levels: Sequence[int]) -> None:
        self._levels = levels
        self._turn = 0

    def level(self, block: bytes) -> int:
        if self._turn % TRIAL_EVERY == 0:
            sizes = {level: _trial(zlib_ng, level, block) for level in self._levels}
            first = self._levels[0]
            self._level = min(sizes, key=lambda at: sizes[at] * (1 if at == first else _WORTH))
        self._turn += 1
        return self._level


class _AsSmallAs:
    """The quickest levels with which all blocks together are as small as zlib makes them.

    An account is kept in parts of a block as zlib would have made it: a quick level that
    compresses less is had for what a slower one has saved before.
    """

    def __init__(self, zlib_level: int, levels: Sequence[int]) -> None:
        self._zlib_level = zlib_level
        self._levels = levels
        self._turn = 0
        self._owed = 0.0

    def level(self, block: bytes) -> int:
        if self._turn % TRIAL_EVERY == 0:
            wanted = _trial(zlib, self._zlib_level, block)
            self._costs = {
                level: _trial(zlib_ng, level, block) / wanted - 1 + _MARGIN
                for level in self._levels
            }
        self._turn += 1
        quick = (level for level, cost in self._costs.items() if self._owed + cost <= 0)
        level = next(quick, None) or self._small()
        # Data that zlib-ng cannot make as small must not be paid for by the data after it.
        self._owed = min(self._owed + self._costs[level], 0.0)
        return level

    def _small(self) -> int:
        """Give the quickest of those that come out nearly as small as the smallest."""
        least = min(self._costs.values())
        return next(level for level, cost in self._costs.items() if cost <= least + _NEARLY)


def _trial(library: Any, level: int, block: bytes) -> int:
    """Give how many bytes the library makes of a part of the block."""
    before, part = block[:_BEFORE_BYTES], block[_BEFORE_BYTES:][:TRIAL_BYTES]
    compressor = library.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=before)
    return len(compressor.compress(part)) + len(compressor.flush())
