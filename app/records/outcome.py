"""How items end: outcomes of any number of jobs, written with all that follows from them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from app.errors import Interrupted
from app.model.blobs import Blob
from app.model.chunks import MAX_INTERRUPTIONS, Chunk, Done, Ended, Failed, Fence, Outcome
from app.model.jobs import ItemStatus
from app.records import cutting, ending, events, files, held, rows, tally, topics, twins
from app.records.held import Job
from app.records.queue import requeue, still_held
from app.stores.base import Row, Tx


def finish(tx: Tx, node: str, ended: Sequence[Ended], over: Iterable[Chunk] = ()) -> set[Fence]:
    """Record outcomes, and that chunks are over.

    Gives the fences of those that were recorded. The others are void: canceled, deleted, or taken
    again meanwhile; nothing of them changes.
    """
    chunks = list(over)
    fences = {(e.claim.chunk_key, e.claim.delivery) for e in ended}
    # First: nobody gives a chunk to another node but with its job locked.
    jobs = held.lock(tx, {e.claim.job_key for e in ended})
    still = still_held(tx, node, fences | {(chunk.key, chunk.delivery) for chunk in chunks})
    ours = [e for e in ended if (e.claim.chunk_key, e.claim.delivery) in still]
    recorded = end(tx, node, jobs, ours)
    if gone := [chunk.key for chunk in chunks if (chunk.key, chunk.delivery) in still]:
        tx.run("drop_chunks", pks=tx.array(gone))
    changed = [jobs[key] for key in {e.claim.job_key for e in ours if e.claim.fence in recorded}]
    _save(tx, changed)
    return recorded


def _save(tx: Tx, jobs: Sequence[Job]) -> None:
    """Write jobs back of which items have ended: what is paced has room for more."""
    for job in jobs:
        cutting.release(tx, job)
    held.save(tx, jobs)


def end(tx: Tx, node: str, jobs: dict[int, Job], ended: Sequence[Ended]) -> set[Fence]:
    """End items of locked jobs that ran on a node; gives the fences of those not over before."""
    if not ended:
        return set()
    keys = tx.array(e.claim.item_key for e in ended)
    live = {row["pk"]: row for row in tx.run("live_items", pks=keys)}
    first = {e.claim.item_key: e for e in reversed(ended)}  # an item ends once
    good = [e for e in ended if e.claim.item_key in live and first[e.claim.item_key] is e]
    now_ms = tx.now()
    tx.many("end_item", [_row(jobs, live, e, now_ms) for e in good])
    tally.count(tx, node, good)
    _insert_results(tx, jobs, good, now_ms)
    for e in good:
        _follow(tx, jobs[e.claim.job_key], live[e.claim.item_key], e)
    # Not before all that end have taken with them what ends as they do.
    for key in {e.claim.job_key for e in good if isinstance(e.outcome, Failed)}:
        if jobs[key]["stops"] and jobs[key]["queued"] + jobs[key]["running"]:
            ending.cancel_rest(tx, jobs[key])
    return {e.claim.fence for e in good}


def _row(jobs: dict[int, Job], live: dict[int, Row], e: Ended, now_ms: int) -> dict[str, Any]:
    """Count an end in its job, and give it as values of `end_item`."""
    item, job = live[e.claim.item_key], jobs[e.claim.job_key]
    status = status_of(e.outcome)
    started_ms = item["started_ms"]
    if started_ms is None:
        started_ms = now_ms - round(1000 * e.worked_s)
    job[item["status"]] -= 1
    job[status] += 1
    job["released"] -= item["fetches"] if job["pace"] else 0
    job["started_ms"] = min(job["started_ms"] or started_ms, started_ms)
    told = {"pk": item["pk"], "seq": job["seq"], "attempt": e.claim.attempt, "now_ms": now_ms}
    return told | {"status": status, "started_ms": started_ms} | _told_of(e.outcome)


def status_of(outcome: Outcome) -> ItemStatus:
    """Tell what an outcome makes of an item."""
    return ItemStatus.SUCCEEDED if isinstance(outcome, Done) else ItemStatus.FAILED


def check_recordable(done: Done) -> None:
    """Raise `ValueError` or `TypeError` for an outcome that cannot be written down."""
    told = [text for text in _told_of(done).values() if text is not None]
    "".join([*told, *(result.name for result in done.results)]).encode()


def _told_of(outcome: Outcome) -> dict[str, str | None]:
    """Give the columns that an outcome fills. Raises as `check_recordable` does."""
    facts = rows.dump(outcome.facts)
    if isinstance(outcome, Done):
        return {"facts": facts, "refused": rows.dump_refused(outcome.refused), "problem": None}
    return {"facts": facts, "refused": None, "problem": rows.dump_problem(outcome.problem)}


def _insert_results(tx: Tx, jobs: dict[int, Job], ended: Sequence[Ended], now_ms: int) -> None:
    new: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    blobs: list[Blob] = []
    for e in ended:
        if isinstance(e.outcome, Done):
            if e.outcome.fetched is not None:
                kept.append({"pk": e.claim.item_key} | files.columns(e.outcome.fetched))
                blobs.append(e.outcome.fetched)
            client = jobs[e.claim.job_key]["client"]
            for position, result in enumerate(e.outcome.results):
                file = files.row(
                    client,
                    result,
                    now_ms,
                    job_key=e.claim.job_key,
                    item_key=e.claim.item_key,
                    position=position,
                )
                new.append(file)
                blobs.append(result.blob)
    tx.many("insert_file", new)
    tx.many("keep_fetched", kept)
    files.keep_values(tx, blobs)


def _follow(tx: Tx, job: Job, item: Row, e: Ended) -> None:
    """Do what follows an item's end: events, its push, its twins."""
    failed = e.outcome if isinstance(e.outcome, Failed) else None
    events.item_ended(tx, job, item["idx"], failed.problem.code if failed else None)
    if item["store"] is not None and isinstance(e.outcome, Done):
        names = [result.name for result in e.outcome.results]
        events.result_ready(tx, job, item["pk"], item["idx"], item["store"], names)
    if item["has_twins"] and twins.follow(tx, job, item["pk"], twins.AT_ONCE):
        held.bite_later(tx, "follow", job["pk"], item_key=item["pk"])


