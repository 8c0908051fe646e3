"""What is tried again, and when."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

REFUSED = frozenset({429, 503})
"""The service did nothing: any request may be sent again."""
UNCERTAIN = frozenset({408, 502, 504})
"""The request may have had its effect: it is sent again where that does no harm."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How patient a client is: full jitter over a wait that doubles, or what `Retry-After` asks."""

    retries: int = 6
    """Further tries in a row; whatever gets through begins the count anew."""
    first_s: float = 0.5
    most_s: float = 15.0
    """Longest wait of our own."""
    most_asked_s: float = 120.0
    """A service that asks for a longer wait is not waited for."""
    chance: Callable[[], float] = random.random

    def delay_s(self, failures: int, asked: str | None = None) -> float | None:
        """Give the seconds to wait after so many failures in a row; None to give up.

        Args:
            failures: at least 1.
            asked: the `Retry-After` that came, a number of seconds or a date.
        """
        if failures > self.retries:
            return None
        asked_s = _seconds(asked)
        if asked_s > self.most_asked_s:
            return None
        # The exponent is bounded: whoever sets `retries` to a million means for ever.
        own_s = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return max(asked_s, own_s * (0.5 + self.chance() / 2))


def _seconds(asked: str | None) -> float:
    """Read a `Retry-After`; 0 where there is none, or none that can be read."""
    if not asked:
        return 0.0
    if asked.isascii() and asked.isdigit():
        return float(asked[:9])
    try:
        at = parsedate_to_datetime(asked)
    except ValueError:
        return 0.0
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
