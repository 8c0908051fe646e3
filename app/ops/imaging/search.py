"""Finding the quality at which an encoder just does what is asked of it, in few encodings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

_MOST_STEPS = 7
"""Two measurements, then false position: three or four do for most pictures."""

_STRIDE = 8
"""How far to go from the first guess; further each time while only one side of the boundary is
known."""

_TO_THE_MIDDLE = 0.3
"""How much of bisection is mixed into false position."""

_CLOSE_ENOUGH = 0.05
"""Of logarithms: what misses by 5 % is not worth another encoding."""

_USUAL_SLOPE = 0.05
"""Of the logarithm of the loss: it halves over some 14 steps of quality."""


@dataclass(slots=True)
class Boundary:
    """Where a value that falls with rising quality goes through zero, as far as is known."""

    lowest: int
    highest: int
    wants_above: bool = False
    """Whether the quality that is looked for is the last with a value above zero; else it is
    the first with one of zero or less."""
    points: dict[int, float] = field(default_factory=dict)
    """Measured values by quality."""

    def find(self, guess: int, measure: Callable[[int], float]) -> int | None:
        """Measure until the quality is known to one step, or closely enough, or long enough.

        Args:
            guess: where to begin.
            measure: gives the value at a quality; may raise, and what was measured is kept.

        Returns:
            The best quality measured that does what is asked; None if none does.
        """
        quality = guess
        for _ in range(_MOST_STEPS):
            self.points[quality] = measure(quality)
            above, below = self._bracket()
            found = self.points.get(above if self.wants_above else below)
            if below - above <= 1 or (found is not None and abs(found) <= _CLOSE_ENOUGH):
                break
            quality = self._between(above, below)
        return self.found()

    def found(self) -> int | None:
        """Give the best quality measured that does what is asked; None if none does."""
        above, below = self._bracket()
        quality = above if self.wants_above else below
        return quality if quality in self.points else None

    def estimate(self, shift: float = 0.0) -> int:
        """Guess the quality that is looked for, from what was measured at one or more.

        Args:
            shift: by how much all values are thought to be higher than measured.
        """
        qualities = range(self.lowest, self.highest + 1)
        first = next((q for q in qualities if self.value(q) + shift <= 0), self.highest + 1)
        if self.wants_above:
            first -= 1
        return max(self.lowest, min(first, self.highest))

    def _bracket(self) -> tuple[int, int]:
        """Give the last quality above zero and the first behind it that is not, if measured."""
        above = max((q for q, value in self.points.items() if value > 0), default=self.lowest - 1)
        below = [q for q, value in self.points.items() if value <= 0 and q > above]
        return above, min(below, default=self.highest + 1)

    def _between(self, above: int, below: int) -> int:
        """Choose the next quality strictly between two, of which one may not be measured."""
        stride = _STRIDE + max(self.points) - min(self.points)
        if above not in self.points:
            aim = below - stride
        elif below not in self.points:
            aim = above + stride
        else:
            high, low = self.points[above], self.points[below]
            # The curve sags, and false position alone would creep up on it from one side.
            share = (1 - _TO_THE_MIDDLE) * high / (high - low) + _TO_THE_MIDDLE / 2
            aim = above + round((below - above) * share)
        return max(above + 1, min(aim, below - 1))

    def value(self, quality: int) -> float:
        """Interpolate between what was measured; beyond it, go on as steeply as at the end."""
        known = sorted(self.points)
        if len(known) == 1:
            return self.points[known[0]] - (quality - known[0]) * _USUAL_SLOPE
        last = len(known) - 1
        right = next((at for at in range(1, last) if known[at] >= quality), last)
        first, second = known[right - 1], known[right]
        slope = (self.points[second] - self.points[first]) / (second - first)
        return self.points[first] + (quality - first) * slope
