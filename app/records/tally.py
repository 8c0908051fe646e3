"""What has ended in the last hour, by minute: counted with each outcome, read as a series.

An item counts once it has run and ended; one that was canceled, or ended as its twin did, has done
no work. Codes that are not this service's own count as one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from app import metrics
from app.model.chunks import Ended, Failed
from app.stores.base import Row, Tx

STEP_MS = 60_000
STEPS = 60
KEPT_STEPS = 2 * STEPS
SUCCESS = ""


class Ends(NamedTuple):
    """Items that have ended with one code, `SUCCESS` or that of a failure."""

    items: int
    series: list[int]
    """Of each step: `STEPS` of them, the last one under way."""
    worked_ms: list[int]
    item_key: int
    """One of them: the slowest of some node in the latest minute that has any."""


class Slow(NamedTuple):
    """The slowest item of some minute, code and node."""

    item_key: int
    worked_ms: int
    minute_ms: int
    code: str


def count(tx: Tx, node: str, ended: Iterable[Ended]) -> None:
    """Count items that ended now."""
    by_code = defaultdict(list)
    for e in ended:
        failed = isinstance(e.outcome, Failed)
        code = metrics.code_of(e.outcome.problem.code) if failed else SUCCESS  # type: ignore[union-attr]
        by_code[code].append((round(1000 * e.worked_s), e.claim.item_key))
    minute_ms = tx.now() // STEP_MS * STEP_MS
    counted = []
    for code, worked in sorted(by_code.items()):
        slowest_ms, slowest = max(worked)
        values = {"items": len(worked), "worked_ms": sum(worked_ms for worked_ms, _ in worked)}
        values |= {"slowest_ms": slowest_ms, "slowest_pk": slowest, "minute_ms": minute_ms}
        counted.append(values | {"code": code, "node": node})
    tx.many("count_ended", counted)


def first_step(tx: Tx) -> int:
    """Give when the first of the last `STEPS` steps began, in milliseconds since the epoch."""
    return tx.now() // STEP_MS * STEP_MS - (STEPS - 1) * STEP_MS


def read(tx: Tx, since_ms: int) -> dict[str, Ends]:
    """Give what has ended in `STEPS` steps from one on, by code; those most first."""
    series: dict[str, Counter[int]] = defaultdict(Counter)
    worked_ms: dict[str, Counter[int]] = defaultdict(Counter)
    latest: dict[str, int] = {}
    for row in tx.run("tallied", **_within(since_ms)):
        step, code = (row["minute_ms"] - since_ms) // STEP_MS, row["code"]
        series[code][step] += row["items"]
        worked_ms[code][step] += row["worked_ms"]
        latest[code] = row["one_pk"]
    found = {
        code: Ends(items.total(), _each(items), _each(worked_ms[code]), latest[code])
        for code, items in series.items()
    }
    return dict(sorted(found.items(), key=lambda one: (-one[1].items, one[0])))


def slowest(tx: Tx, since_ms: int, limit: int) -> list[Slow]:
    """Give the slowest items of those steps: of each minute, code and node its slowest one."""
    return [
        Slow(row["slowest_pk"], row["slowest_ms"], row["minute_ms"], row["code"])
        for row in tx.run("slowest", **_within(since_ms), limit=limit)
    ]


def items(tx: Tx, keys: Iterable[int]) -> dict[int, Row]:
    """Give those of some items that are there yet, with their jobs' id, client and steps."""
    return {row["pk"]: row for row in tx.run("ended_items", pks=tx.array(set(keys)))}


def drop_old(tx: Tx, limit: int) -> int:
    """Remove up to `limit` counts that nobody reads any more; gives how many."""
    return len(tx.run("drop_old_tally", before_ms=tx.now() - KEPT_STEPS * STEP_MS, limit=limit))


def _within(since_ms: int) -> dict[str, int]:
    # What a clock that was put back has left in the future is none of it.
    return {"since_ms": since_ms, "until_ms": since_ms + STEPS * STEP_MS}


def _each(counted: Counter[int]) -> list[int]:
    return [counted[step] for step in range(STEPS)]
