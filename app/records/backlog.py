"""How much is unfinished, and so whether more is taken and who has to wait."""

from __future__ import annotations

from collections.abc import Mapping

from app.errors import QueueFull
from app.model.jobs import Lane
from app.stores.base import Tx


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


def enter(tx: Tx, client: str, lane: Lane, items: int, most: int) -> int:
    """Count items that a client adds; gives the turn of the first of them in their lane.

    Turns are start-time fair queueing with items as the length: a client's items follow upon each
    other from now or from its last unfinished one, whichever is later, so that clients are served
    in turns, and nobody is overtaken for ever.

    Raises:
        QueueFull: see `check`.
    """
    [at] = tx.run("turns", client=client, lane=lane)
    _check(at["n"], most, items)
    now = -at["first"] if at["first"] is not None else at["latest"] or 0
    turn = now + min(max(0, (at["own"] or 0) - now), at["own_n"])
    tx.run("enter_client", client=client, n=items, turn=turn + items)
    return int(turn)


def count(tx: Tx, changes: Mapping[str, int]) -> None:
    """Note that so many items more, or fewer, of each client are unfinished."""
    tx.many("count_client", [{"client": c, "n": n} for c, n in sorted(changes.items()) if n])
