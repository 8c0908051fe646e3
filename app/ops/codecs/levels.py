"""Levels: which library does the work, at which of its own levels, for what was asked.

Which backend runs at which level is decided by measured ratio, not by the number asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.ops.codecs.blocks import MIB
from app.ops.codecs.kinds import Codec, Level

Tiers = Sequence[tuple[int, int]]
"""Pairs: up to so many bytes, this level."""


@dataclass(frozen=True, slots=True)
class DeflateLevels:
    """How gzip, zlib and raw deflate are made."""

    whole_tiers: Tiers
    """libdeflate's levels for inputs that it gets in one call."""
    library: Literal["isal", "zlib-ng"]
    """For the blocks of a larger input."""
    block_levels: tuple[int, ...]
    """Of that library, for one block after the other, and from the beginning again."""

    @property
    def whole_bytes(self) -> int:
        """Largest input that libdeflate gets in one call."""
        return self.whole_tiers[-1][0]

    def whole(self, size_bytes: int) -> int:
        """Give libdeflate's level for an input of this size."""
        return _tier(self.whole_tiers, size_bytes)


_WHOLE_BYTES = 4 * MIB
_LIBDEFLATE = {1: 1, 2: 1, 3: 1, 4: 3, 5: 5, 6: 6, 7: 7, 8: 7, 9: 8}
_ZLIB_NG = {1: 2, 2: 3, 3: 3, 4: 4, 5: 5, 6: 7, 7: 7, 8: 8, 9: 8}

_BALANCED = (7, 7, 6)
"""Two of three blocks at 7: as small as zlib's 6 on source text too, where 6 throughout comes out
0.7 % larger, and 7 throughout is hardly quicker than pigz."""


def deflate_levels(level: Level) -> DeflateLevels:
    """Say how gzip, zlib and raw deflate are made at a level."""
    if level == "fast":
        return DeflateLevels(((0, 1),), "isal", (1,))
    if level == "best":
        return DeflateLevels(((MIB, 12), (2 * MIB, 10), (_WHOLE_BYTES, 9)), "zlib-ng", (8,))
    if level == "balanced":
        return DeflateLevels(((_WHOLE_BYTES, 6),), "zlib-ng", _BALANCED)
    return DeflateLevels(((_WHOLE_BYTES, _LIBDEFLATE[level]),), "zlib-ng", (_ZLIB_NG[level],))


_NAMED: dict[Codec, dict[str, Tiers]] = {
    "zstd": {
        "fast": ((sys.maxsize, 1),),
        "balanced": ((sys.maxsize, 3),),
        "best": ((8 * MIB, 19), (32 * MIB, 15), (sys.maxsize, 12)),
    },
    "br": {
        "fast": ((sys.maxsize, 1),),
        "balanced": ((sys.maxsize, 5),),
        "best": ((2 * MIB, 11), (64 * MIB, 9), (sys.maxsize, 8)),
    },
    "xz": {
        "fast": ((sys.maxsize, 0),),
        "balanced": ((8 * MIB, 6), (32 * MIB, 3), (sys.maxsize, 1)),
        "best": ((24 * MIB, 9), (48 * MIB, 3), (sys.maxsize, 2)),
    },
    "bz2": {
        "fast": ((sys.maxsize, 1),),
        "balanced": ((sys.maxsize, 9),),
        "best": ((sys.maxsize, 9),),
    },
    "lz4": {
        "fast": ((sys.maxsize, 1),),
        "balanced": ((sys.maxsize, 3),),
        "best": ((sys.maxsize, 12),),
    },
}


def numbered(codec: Codec, level: Level, size_bytes: int | None) -> int:
    """Give the number that a named level stands for, for an input of this size if it is known."""
    if isinstance(level, int):
        return level
    return _tier(_NAMED[codec][level], sys.maxsize if size_bytes is None else size_bytes)


def _tier(tiers: Tiers, size_bytes: int) -> int:
    return next(level for up_to_bytes, level in tiers if size_bytes <= up_to_bytes)
