"""A deployment for its operator: what waits, what is under way, and what the last hour was like.

Everything is read by indexes and up to a bound, so that a look takes the same time however much
there is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from app.model.deliveries import Delivery
from app.model.jobs import Lane
from app.records import delivery_rows, rows, sight, tally
from app.stores.base import Row, Tx

CLIENTS = 50
UNDER_WAY = 200
ITEMS_OF_CHUNK = 64
SLOWEST = 20
DEAD = 20
DELIVERIES = 10_000
"""So many are counted: this stands for as many or more."""


class Waiting(NamedTuple):
    """What of a client waits in a lane, among the first chunks there."""

    client: str
    lane: Lane
    chunks: int
    items: int


class NodeSeen(NamedTuple):
    """A node that shows signs of life."""

    id: str
    roles: list[str]
    started_at: datetime
    told: dict[str, Any]
    """What it said of itself at its last sign of life."""


class UnderWay(NamedTuple):
    """A chunk that a node has in hand."""

    node: str
    lane: Lane
    job_id: str
    client: str
    ops: list[str]
    items: int
    first_index: int
    last_index: int
    started_at: datetime | None
    """Of the first item that is known to run."""


class ItemSeen(NamedTuple):
    """An item that has ended."""

    job_id: str
    client: str
    idx: int
    name: str
    """Of a URL that has none, the URL without its query."""
    ops: list[str]


class SlowItem(NamedTuple):
    """One of the slowest items."""

    item: ItemSeen
    worked_ms: int
    code: str
    """`tally.SUCCESS` if it went well."""
    finished_at: datetime | None


class Failures(NamedTuple):
    """What failed with one code."""

    code: str
    ends: tally.Ends
    example: ItemSeen | None
    """None once it is gone."""


class DeliveriesSeen(NamedTuple):
    """How it stands with what is to leave the house."""

    pending: int
    sending: int
    due_at: datetime | None
    """When the first of those that are pending is, or was, due."""
    dead: int
    """Of events."""
    latest_dead: list[tuple[str, Delivery]]
    """With their clients; without their attempts."""


@dataclass(frozen=True, slots=True)
class Overview:
    """A deployment at one moment."""

    at: datetime
    sight: sight.Sight
    waiting: list[Waiting]
    clients: dict[str, int]
    """How many items of each are unfinished, of those with most."""
    nodes: list[NodeSeen]
    under_way: list[UnderWay]
    since: datetime
    """When the first step of the series began."""
    succeeded: tally.Ends | None
    failures: list[Failures]
    slowest: list[SlowItem]
    deliveries: DeliveriesSeen


def look(tx: Tx) -> Overview:
    """See how things are."""
    since_ms = tally.first_step(tx)
    ends, slow = tally.read(tx, since_ms), tally.slowest(tx, since_ms, SLOWEST)
    failed = {code: found for code, found in ends.items() if code != tally.SUCCESS}
    keys = {found.item_key for found in failed.values()} | {one.item_key for one in slow}
    seen = tally.items(tx, keys)
    named = {key: _item(row) for key, row in seen.items()}
    return Overview(
        at=_moment(tx.now()),
        sight=sight.look(tx),
        waiting=[one for lane in sight.LANES for one in _waiting(tx, lane)],
        clients={r["client"]: r["unfinished"] for r in tx.run("clients_waiting", limit=CLIENTS)},
        nodes=_nodes(tx),
        under_way=_under_way(tx),
        since=_moment(since_ms),
        succeeded=ends.get(tally.SUCCESS),
        failures=[
            Failures(code, found, named.get(found.item_key)) for code, found in failed.items()
        ],
        slowest=list(_slowest(slow, seen)),
        deliveries=_deliveries(tx),
    )


def _waiting(tx: Tx, lane: Lane) -> list[Waiting]:
    found = tx.run("waiting_by_client", lane=lane, limit=sight.LOOKED_AT, clients=CLIENTS)
    return [Waiting(row["client"], lane, row["chunks"], row["items"]) for row in found]


def _nodes(tx: Tx) -> list[NodeSeen]:
    found = [
        NodeSeen(
            row["id"], row["roles"].split(","), _moment(row["started_ms"]), rows.load(row["told"])
        )
        for row in tx.run("nodes")
    ]
    return sorted(found, key=lambda node: (node.started_at, node.id))


def _under_way(tx: Tx) -> list[UnderWay]:
    return [
        UnderWay(
            row["node"],
            row["lane"],
            row["job_id"],
            row["client"],
            _ops(row),
            row["n"],
            row["lo"],
            row["hi"],
            rows.from_ms(row["started_ms"]),
        )
        for row in tx.run("under_way", limit=UNDER_WAY, items=ITEMS_OF_CHUNK)
    ]


def _slowest(slow: Iterable[tally.Slow], seen: dict[int, Row]) -> Iterable[SlowItem]:
    for one in slow:
        row = seen.get(one.item_key)
        # A key of an item that is gone may be another one's by now; and it may run again.
        if row is not None and 0 <= (row["finished_ms"] or 0) - one.minute_ms < tally.STEP_MS:
            finished_at = rows.from_ms(row["finished_ms"])
            yield SlowItem(_item(row), one.worked_ms, one.code, finished_at)


def _deliveries(tx: Tx) -> DeliveriesSeen:
    [pending] = tx.run("deliveries_waiting", limit=DELIVERIES)
    [sending] = tx.run("deliveries_sent_now", limit=DELIVERIES)
    [dead] = tx.run("deliveries_given_up", limit=DELIVERIES)
    latest = tx.run("latest_dead", limit=DEAD)
    return DeliveriesSeen(
        pending["n"],
        sending["n"],
        rows.from_ms(pending["due_ms"]),
        dead["n"],
        [(row["client"], delivery_rows.delivery(row, ())) for row in latest],
    )


def _item(row: Row) -> ItemSeen:
    name = row["name"] or _bare(row["url"] or "")
    return ItemSeen(row["job_id"], row["client"], row["idx"], name, _ops(row))


def _bare(url: str) -> str:
    """Leave out of a URL what may be signed."""
    return url.partition("#")[0].partition("?")[0]


def _ops(row: Row) -> list[str]:
    return [step["op"] for step in json.loads(row["steps"])]


def _moment(milliseconds: int) -> datetime:
    found = rows.from_ms(milliseconds)
    assert found is not None  # noqa: S101 - it was none
    return found
