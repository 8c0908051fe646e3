"""Sampling: which format is worth its time for this file, found by trying some on parts of it.

What a candidate saves is measured, what it costs is looked up: a clock would choose otherwise on a
busy machine, and the same file must get the same bytes whenever it comes.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from app.ops.base import Source
from app.ops.codecs.blocks import MIB
from app.ops.codecs.kinds import Codec, Level, LevelName
from app.ops.codecs.levels import Tiers, numbered
from app.ops.codecs.packing import packing

_WINDOWS = 8
_WINDOW_BYTES = 32 << 10
_LOOKS = 64
"""Places that are looked at for windows worth trying: the zeros of a disk image are not."""

WORTH_BYTES_PER_S: dict[LevelName, float] = {"fast": 200e6, "balanced": 20e6, "best": 0.1e6}
"""So many bytes must a second of CPU time save. `balanced` is about what it takes to store or to
send them: 20 MB/s is a good line or a slow disk."""

_SHRINKS = 1.02
"""Content that shrinks by less is compressed already, or random."""
_AHEAD = 0.98
"""Of the default codec's size on a sample: what is not clearly smaller there may be larger on the
whole file."""

_EVERY_SIZE = sys.maxsize
# MB/s of CPU time of one core, up to so many bytes of input, and for larger ones: harmonic means
# over 4 MiB (12 for large gzip; 1 for gzip best, zstd 19 and br 11) of `benchmarks/corpus.py`'s
# logs and source text and of libvips' machine code. Measured 2026-11-27 on the machine of
# benchmarks/RESULTS.md, which has the ratios too; only the relations matter here.
_MB_PER_S: dict[tuple[Codec, Level], Sequence[tuple[int, float]]] = {
    ("lz4", 1): ((_EVERY_SIZE, 473),),
    ("gzip", "fast"): ((_EVERY_SIZE, 289),),
    ("gzip", "balanced"): ((4 * MIB, 62), (_EVERY_SIZE, 31)),
    ("gzip", "best"): ((MIB, 4.3), (_EVERY_SIZE, 23)),
    ("zstd", 1): ((_EVERY_SIZE, 222),),
    ("zstd", 3): ((_EVERY_SIZE, 87),),
    ("zstd", 6): ((_EVERY_SIZE, 47),),
    ("zstd", 9): ((_EVERY_SIZE, 27),),
    ("zstd", 12): ((_EVERY_SIZE, 12),),
    ("zstd", 15): ((_EVERY_SIZE, 2.7),),
    ("zstd", 19): ((_EVERY_SIZE, 1.9),),
    ("br", 5): ((_EVERY_SIZE, 22),),
    ("br", 8): ((_EVERY_SIZE, 3.6),),
    ("br", 9): ((_EVERY_SIZE, 3.7),),
    ("br", 11): ((_EVERY_SIZE, 0.4),),
    ("bz2", 9): ((_EVERY_SIZE, 8.3),),
    ("xz", 1): ((_EVERY_SIZE, 7.1),),
    ("xz", 2): ((_EVERY_SIZE, 4),),
    ("xz", 3): ((_EVERY_SIZE, 2.4),),
    ("xz", 6): ((_EVERY_SIZE, 1.5),),
    ("xz", 9): ((_EVERY_SIZE, 1.7),),
}

_BROTLI_BEST: Tiers = ((64 << 10, 11), (64 * MIB, 9), (sys.maxsize, 8))
"""Trying 11 on more takes longer than what it could save is worth."""

_DEFAULT: Codec = "gzip"
_QUICK: tuple[tuple[Codec, Level], ...] = (("lz4", 1), (_DEFAULT, "fast"), ("zstd", 1))
"""Tried first, one without and two with entropy coding: what none of them shrinks, the others do
not either. Taken where time is too short for what the default codec does at the same effort."""


@dataclass(frozen=True, slots=True)
class Tried:
    """How one candidate did on the sample."""

    codec: Codec
    level: Level
    packed_bytes: int
    bytes_per_s: float
    """By the table."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do with a file, and why."""

    codec: Codec | None
    """None to leave it as it is."""
    level: Level
    why: str
    facts: dict[str, Any]


