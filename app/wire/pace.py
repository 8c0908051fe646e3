"""Whether a body arrives fast enough."""

from __future__ import annotations

from app.errors import IncompleteBody


class Pace:
    """Measures one body over spans of equal length; times are the event loop's, in seconds.

    Whoever uses it begins a new span where the client was not free to send: then the time in which
    nobody reads does not count against it.
    """

    __slots__ = ("_began_at", "_min_bytes_s", "_span_s", "arrived_bytes", "heard_at")

    def __init__(self, span_s: float, min_bytes_s: int) -> None:
        """Allow silence for `span_s`, and no less than `min_bytes_s` on average over it."""
        self._span_s = span_s
        self._min_bytes_s = min_bytes_s
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """Begin a new span."""
        self._began_at = self.heard_at = now
        self.arrived_bytes = 0

    @property
    def due_at(self) -> float:
        """When there is something to judge."""
        return min(self._began_at, self.heard_at) + self._span_s

    def judge(self, now: float) -> None:
        """Raise `IncompleteBody` if nothing came, or too little; begin a new span if one is over.

        Its `limit` names the setting.
        """
        if now >= self.heard_at + self._span_s:
            silent = f"No byte of the body arrived for {self._span_s:g} s."
            raise IncompleteBody(silent, limit="stall_timeout_s")
        if now < self._began_at + self._span_s:
            return
        if self.arrived_bytes < self._min_bytes_s * self._span_s:
            slow = (
                f"Less than {self._min_bytes_s} bytes a second of the body arrived for "
                f"{self._span_s:g} s."
            )
            raise IncompleteBody(slow, limit="body_min_bytes_s")
        self._began_at, self.arrived_bytes = now, 0
