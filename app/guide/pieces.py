"""Work for workers of every kind. Imports nothing that another interpreter could not."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

LOOP = 2_000
"""Numbers that `busy` sums up between two looks at the clock: some 0.1 ms."""


def squares(count: int) -> int:
    """Give the sum of the first squares, the guide's own example of CPU work."""
    return sum(i * i for i in range(count))


def load(module: str) -> None:
    """Import a module. Raises whatever that does."""
    import_module(module)


def quantiles(numbers: Any) -> list[float]:
    """Give every hundredth of the numbers of an array, in order."""
    import numpy as np

    ordered = np.sort(numbers)
    return [float(one) for one in ordered[:: len(ordered) // 100]]


def busy(seconds: float) -> None:
    """Compute in pure Python for so much CPU time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        squares(LOOP)
