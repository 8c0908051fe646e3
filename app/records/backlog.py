"""How much is unfinished, and so whether more is taken and who has to wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from app.errors import QueueFull
from app.model.jobs import Lane
from app.stores.base import Row, Tx


def check(tx: Tx, most: int, items: int = 1) -> None:
    """See that some items more are taken.

    Raises:
        QueueFull: `items` more would be over `most` of all clients.
    """
    [now] = tx.run("backlog")
    _check(now["n"], most, items)


def _check(unfinished: int, most: int, items: int) -> None:
    if unfinished + items > most:
        raise QueueFull(
            f"{unfinished} items are unfinished; this service takes {most}. Try again later.",
            retry_after_s=5,
        )


class Entry(NamedTuple):
    """Items that a client adds to a lane."""

    client: str
    lane: Lane
    items: int


def enter(tx: Tx, entry: Entry, most: int) -> int:
    """Count what a client adds; gives the turn of the first of it: see `enter_all`.

    Raises:
        QueueFull: see `check`.
    """
    [turn] = enter_all(tx, [entry], most)
    if isinstance(turn, QueueFull):
        raise turn
    return turn


def enter_all(tx: Tx, entries: Iterable[Entry], most: int) -> list[int | QueueFull]:
    """Count what clients add that came at the same time; gives the turns, or who does not fit in.

    Turns are start-time fair queueing with items as the length: a client's items follow upon each
    other from now or from its last unfinished one, whichever is later, so that clients are served
    in turns, and nobody is overtaken for ever.
    """
    seen: dict[tuple[str, Lane], Row] = {}
    own: dict[str, tuple[int, int]] = {}
    added: Counter[str] = Counter()
    given: list[int | QueueFull] = []
    for client, lane, items in entries:
        if (client, lane) not in seen:
            [seen[client, lane]] = tx.run("turns", client=client, lane=lane)
        at = seen[client, lane]
        try:
            _check(at["n"] + added.total(), most, items)
        except QueueFull as full:
            given.append(full)
            continue
        now = -at["first"] if at["first"] is not None else at["latest"] or 0
        latest, unfinished = own.get(client, (at["own"] or 0, at["own_n"]))
        turn = int(now + min(max(0, latest - now), unfinished))
        own[client] = turn + items, unfinished + items
        added[client] += items
        given.append(turn)
    entered = [{"client": c, "n": n, "turn": own[c][0]} for c, n in sorted(added.items())]
    tx.many("enter_client", entered)
    return given


def count(tx: Tx, changes: Mapping[str, int]) -> None:
    """Note that so many items more, or fewer, of each client are unfinished."""
    tx.many("count_client", [{"client": c, "n": n} for c, n in sorted(changes.items()) if n])
