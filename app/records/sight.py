"""How much there is to do and who does it, for whoever watches the deployment."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from app.model.jobs import Lane
from app.stores.base import Tx

LOOKED_AT = 10_000
"""So many chunks of a lane are looked at: with a million of them a look takes no longer."""
JOBS = 1_000
"""Of those that came first: the oldest may be one that is run again."""
LANES: tuple[Lane, ...] = ("cpu", "io")


class Depth(NamedTuple):
    """What waits in a lane."""

    chunks: int
    """`LOOKED_AT` stands for as many or more."""
    items: int
    """In those."""
    oldest_s: float
    """Since the job of the oldest that waits came, of those without a pace; 0 if none waits."""


class Sight(NamedTuple):
    """A deployment at one moment."""

    unfinished_items: int
    lanes: dict[Lane, Depth]
    nodes: Counter[str]
    """By role."""


def look(tx: Tx) -> Sight:
    """See how things are; takes the same time however much there is."""
    [backlog] = tx.run("backlog")
    roles = Counter(role for row in tx.run("nodes") for role in row["roles"].split(","))
    return Sight(backlog["n"], {lane: _depth(tx, lane) for lane in LANES}, roles)


def _depth(tx: Tx, lane: Lane) -> Depth:
    [waiting] = tx.run("queue_depth", lane=lane, limit=LOOKED_AT)
    [oldest] = tx.run("oldest_ready", lane=lane, limit=LOOKED_AT, jobs=JOBS)
    since_ms = oldest["created_ms"]
    age_s = 0.0 if since_ms is None else max(0, tx.now() - since_ms) / 1000
    return Depth(waiting["chunks"], waiting["items"], age_s)
