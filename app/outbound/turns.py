"""Whose turn it is: a slow receiver, or a hundred dead ones, must not hold up the others."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from datetime import datetime

from app.model.deliveries import Route
from app.model.shares import WHOLE, Share

UNPROVEN_EACH = 4
"""Under way at most to an origin whose last delivery did not succeed quickly."""
REMEMBERED = 10_000
"""Origins whose last delivery is remembered, the latest ones."""


class Turns:
    """Slots for deliveries under way: so many for a lane, an origin, and in all.

    An origin is *proven* while its last delivery succeeded quickly. All others together get half
    of the slots, so that for the proven ones there is always room.

    Slots are this node's own. What one lane and one origin may have of them is for all nodes
    together, and each has its share.
    """

    def __init__(self, total: int, each: int) -> None:
        """Have `total` slots, up to `each` of them for one lane and twice that for one origin."""
        self._total = total
        self._each = each
        self._share = WHOLE
        self._by_origin: Counter[str] = Counter()
        self._by_lane: Counter[str] = Counter()
        self._proven: OrderedDict[str, None] = OrderedDict()
        self._paused: dict[str, datetime] = {}
        self._waiting: dict[str, deque[Route]] = {}

    @property
    def free(self) -> int:
        """Count the slots that nobody holds."""
        return self._total - self._by_origin.total()

    def have(self, share: Share) -> None:
        """Have another share from now on; what is under way goes on."""
        self._share = share

    def offer(self, routes: Iterable[Route]) -> list[Route]:
        """Take what can be taken of what is due; keep the rest of the same lanes for `waiting`.

        A lane of which nothing could be taken is not kept: so there are never more than slots.
        """
        taken: list[Route] = []
        left: list[Route] = []
        for route in routes:
            (taken if self.take(route) else left).append(route)
        lanes = {route.lane for route in taken}
        for route in left:
            if route.lane in lanes:
                self._waiting.setdefault(route.lane, deque()).append(route)
        return taken

    def waiting(self, now: datetime) -> list[Route]:
        """Take what can be taken of what was kept: a backlog is not searched for each of them."""
        self._resume(now)
        taken = []
        for lane, kept in list(self._waiting.items()):
            while kept and self.take(kept[0]):
                taken.append(kept.popleft())
            if not kept:
                del self._waiting[lane]
        return taken

    def take(self, route: Route) -> bool:
        """Hold a slot for `route` until it is given back; False if it is not its turn."""
        if self.free < 1 or self._full(route.origin) or route.lane in self._paused:
            return False
        if self._by_lane[route.lane] >= self._share.of(self._each):
            return False
        if route.origin not in self._proven and self._unproven_full():
            return False
        self._by_origin[route.origin] += 1
        self._by_lane[route.lane] += 1
        return True

    def give_back(self, route: Route, *, quick: bool | None) -> None:
        """Free a slot; `quick` says whether it went well and fast, None that nothing was tried."""
        for held, name in ((self._by_origin, route.origin), (self._by_lane, route.lane)):
            held[name] -= 1
            if not held[name]:
                del held[name]
        if quick is not None:
            self._proven.pop(route.origin, None)
        if quick:
            self._proven[route.origin] = None
            if len(self._proven) > REMEMBERED:
                self._proven.popitem(last=False)

    def pause(self, lane: str, until: datetime) -> None:
        """Send nothing more to a lane until then: it asked for that."""
        self._paused[lane] = until

    def resumes_at(self, now: datetime) -> datetime | None:
        """Give the time at which the next paused lane goes on; None where none is paused."""
        self._resume(now)
        return min(self._paused.values(), default=None)

    def busy(self, now: datetime) -> list[str]:
        """Give the origins and lanes whose turn it is not, and those of which some are kept."""
        self._resume(now)
        full = [origin for origin in self._by_origin if self._full(origin)]
        most = self._share.of(self._each)
        full += [lane for lane, held in self._by_lane.items() if held >= most]
        return full + list(self._paused.keys() | self._waiting.keys())

    def _resume(self, now: datetime) -> None:
        self._paused = {lane: until for lane, until in self._paused.items() if until > now}

    def only(self) -> list[str] | None:
        """Give the origins that may have a slot now; None where all may."""
        return list(self._proven) if self._unproven_full() else None

    def _full(self, origin: str) -> bool:
        proven = origin in self._proven
        limit = 2 * self._each if proven else min(UNPROVEN_EACH, self._each)
        return self._by_origin[origin] >= self._share.of(limit)

    def _unproven_full(self) -> bool:
        held = sum(n for origin, n in self._by_origin.items() if origin not in self._proven)
        return held >= self._total // 2
