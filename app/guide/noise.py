"""How busy the machine is with something else, told by work that should take the same time."""

from __future__ import annotations

import time
import zlib
from concurrent.futures import ThreadPoolExecutor

from app.guide.pools import cores
from app.guide.statistics import noise_of

PIECE = bytes(range(256)) * 8_000
"""Some 15 ms of zlib, which computes without the interpreter lock: several turns of a scheduler."""
FEWEST = 5


def measured(seconds: float) -> float:
    """Do the same piece of work over and over on all cores; gives the noise as a share.

    Args:
        seconds: for how long, though each core does `FEWEST` pieces.
    """
    with ThreadPoolExecutor(cores()) as pool:
        times = list(pool.map(_times, [seconds] * cores()))
    return noise_of([time for of_one in times for time in of_one])


def _times(seconds: float) -> list[float]:
    zlib.compress(PIECE, 6)
    end, times = time.perf_counter() + seconds, list[float]()
    while len(times) < FEWEST or time.perf_counter() < end:
        began = time.perf_counter()
        zlib.compress(PIECE, 6)
        times.append(time.perf_counter() - began)
    return times
