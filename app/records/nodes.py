"""Which nodes there are, and which of them does what one must do for all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from app.stores.base import Tx


class Seen(NamedTuple):
    """A node as another one sees it."""

    id: str
    roles: frozenset[str]
    beat: int
    """Stands still once it is dead."""


def join(tx: Tx, node: str, roles: frozenset[str], told: Mapping[str, Any] | None = None) -> bool:
    """Note that a node is there, and what it says of itself; False if one of that name is."""
    values = {"id": node, "roles": ",".join(sorted(roles)), "now_ms": tx.now()}
    return bool(tx.run("join_node", **values, told=json.dumps(told or {})))


def beat(tx: Tx, node: str, told: Mapping[str, Any] | None = None) -> bool:
    """Note that it still is, and what it says of itself; False if it was given up for dead."""
    return bool(tx.run("beat", id=node, told=json.dumps(told or {})))


def seen(tx: Tx) -> list[Seen]:
    """Give all nodes."""
    return [
        Seen(row["id"], frozenset(row["roles"].split(",")), row["beat"]) for row in tx.run("nodes")
    ]


def now(tx: Tx) -> int:
    """Give the time that all nodes go by, in milliseconds since the epoch."""
    return tx.now()


def take_chore(tx: Tx, name: str, node: str, lease_s: float) -> bool:
    """Make a chore this node's for a while, unless it is another's; True if it is this node's now.

    A lease from a future that no node can have given is none: the clock was put back.
    """
    now_ms, lease_ms = tx.now(), round(lease_s * 1000)
    values = {"name": name, "node": node, "until_ms": now_ms + lease_ms, "now_ms": now_ms}
    return bool(tx.run("take_chore", **values, too_late_ms=now_ms + 2 * lease_ms))