def bury(tx: Tx, node: str, beat: int) -> int:
    """Give what a dead node had under way back to the queue, unless it has shown a sign of life.

    Items over `MAX_INTERRUPTIONS` fail as `internal.interrupted`. Returns how many items went back.
    """
    if not tx.run("bury_node", id=node, beat=beat):
        return 0
    requeued = _requeue(tx, node, tx.run("chunks_of", node=node))
    _let_go(tx, node)
    return requeued


def leave(tx: Tx, node: str) -> None:
    """Note that a node is there no more. What it has yet goes back, and pays no attempt for it."""
    requeue(tx, tx.run("chunks_of", node=node), died=False)
    _let_go(tx, node)
    tx.run("leave_node", id=node)


def _let_go(tx: Tx, node: str) -> None:
    """Have others do what a node that goes was at, besides its chunks."""
    if tx.run("resend", node=node, now_ms=tx.now()):
        tx.tell(topics.DUE, "")
    for job in tx.run("given_up", node=node):  # it was receiving them
        held.bite_later(tx, "drop", job["pk"])
    tx.run("leave_chores", node=node)


def crashed(tx: Tx, node: str, chunk: Chunk) -> None:
    """Give a chunk back that its node failed on, as if the node had died of it.

    Ignored if the chunk is not the node's any more, or is again.
    """
    fence = chunk.key, chunk.delivery
    held_now = tx.run("chunks_of", node=node)
    _requeue(tx, node, [row for row in held_now if (row["pk"], row["delivery"]) == fence])


def _requeue(tx: Tx, node: str, taken: Sequence[Row]) -> int:
    """Put chunks back of which some item may be guilty; gives how many items went back."""
    touched = requeue(tx, taken, died=True)
    given_up = [row for row in touched if _interruptions(row) >= MAX_INTERRUPTIONS]
    if given_up:
        _give_up(tx, node, taken, given_up)
    return len(touched) - len(given_up)


def _interruptions(item: Row) -> int:
    return int(item["attempt"] - item["attempts_before"])


def _give_up(tx: Tx, node: str, chunks: Collection[Row], items: Sequence[Row]) -> None:
    jobs = held.lock(tx, {chunk["job_pk"] for chunk in chunks})
    ended = []
    for item in items:
        problem = Interrupted(
            f"The service went down {_interruptions(item)} times while it worked on this."
        ).problem()
        ended.append(Ended(rows.bare_claim(item), Failed(problem)))
    end(tx, node, jobs, ended)
    changed = [jobs[key] for key in {e.claim.job_key for e in ended}]
    for job in changed:
        if not job["queued"] + job["running"]:  # nobody has their chunks to end them
            tx.run("drop_job_chunks", job_pk=job["pk"])
    _save(tx, changed)
