"""How a job's items are cut into chunks, the unit of queueing, and when these may be taken.

A chunk is as many items as take some 80 ms together: longer ones let the small jobs of one client
wait behind another's large one. The URLs of a job with a pace are cut as the pace has room, so that
it holds for all nodes together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.model.jobs import FETCH_LANE, Lane
from app.records.held import Job
from app.stores.base import Tx

CHUNK_MS = 80.0
MOST_ITEMS: dict[Lane, int] = {"cpu": 16, "io": 32}
PACED_PARTS = 4
"""A pace is cut into so many chunks: as many of its URLs may wait for the slowest of a chunk."""
STOPPING = 4
"""Items of a chunk of a job that ends with the first failure: its mates have run for nothing."""


Part = dict[str, Any]
"""A chunk as a row."""


@dataclass(frozen=True, slots=True)
class Piece:
    """An item as far as cutting goes."""

    index: int
    lane: Lane
    fetches: bool
    cost_ms: float = CHUNK_MS / STOPPING


@dataclass(frozen=True, slots=True)
class Cut:
    """A range of indexes, both ends included."""

    lo: int
    hi: int
    n: int
    lane: Lane
    fetches: bool


def cut(pieces: Iterable[Piece], most: int | None = None) -> Iterator[Cut]:
    """Cut items, given in order, into chunks of up to `most` (or as many as their lane's take)."""
    begun: list[Piece] = []
    cost_ms = 0.0
    for piece in pieces:
        if begun and (
            piece.fetches != begun[0].fetches
            or len(begun) >= (most or MOST_ITEMS[piece.lane])
            or (not piece.fetches and cost_ms + piece.cost_ms > CHUNK_MS)
        ):
            yield _closed(begun)
            begun, cost_ms = [], 0.0
        begun.append(piece)
        cost_ms += piece.cost_ms
    if begun:
        yield _closed(begun)


def _closed(pieces: Sequence[Piece]) -> Cut:
    first = pieces[0]
    return Cut(first.index, pieces[-1].index, len(pieces), first.lane, first.fetches)


def parts(job_key: int, cuts: Iterable[Cut], *, turn: int, state: str = "ready") -> list[Part]:
    """Give chunks as rows; `turn` is that of the job's first item: see `backlog.enter_all`."""
    return [
        {
            "job_pk": job_key,
            "lo": part.lo,
            "hi": part.hi,
            "n": part.n,
            "fetches": int(part.fetches),
            "lane": part.lane,
            "priority": -(turn + part.lo),
            "state": state,
        }
        for part in cuts
    ]


def put(tx: Tx, new: Sequence[Part]) -> None:
    """Queue chunks, and let those know who take them."""
    tx.send([chunk for chunk in tx.many("insert_chunk", new) if chunk["state"] == "ready"])


def release(tx: Tx, job: Job) -> None:
    """Queue as many of a paced job's URLs as its pace has room for."""
    pace = job["pace"]
    if pace is None:
        return
    size = max(1, min(pace // PACED_PARTS, MOST_ITEMS["io"], *[STOPPING] * bool(job["stops"])))
    room = pace - job["released"]
    if room < size and job["released"]:
        return
    found = tx.run("uncut", job_pk=job["pk"], cut=job["cut"], limit=room)
    if not found:
        return
    pieces = [Piece(row["idx"], FETCH_LANE, fetches=True) for row in found]
    put(tx, parts(job["pk"], cut(pieces, size), turn=job["turn"]))
    job["cut"] = pieces[-1].index + 1
    job["released"] += len(pieces)
