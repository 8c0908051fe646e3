"""The queue: chunks of items, taken by nodes, given back, and what of them has begun."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from app.model.chunks import Chunk, Claim
from app.model.jobs import Lane, Progress
from app.records import held, rows
from app.stores.base import Row, Tx


def take(tx: Tx, node: str, lane: Lane, room: int, most: int | None = None) -> list[Chunk]:
    """Take up to `most` chunks of a lane by priority, until they hold `room` items.

    Items of a chunk with which a node has died are not among its claims: `next_suspect` gives them
    one at a time.
    """
    return _taken(tx, node, _within(tx.run("ready_chunks", lane=lane, limit=most or room), room))


def take_named(tx: Tx, node: str, keys: Collection[int], room: int) -> tuple[list[Chunk], set[int]]:
    """Take chunks as `take` does, of these; gives too those that are ready and had no room."""
    ready = tx.run("ready_named", pks=tx.array(keys))
    within = _within(ready, room)
    return _taken(tx, node, within), {chunk["pk"] for chunk in ready[len(within) :]}


def _taken(tx: Tx, node: str, ready: Sequence[Row]) -> list[Chunk]:
    """Take locked chunks; nothing for who was given up for dead: nobody would bury it again."""
    if not ready or not tx.run("get_node", id=node):
        return []
    tx.many("take_chunk", [{"pk": chunk["pk"], "node": node} for chunk in ready])
    taken = [dict(chunk) | {"delivery": chunk["delivery"] + 1} for chunk in ready]
    return _chunks(tx, taken, _recipes(tx, {chunk["job_pk"] for chunk in ready}))


def send_again(tx: Tx, most: int) -> int:
    """Send messages of chunks that are ready and have none; gives how many, `most` at a time.

    For databases with a queue engine: what was ready before there was one, or was restored.
    """
    found = tx.run("unsent_chunks", limit=most)
    tx.send(found)
    return len(found)


def insert_taken(
    tx: Tx, node: str, new: Sequence[tuple[Row, Mapping[str, Any]]]
) -> dict[int, tuple[Chunk, ...]]:
    """Write chunks of new jobs, one of each, as a node's; gives them by their job's key.

    None, and nothing is written, where the node was given up for dead.
    """
    if not new or not tx.run("get_node", id=node):
        return {}
    written = tx.many("insert_taken_chunk", [{**part, "node": node} for _, part in new])
    recipes = {job["pk"]: rows.recipe(job) for job, _ in new}
    return {chunk.job_key: (chunk,) for chunk in _chunks(tx, written, recipes)}


def ready_lanes(tx: Tx) -> list[Lane]:
    """Give the lanes in which there is something to take."""
    lanes: tuple[Lane, ...] = ("io", "cpu")
    return [lane for lane in lanes if tx.run("ready_chunks", lane=lane, limit=1)]


def _within(ready: Iterable[Row], room: int) -> list[Row]:
    picked = []
    for chunk in ready:
        if room <= 0:
            break
        picked.append(chunk)
        room -= chunk["n"]
    return picked


def _chunks(
    tx: Tx, taken: Sequence[Mapping[str, Any] | Row], recipes: Mapping[int, rows.Recipe]
) -> list[Chunk]:
    """Give chunks that a node has, with claims of their items."""
    whole = {c["pk"]: c["delivery"] for c in taken if not c["deaths"]}
    claims: dict[int, list[Claim]] = {}
    for item in tx.run("chunk_items", pks=tx.array(whole)) if whole else ():
        fence = (item["chunk_pk"], whole[item["chunk_pk"]])
        claim = rows.claim(item, fence, recipes[item["job_pk"]], _to_join(tx, item))
        claims.setdefault(fence[0], []).append(claim)
    return [
        Chunk(
            c["pk"],
            c["delivery"],
            c["job_pk"],
            c["lane"],
            tuple(claims.get(c["pk"], ())),
            c["deaths"],
        )
        for c in taken
    ]


def _recipes(tx: Tx, job_keys: Collection[int]) -> dict[int, rows.Recipe]:
    found = tx.run("chunk_jobs", pks=tx.array(job_keys)) if job_keys else ()
    return {row["pk"]: rows.recipe(row) for row in found}


def _to_join(tx: Tx, item: Row) -> list[Row]:
    return tx.run("join_sources", job_pk=item["job_pk"]) if item["joins"] else []


def still_held(tx: Tx, node: str, fences: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Give those of some (chunk key, delivery) that are still the node's."""
    keys = tx.array({key for key, _ in fences})
    return {(row["pk"], row["delivery"]) for row in tx.run("held_chunks", pks=keys, node=node)}


