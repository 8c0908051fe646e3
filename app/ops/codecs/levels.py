"""Levels: which library does the work, at which of its own levels, for what was asked.

That is decided by measured ratio, not by the number asked for: the libraries number their levels
differently, and some of zlib-ng's and libdeflate's compress less than zlib's level of the same
number. Generated JSON logs and Python source, one core shared with other work (so look at the
relations), Python 3.11, MB/s of CPU time and input/output:

    ================  ==============  ==============
    backend, level    JSON logs       source text
    ================  ==============  ==============
    pigz 6              50     6.07     21     4.33
    pigz 9              11     6.44      6     4.37
    zlib-ng 6           61     6.21     34     4.31
    zlib-ng 7           60     6.48     25     4.35
    zlib-ng 8           30     6.65     10     4.37
    zlib-ng 9           39     6.15     19     4.37
    libdeflate 6        56     6.50     49     4.47
    libdeflate 9        27     6.91     17     4.56
    libdeflate 12        2     7.12      2     4.75
    isal 1             304     5.22    226     3.68
    zstd 1             181     6.21    119     4.02
    zstd 3             104     5.89     85     4.41
    zstd 9              20     6.68     18     5.33
    zstd 12             10     6.88      9     5.44
    zstd 19              1     7.93      1     6.23
    brotli 1           184     5.60    155     3.66
    brotli 5            35     6.42     24     4.81
    brotli 8             8     6.71      7     5.16
    brotli 9             6     6.77      5     5.23
    brotli 11          0.3     7.86    0.3     5.23
    xz 0                13     5.69     15     4.30
    xz 1                 9     6.10      8     4.73
    xz 3                 5     6.40      3     5.04
    xz 6               1.4     7.50    1.3     5.80
    bzip2 9              5     8.67     10     5.53
    ================  ==============  ==============

The rows of pigz, zlib-ng, Brotli, xz and bzip2 were measured on 6 to 8 MiB (Brotli 11 on 1), the
others on 32 MiB: compare ratios within each of the two. A name's level depends on the size, so
that 100 MiB are done within an item's default 30 s on one core; Brotli 11 and xz 6 are therefore
for small inputs, and bzip2 has no level that is any quicker.
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
    """Of that library, the quickest first; which one a block gets is told by `deflate_choice`."""
    as_small_as: int | None = None
    """zlib's level that they are held against; None: there is one only."""

    @property
    def whole_bytes(self) -> int:
        """Largest input that libdeflate gets in one call."""
        return self.whole_tiers[-1][0]

    def whole(self, size_bytes: int) -> int:
        """Give libdeflate's level for an input of this size."""
        return _tier(self.whole_tiers, size_bytes)


_WHOLE_BYTES = 4 * MIB
_LIBDEFLATE = {1: 1, 2: 1, 3: 1, 4: 3, 5: 5, 6: 6, 7: 7, 8: 7, 9: 8}
_ZLIB_NG = {1: 2, 2: 3, 3: 3, 4: 4, 5: 5, 7: 7, 8: 8}

_AS_SMALL = {6: (5, 7, 9), 9: (7, 9, 8)}
"""zlib-ng's levels, the quickest first, that are mixed to be as small as zlib's. On source text 9
is as small as 8 and twice as quick, on logs it is 8 % larger."""


def deflate_levels(level: Level) -> DeflateLevels:
    """Say how gzip, zlib and raw deflate are made at a level."""
    if level == "fast":
        return DeflateLevels(((0, 1),), "isal", (1,))
    if level == "best":
        return DeflateLevels(
            ((MIB, 12), (2 * MIB, 10), (_WHOLE_BYTES, 9)), "zlib-ng", _AS_SMALL[9], 9
        )
    number = 6 if level == "balanced" else level
    whole = ((_WHOLE_BYTES, _LIBDEFLATE[number]),)
    if number in _AS_SMALL:
        return DeflateLevels(whole, "zlib-ng", _AS_SMALL[number], number)
    return DeflateLevels(whole, "zlib-ng", (_ZLIB_NG[number],))


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
