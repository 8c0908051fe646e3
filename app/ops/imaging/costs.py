"""What is worth trying in the time that there is, by what things cost, not by a clock.

A clock would make the result a matter of what else the machine does. So every step has a price,
in seconds of a 2.5 GHz core, and an item has a purse that follows from its time limit: the same
picture is always worked on in the same way. A machine that is much slower, or busy, runs into the
time limit of the item.
"""

from __future__ import annotations

from app.ops.imaging.contenders import Contender

_SHARE = 0.5
"""Of an item's time limit: others may want the core as well."""

_SHARE_FOR_MORE = 1 / 6
"""Of it, what may have been spent before a result that will do is made a little better."""

# Seconds for a megapixel, as `Contender.write` does it; of photographs, which take longest.
_WRITE_S = {
    ("jpeg", "lossy"): 0.2,
    ("webp", "lossy"): 0.2,
    ("avif", "lossy"): 0.5,
    ("webp", "lossless"): 1.5,
    ("png", "lossless"): 0.2,
    ("png", "palette"): 0.9,
    ("jpeg", "recoded"): 0.15,
    ("gif", "recoded"): 0.5,
    ("tiff", "recoded"): 0.2,
}
_OXIPNG_S = (0.15, 0.5, 0.9)
"""By its level, of 0 to 6; 4 takes 2.5 times as long as 2 for half a percent."""
_MEASURE_S = 0.25
_DECODE_S = 0.05


def write_s(contender: Contender, pixels: int) -> float:
    """Estimate what it takes to write and read again so many pixels; a PNG without oxipng."""
    a_megapixel_s = _WRITE_S.get((contender.format, contender.method), 0.0) + _DECODE_S
    return a_megapixel_s * pixels / 1e6


def measure_s(pixels: int, *, alpha: bool) -> float:
    """Estimate what `likeness` takes for so many pixels; with alpha it is done twice."""
    return (2 if alpha else 1) * _MEASURE_S * pixels / 1e6


class Budget:
    """What one item may still cost."""

    def __init__(self, limit_s: float) -> None:
        """Take the item's time limit, in seconds."""
        self._all_s = _SHARE * limit_s
        self._usual_s = _SHARE_FOR_MORE * limit_s
        self._spent_s = 0.0

    def take(self, cost_s: float) -> bool:
        """Spend so much, if it is there; tell whether it was."""
        if self._spent_s + cost_s > self._all_s:
            return False
        self._spent_s += cost_s
        return True

    def has_for_more(self, cost_s: float) -> bool:
        """Tell whether so much can be spent on what is not needed."""
        return self._spent_s + cost_s <= self._usual_s

    def take_oxipng(self, pixels: int) -> int | None:
        """Spend what oxipng takes at the highest level that is to be had; None if none is."""
        costs_s = [a_megapixel_s * pixels / 1e6 for a_megapixel_s in _OXIPNG_S]
        affordable = [level for level, cost_s in enumerate(costs_s) if self.has_for_more(cost_s)]
        level = max(affordable, default=0)
        return level if self.take(costs_s[level]) else None
