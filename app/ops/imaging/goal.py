"""What a result of the race has to be: so alike, or so small."""

from __future__ import annotations

import math
from dataclasses import dataclass

_LEAST_LOSS = 1e-6
"""So that a logarithm exists."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What the result has to be: so alike, or so small."""

    likeness: float
    most_bytes: int | None = None
    """If given, it decides, and the result is as alike as it lets it be."""

    @property
    def most_loss(self) -> float:
        """1 less the likeness."""
        return max(1 - self.likeness, _LEAST_LOSS)

    def value(self, loss: float, size_bytes: float) -> float:
        """Give what falls with rising quality and is zero where the goal is just reached."""
        if self.most_bytes is not None:
            return math.log(self.most_bytes / max(size_bytes, 1))
        return math.log(max(loss, _LEAST_LOSS) / self.most_loss)

    def met_by(self, loss: float, size_bytes: int) -> bool:
        """Tell whether a result will do."""
        if self.most_bytes is not None:
            return size_bytes <= self.most_bytes
        return loss <= self.most_loss

    def cost(self, loss: float, size_bytes: float) -> tuple[float, float]:
        """Give what is to be as small as it can be, most important first."""
        return (loss, size_bytes) if self.most_bytes is not None else (size_bytes, loss)