def begun(tx: Tx, node: str, told: Iterable[tuple[Claim, float]]) -> None:
    """Write that work on items has begun, so many seconds ago; void claims are ignored."""
    told = list(told)
    jobs = held.lock(tx, {claim.job_key for claim, _ in told})
    live = _live(tx, node, [claim for claim, _ in told])
    begun = [(c, s) for c, s in told if live.get(c.item_key) == "queued"]
    changed = {claim.job_key for claim, _ in begun}
    for claim, worked_s in begun:
        job, started_ms = jobs[claim.job_key], tx.now() - round(1000 * worked_s)
        job["queued"] -= 1
        job["running"] += 1
        job["started_ms"] = min(job["started_ms"] or started_ms, started_ms)
        place = {"pk": claim.item_key, "attempt": claim.attempt}
        tx.run("begin_item", **place, started_ms=started_ms)
    held.save(tx, [jobs[key] for key in changed])


def _live(tx: Tx, node: str, claims: Sequence[Claim]) -> dict[int, str]:
    """Give the status of those items that are not over, and still a node's by these claims."""
    held_now = still_held(tx, node, [(c.chunk_key, c.delivery) for c in claims])
    keys = [c.item_key for c in claims if (c.chunk_key, c.delivery) in held_now]
    return {row["pk"]: row["status"] for row in tx.run("live_items", pks=tx.array(keys))}


def tell(tx: Tx, node: str, progress: Iterable[tuple[Claim, Progress]]) -> None:
    """Write how far running items are; void claims are ignored."""
    told = list(progress)
    jobs = held.lock(tx, {claim.job_key for claim, _ in told})
    live = _live(tx, node, [claim for claim, _ in told])
    news = [(c, now) for c, now in told if live.get(c.item_key) == "running"]
    tx.many("tell_item", [{"pk": c.item_key, "done": n.done, "total": n.total} for c, n in news])
    held.save(tx, [jobs[key] for key in {claim.job_key for claim, _ in news}])


def give_back(tx: Tx, node: str, chunks: Iterable[Chunk]) -> None:
    """Put chunks back that the node will not go on with; it pays no attempt for what had not begun.

    Chunks that are not the node's any more are ignored.
    """
    fences = {(chunk.key, chunk.delivery) for chunk in chunks}
    still = {key for key, _ in still_held(tx, node, fences) & fences}
    requeue(tx, [row for row in tx.run("chunks_of", node=node) if row["pk"] in still], died=False)


def requeue(tx: Tx, chunks: Sequence[Row], *, died: bool) -> list[Row]:
    """Put taken chunks back; gives their items that have begun, or after a death may have."""
    jobs = held.lock(tx, {chunk["job_pk"] for chunk in chunks})
    touched: list[Row] = []
    changed: set[int] = set()
    for chunk in chunks:
        fence = {"pk": chunk["pk"], "delivery": chunk["delivery"]}
        ready = tx.run("give_back_chunk", **fence, deaths=int(died))
        if not ready:
            continue
        tx.send(ready)
        where = {name: chunk[name] for name in ("job_pk", "lo", "hi", "fetches")}
        # What goes one by one is known to have begun, or not.
        waiting = tx.run("charge_waiting", **where) if died and not chunk["deaths"] else []
        if running := tx.run("requeue_running", **where):
            jobs[chunk["job_pk"]]["running"] -= len(running)
            jobs[chunk["job_pk"]]["queued"] += len(running)
            changed.add(chunk["job_pk"])
        touched += [*waiting, *running]
    held.save(tx, [jobs[key] for key in changed])
    return touched


def next_suspect(tx: Tx, node: str, chunk: Chunk) -> Claim | None:
    """Begin one more item of a chunk that some node died with, and write so before it starts.

    Those first that have begun least often: who dies with the one that is guilty has had the others
    ended before. None once there is none left, or the chunk is not the node's any more.
    """
    if not still_held(tx, node, [(chunk.key, chunk.delivery)]) & {(chunk.key, chunk.delivery)}:
        return None
    for item in tx.run("suspects", pk=chunk.key):
        told = _recipes(tx, [chunk.job_key])[chunk.job_key]
        claim = rows.claim(item, (chunk.key, chunk.delivery), told, _to_join(tx, item))
        begun(tx, node, [(claim, 0.0)])
        return claim
    return None
