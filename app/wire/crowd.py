"""How many connections there may be, and who makes room for a new one."""

from __future__ import annotations

import resource
from typing import Protocol

LINGERING = 16
"""Refused connections that are still being told why; beyond that the oldest is cut."""
MIN_CONNECTIONS = 8
MIN_BACKLOG = 16
MAX_BACKLOG = 2048


class Connection(Protocol):
    """What the crowd does with a connection."""

    def drop(self) -> None:
        """End it at once, without a word."""


class Crowd:
    """The open connections, by what they are about; all of it takes the same time for any number.

    Room is made by those that have asked for nothing yet, the oldest first, and after them by
    those that keep a connection between requests. So connections that stay silent shut nobody out.
    """

    def __init__(self, most: int) -> None:
        """Allow `most` connections, besides the few that are being refused."""
        self._most = most
        # In order of arrival in that state.
        self._silent: dict[Connection, None] = {}
        self._idle: dict[Connection, None] = {}
        self._busy: set[Connection] = set()
        self._lingering: dict[Connection, None] = {}

    def enter(self, connection: Connection) -> bool:
        """Take in a new connection; False if all others are at work, and it has to be refused."""
        if len(self._silent) + len(self._idle) + len(self._busy) >= self._most:
            oldest = next(iter(self._silent), None) or next(iter(self._idle), None)
            if oldest is None:
                return False
            self.leave(oldest)
            oldest.drop()
        self._silent[connection] = None
        return True

    def busy(self, connection: Connection) -> None:
        """Note that a connection has sent the whole head of a request."""
        self._silent.pop(connection, None)
        self._idle.pop(connection, None)
        self._busy.add(connection)

    def idle(self, connection: Connection) -> None:
        """Note that a connection has all its answers."""
        self._busy.discard(connection)
        self._idle[connection] = None

    def linger(self, connection: Connection) -> None:
        """Note that a connection is only open until its client has read the refusal."""
        self.leave(connection)
        self._lingering[connection] = None
        if len(self._lingering) > LINGERING:
            oldest = next(iter(self._lingering))
            self.leave(oldest)
            oldest.drop()

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        self._silent.pop(connection, None)
        self._idle.pop(connection, None)
        self._busy.discard(connection)
        self._lingering.pop(connection, None)


def room(most: int, reserve: int) -> tuple[int, int]:
    """Give how many connections fit, and how many may wait to be accepted.

    A connection may have a file open besides itself. The kernel's queue is accepted in one go,
    before anybody can be refused; so it has to fit as well, or there is no descriptor left to say
    503 with. The soft limit is raised to the hard one first, as Go's runtime does: it is as low as
    it is for the sake of `select`, which nothing here uses.

    Args:
        most: connections that the operator allows; 0 for all that fit.
        reserve: descriptors that the rest of the service may need.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files = hard if hard != resource.RLIM_INFINITY else 1 << 20
    left = files - reserve
    backlog = min(MAX_BACKLOG, max(MIN_BACKLOG, left // 4))
    fit = max(MIN_CONNECTIONS, (left - backlog - LINGERING) // 2)
    return min(most or fit, fit), backlog
