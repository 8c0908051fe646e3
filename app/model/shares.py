"""A node's part of a limit that holds for all nodes together."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple


class Share(NamedTuple):
    """One of `nodes` equal parts; what does not go round is those' with the first places."""

    place: int
    nodes: int

    def of(self, limit: int) -> int:
        """Give how many of a limit's turns are this node's; one at the least.

        So a limit that is lower than the number of nodes is exceeded: each has one.
        """
        return max(1, limit // self.nodes + (self.place < limit % self.nodes))


WHOLE = Share(0, 1)
"""Of a node that works alone."""
LEAST = Share(sys.maxsize, sys.maxsize)
"""Of one that the others may not know of yet: one turn of each limit."""


def share_of(node: str, others: Iterable[str]) -> Share:
    """Give a node's share beside others: all know the same order."""
    ids = sorted({node, *others})
    return Share(ids.index(node), len(ids))
