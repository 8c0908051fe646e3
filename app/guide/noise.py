"""How much this machine varies, told by work that should take the same time; and why."""

from __future__ import annotations

import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from app.guide.pools import cores
from app.guide.processors import Processors
from app.guide.statistics import noise_of

PIECE = bytes(range(256)) * 8_000
"""Some 15 ms of zlib, which computes without the interpreter lock: several turns of a scheduler."""
FEWEST = 5
WORTH_TELLING = 0.02
"""Of the processors; the kernel counts a short time no closer than that."""


@dataclass(frozen=True, slots=True)
class Noise:
    """What was measured at one time, as shares."""

    noise: float
    """How much the same piece of work differed from itself."""
    others: float
    """Of the processors, what other processes took meanwhile."""
    stolen: float
    """What the hypervisor has taken since the situation began."""
    held_up: float
    """What a control group's quota has cost since the situation began."""


def measured(seconds: float, began: Processors) -> Noise:
    """Do the same piece of work over and over on all cores.

    Args:
        seconds: for how long, though each core does `FEWEST` pieces.
        began: the processors when the situation began.
    """
    before = Processors.now()
    with ThreadPoolExecutor(cores()) as pool:
        times = list(pool.map(_times, [seconds] * cores()))
    now = Processors.now()
    whole = now.since(began)
    noise = noise_of([time for of_one in times for time in of_one])
    return Noise(noise, now.since(before).others, whole.stolen, whole.held_up)


def explained(noise: Noise) -> str:
    """Say in one sentence what is known of where noise comes from."""
    takers = {
        "other processes": noise.others,
        "the hypervisor": noise.stolen,
        "this container's quota": noise.held_up,
    }
    known = [
        f"{share * 100:.0f} % by {who}" for who, share in takers.items() if share >= WORTH_TELLING
    ]
    if known:
        return f"Taken from the processors meanwhile: {', '.join(known)}."
    return "Nothing else ran here: the machine itself varies, as virtual ones do."


def together(measured: list[Noise]) -> Noise:
    """Give the noisiest of what was measured, with all that was taken until the last."""
    worst, last = max(measured, key=lambda one: one.noise), measured[-1]
    return Noise(worst.noise, worst.others, last.stolen, last.held_up)


def _times(seconds: float) -> list[float]:
    zlib.compress(PIECE, 6)
    end, times = time.perf_counter() + seconds, list[float]()
    while len(times) < FEWEST or time.perf_counter() < end:
        began = time.perf_counter()
        zlib.compress(PIECE, 6)
        times.append(time.perf_counter() - began)
    return times
