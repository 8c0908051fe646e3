"""Time and progress of libvips' long calls, by the signals that it sends while it works."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

from app.errors import OffloadError
from app.ops.base import Work

_EARLY_S = 0.05
"""The alarm that ends an item raises inside libvips' callback if it rings there, where nobody
catches it. So the work is stopped this much sooner."""


class Watch:
    """Tells how far an item is, and stops libvips when its time is over.

    An item goes through stages of about the same length, in each of which one picture is
    computed, from first row to last.
    """

    def __init__(self, work: Work) -> None:
        self._tell: Callable[[int, int], None] = work.tell
        self._stages = 1
        self._stage = 0
        self._done = 0
        self._ends_at = time.monotonic() + _time_left_s(work.limits.time_s) - _EARLY_S
        # libvips calls back through the Python object, and does not keep it alive.
        self._kept: list[Any] = []
        self.stopped = False
        """Whether it has stopped libvips: what that then reports has no other reason."""

    @property
    def time_left_s(self) -> float:
        """Seconds until the item's time is over; negative if it is."""
        return self._ends_at - time.monotonic()

    def expect(self, stages: int) -> None:
        """Say how many stages there will be."""
        self._stages = stages

    def over(self, picture: Any) -> Any:
        """Watch all that will be computed from this picture, and give it back."""

        def on_progress(image: Any, progress: Any) -> None:
            try:
                self._advance(self._stage * 100 + progress.percent)
            except OffloadError:  # told to end; nothing that is raised goes through libvips
                self.stopped = True
            self.stopped |= self.time_left_s < 0
            if self.stopped:
                image.set_kill(True)

        picture.set_progress(True)
        picture.signal_connect("eval", on_progress)
        self._kept.append(picture)
        return picture

    def stage_done(self) -> None:
        """Go on to the next stage."""
        self._stage += 1
        self._advance(self._stage * 100)

    def let_go(self) -> None:
        """Let the pictures go that were watched: they and this hold each other, pixels and all."""
        self._kept.clear()

    def _advance(self, done: int) -> None:
        # One stage may take several passes over the picture; who watches sees no step back.
        self._done = max(self._done, min(done, self._stages * 100))
        self._tell(self._done, self._stages * 100)


def _time_left_s(limit_s: float) -> float:
    """Give what an item has left: steps before this one have used up some of it."""
    alarm_s = signal.getitimer(signal.ITIMER_REAL)[0]
    return min(limit_s, alarm_s) if alarm_s > 0 else limit_s
