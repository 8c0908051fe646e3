"""How far a migration is, for whoever waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

EVERY_S = 2.0


class Progress:
    """Says now and then how far a part is."""

    def __init__(
        self, part: str, done: int, of: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin at `done` of so many."""
        self._part = part
        self._begun_with = done
        self._of = of
        self._clock = clock
        self._since = self._said = clock()

    def now(self, done: int, **more: int) -> None:
        """Say it, if it is long enough ago that it was said, or this is the end of the part."""
        now = self._clock()
        if done < self._of and now - self._said < EVERY_S:
            return
        self._said = now
        per_s = round((done - self._begun_with) / max(now - self._since, 0.001))
        percent = round(100 * done / self._of) if self._of else 100
        log.info(
            "migrating", part=self._part, done=done, of=self._of, percent=percent, per_s=per_s,
            **more,
        )  # fmt: skip
