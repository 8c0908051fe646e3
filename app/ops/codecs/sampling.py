"""Sampling: which format is worth its time for this file, found by trying some on parts of it."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.ops.codecs.kinds import Codec, Level, LevelName
from app.ops.codecs.packing import packing

_WINDOWS = 8
_WINDOW_BYTES = 32 << 10
_BUDGET_S = 0.1
"""Of CPU time, after which no further candidate is tried; the last one may take as long again."""
_BRIEF_S = 0.005

WORTH_BYTES_PER_S: dict[LevelName, float] = {"fast": 200e6, "balanced": 20e6, "best": 0.1e6}
"""So many bytes must a second of CPU time save. `balanced` is about what it takes to store or to
send them: 20 MB/s is a good line or a slow disk."""

_SHRINKS = 1.02
"""Content that shrinks by less is compressed already, or random."""

# From the quickest to the slowest. Among the first three are a codec without and two with entropy
# coding: what none of them shrinks, the others do not either.
_CANDIDATES: tuple[tuple[Codec, Level], ...] = (
    ("lz4", 1),
    ("zstd", 1),
    ("gzip", "fast"),
    ("zstd", 3),
    ("gzip", "balanced"),
    ("br", 5),
    ("zstd", 9),
    ("bz2", 9),
    ("xz", 1),
    ("zstd", 15),
    ("xz", 6),
)
_FIRST = 3


@dataclass(frozen=True, slots=True)
class Tried:
    """How one candidate did on the sample."""

    codec: Codec
    level: Level
    packed_bytes: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do with a file, and why."""

    codec: Codec | None
    """None to leave it as it is."""
    level: Level
    why: str
    facts: dict[str, Any]


def choose(path: Path, aim: LevelName, time_s: float) -> Choice:
    """Choose a format and level for a file, by ratio per second of CPU time on a sample.

    Several parts from all over the file, together at most 256 KiB, are compressed with each
    candidate, for 0.1 to 0.2 s in all. Each costs its CPU time and, at an exchange rate that `aim`
    sets, the bytes that it leaves: the cheapest wins. So a slower one is taken only if each further
    second saves enough. Candidates that would need more than half of `time_s` for the whole file
    are out.

    Returns:
        The choice; no codec if nothing shrinks the sample by 2 %.
    """
    size_bytes = path.stat().st_size
    sample = b"".join(_windows(path, size_bytes))
    worth = WORTH_BYTES_PER_S[aim]
    facts: dict[str, Any] = {"sampled_bytes": len(sample), "worth_bytes_per_cpu_s": int(worth)}
    if not sample:
        return Choice(None, aim, "An empty file cannot be made smaller.", facts | {"tried": []})
    tried = list(_try(sample))
    facts["tried"] = [_told(one, len(sample)) for one in tried]
    if not any(_shrinks(one, sample) for one in tried):
        why = "It is compressed already, or random: no candidate shrinks the sample by 2 %."
        return Choice(None, aim, why, facts | {"why": why})
    in_time = [one for one in tried if one.cpu_s / len(sample) * size_bytes <= time_s / 2]
    best = min(in_time or tried[:1], key=lambda one: one.cpu_s + one.packed_bytes / worth)
    why = (
        f"{best.codec} at level {best.level} costs least, where a second of CPU time is worth "
        f"{worth / 1e6:g} MB saved."
    )
    return Choice(best.codec, best.level, why, facts | {"why": why})


def _windows(path: Path, size_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        if size_bytes <= _WINDOWS * _WINDOW_BYTES:
            yield file.read()
            return
        for number in range(_WINDOWS):
            file.seek((size_bytes - _WINDOW_BYTES) * number // (_WINDOWS - 1))
            yield file.read(_WINDOW_BYTES)


def _try(sample: bytes) -> Iterator[Tried]:
    spent_s = 0.0
    shrunk = False
    for number, (codec, level) in enumerate(_CANDIDATES):
        if spent_s > _BUDGET_S or (number == _FIRST and not shrunk):
            return
        one = _tried(sample, codec, level)
        spent_s += one.cpu_s
        if one.cpu_s < _BRIEF_S:
            # The first time also brings the codec's memory in, which a large file hardly notices.
            again = _tried(sample, codec, level)
            spent_s += again.cpu_s
            one = min(one, again, key=lambda each: each.cpu_s)
        shrunk = shrunk or _shrinks(one, sample)
        yield one


def _tried(sample: bytes, codec: Codec, level: Level) -> Tried:
    file = io.BytesIO()
    began_s = time.thread_time()
    with packing(file, codec, level, cores=lambda: 1, size_bytes=len(sample)) as packer:
        packer.write(sample)
    # The clocks of some systems are coarse, and nothing takes no time.
    cpu_s = max(time.thread_time() - began_s, 1e-6)
    return Tried(codec, level, len(file.getvalue()), cpu_s)


def _shrinks(tried: Tried, sample: bytes) -> bool:
    return len(sample) > _SHRINKS * tried.packed_bytes


def _told(tried: Tried, sample_bytes: int) -> dict[str, Any]:
    return {
        "format": tried.codec,
        "level": tried.level,
        "ratio": round(sample_bytes / tried.packed_bytes, 3),
        "mb_per_cpu_s": round(sample_bytes / tried.cpu_s / 1e6, 1),
    }
