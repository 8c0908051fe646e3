"""Work of pure Python. Imports nothing that another interpreter could not."""

from __future__ import annotations

import time

LOOP = 2_000
"""Numbers that `busy` sums up between two looks at the clock: some 0.1 ms."""


def squares(count: int) -> int:
    """Give the sum of the first squares, the guide's own example of CPU work."""
    return sum(i * i for i in range(count))


def busy(seconds: float) -> None:
    """Compute in pure Python for so much CPU time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        squares(LOOP)