def choose(source: Source, aim: LevelName, time_s: float) -> Choice:
    """Choose a format and level for a file, by what they save on a sample for what they cost.

    Several parts from all over the file, together at most 256 KiB, are compressed with each
    candidate. Each costs CPU time, by a table, and at an exchange rate that `aim` sets the bytes
    that it leaves: the cheapest wins. So a slower one is taken only if each further second saves
    enough. Only those stand for election that are smaller than the default codec is with the
    same aim, or that codec itself, and that need at most half of `time_s` for the whole file.

    Returns:
        The choice, the same whenever it is asked for; no codec if nothing shrinks the sample by
        2 %.
    """
    size_bytes = source.size_bytes
    sample = b"".join(_windows(source, size_bytes))
    worth = WORTH_BYTES_PER_S[aim]
    facts: dict[str, Any] = {"sampled_bytes": len(sample), "worth_bytes_per_cpu_s": int(worth)}
    if not sample:
        return Choice(None, aim, "An empty file cannot be made smaller.", facts | {"tried": []})
    quick = [_tried(sample, size_bytes, *one) for one in _QUICK]
    if all(len(sample) <= _SHRINKS * one.packed_bytes for one in quick):
        why = "It is compressed already, or random: no candidate shrinks the sample by 2 %."
        return Choice(None, aim, why, facts | {"tried": _all_told(quick, sample), "why": why})
    others = [one for one in _candidates(aim, size_bytes) if one not in _QUICK]
    slow = [_tried(sample, size_bytes, *one) for one in others]
    tried = sorted(quick + slow, key=lambda one: -one.bytes_per_s)
    in_time = [one for one in tried if size_bytes <= one.bytes_per_s * time_s / 2]
    best = min(
        _standing(in_time or tried[:1], aim, whole=len(sample) == size_bytes),
        key=lambda one: len(sample) / one.bytes_per_s + one.packed_bytes / worth,
    )
    why = (
        f"{best.codec} at level {best.level} costs least, where a second of CPU time is worth "
        f"{worth / 1e6:g} MB saved."
    )
    return Choice(
        best.codec, best.level, why, facts | {"tried": _all_told(tried, sample), "why": why}
    )


def _candidates(aim: LevelName, size_bytes: int) -> list[tuple[Codec, Level]]:
    """Give the default codec with an aim, and what may be smaller for a file of this size."""
    default: tuple[Codec, Level] = (_DEFAULT, aim)
    if aim == "fast":
        return [default, ("zstd", 3)]
    xz: tuple[Codec, Level] = ("xz", numbered("xz", aim, size_bytes))
    if aim == "balanced":
        return [default, ("zstd", 3), ("zstd", 6), ("zstd", 9), ("br", 5), ("bz2", 9), xz]
    zstd: tuple[Codec, Level] = ("zstd", numbered("zstd", aim, size_bytes))
    brotli = next(level for up_to_bytes, level in _BROTLI_BEST if size_bytes <= up_to_bytes)
    return [default, ("zstd", 9), zstd, ("br", brotli), ("bz2", 9), xz]


def _standing(tried: list[Tried], aim: LevelName, *, whole: bool) -> list[Tried]:
    """Give the default codec and what is smaller; all if it is not among them, for want of time."""
    default = next((one for one in tried if (one.codec, one.level) == (_DEFAULT, aim)), None)
    if default is None:
        return tried
    most_bytes = default.packed_bytes * (1 if whole else _AHEAD)
    return [default, *(one for one in tried if one.packed_bytes < most_bytes)]


def _windows(source: Source, size_bytes: int) -> Iterator[bytes]:
    """Give parts from all over the file, all different bytes if there are such.

    In what is one byte again and again any codec is as good as another: a disk image's zeros say
    nothing of its files.
    """
    with source.open() as file:
        if size_bytes <= _WINDOWS * _WINDOW_BYTES:
            yield file.read()
            return
        looks = min(_LOOKS, size_bytes // _WINDOW_BYTES)
        places = [(size_bytes - _WINDOW_BYTES) * number // (looks - 1) for number in range(looks)]
        telling = [at for at in places if not _is_constant(_window(file, at))] or places[:1]
        taken = min(_WINDOWS, len(telling))
        for number in range(taken):
            yield _window(file, telling[(len(telling) - 1) * number // max(1, taken - 1)])


def _window(file: BinaryIO, at: int) -> bytes:
    file.seek(at)
    return file.read(_WINDOW_BYTES)


def _is_constant(window: bytes) -> bool:
    return window.count(window[:1]) == len(window)


def _tried(sample: bytes, size_bytes: int, codec: Codec, level: Level) -> Tried:
    file = io.BytesIO()
    with packing(file, codec, level, cores=lambda: 1, size_bytes=len(sample)) as packer:
        packer.write(sample)
    speeds = _MB_PER_S[codec, level]
    mb_per_s = next(speed for up_to_bytes, speed in speeds if size_bytes <= up_to_bytes)
    return Tried(codec, level, len(file.getvalue()), mb_per_s * 1e6)


def _all_told(tried: list[Tried], sample: bytes) -> list[dict[str, Any]]:
    return [
        {
            "format": one.codec,
            "level": one.level,
            "ratio": round(len(sample) / one.packed_bytes, 3),
            "mb_per_cpu_s": one.bytes_per_s / 1e6,
        }
        for one in tried
    ]
