"""What is to leave the house: taken, settled, shown and sent again.

Deliveries are handed out at least once: what a node took and did not settle is due again when the
node is buried (`outcome.py`). `events.py` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from app.model.blobs import NamedBlob
from app.model.deliveries import (
    TEST_EVENT,
    Attempt,
    Delivery,
    DeliveryStatus,
    Parcel,
    PutTarget,
    Route,
    Settled,
    Verdict,
    Webhook,
)
from app.records import delivery_rows, events, held, rows, topics
from app.records.pages import NEWEST_FIRST, read_page
from app.stores.base import Row, Tx

ATTEMPTS_KEPT = 50
"""Of one delivery, the latest: replays must not grow a record for ever."""
DUE_ROWS = 500
PURGE_ROWS = 1000


# -- sending -------------------------------------------------------------------------------------


def due(tx: Tx, busy: Collection[str], only: Collection[str] | None) -> list[Route]:
    """Give some of what is due, the longest due first.

    Args:
        tx: the transaction.
        busy: origins and lanes whose turn it is not.
        only: the origins to which it is limited; None for all.
    """
    limits = {"all": int(only is None), "only": tx.array(only or ())}
    found = tx.run("due", busy=tx.array(busy), **limits, now_ms=tx.now(), limit=DUE_ROWS)
    return [Route(row["pk"], row["origin"], row["lane"]) for row in found]


def next_due_at(tx: Tx) -> datetime | None:
    """Give the time at which the next thing becomes due that is not yet."""
    [row] = tx.run("next_due", now_ms=tx.now())
    return rows.from_ms(row["due_ms"])


def take(tx: Tx, node: str, keys: Sequence[int]) -> list[Parcel]:
    """Take what is still pending of these; nobody else is given them until they are settled."""
    taken = tx.run("take", pks=tx.array(keys), node=node)
    pushes = [row["item_pk"] for row in taken if row["kind"] == "push"]
    sources: dict[int, list[Row]] = {}
    for source in tx.run("push_sources", item_pks=tx.array(pushes)) if pushes else ():
        sources.setdefault(source["item_pk"], []).append(source)
    return [_parcel(row, sources.get(row["item_pk"], [])) for row in taken]


def _parcel(row: Row, sources: list[Row]) -> Parcel:
    put = rows.load(row["data"]) if row["kind"] == "push" else {}
    if remote := put.get("remote"):
        sources = [source for source in sources if source["position"] == put["result"]]
    if row["kind"] == "webhook" or len(sources) != 1:  # a result was deleted
        return delivery_rows.parcel(row)
    [source] = sources
    store, stored = rows.load(source["store"]), rows.valued(source)
    assert stored is not None  # noqa: S101 - NOT NULL
    target = PutTarget(row["url"], store.get("headers", {}), remote)
    return delivery_rows.parcel(row, target, NamedBlob(stored, source["name"]))


def settle(tx: Tx, settled: Sequence[Settled]) -> set[int]:
    """Record attempts and what becomes of their deliveries.

    Gives the keys of those that were recorded. The others are void, and nothing of them changes:
    deleted, expired with their job, or taken again meanwhile.
    """
    rows_now = _sending(tx, settled)
    good = [s for s in settled if s.parcel.key in rows_now]
    tx.many("settle", [_settled(s, tx.now()) for s in good])
    for one in good:
        row = rows_now[one.parcel.key]
        if one.attempt is not None:
            _keep(tx, row["pk"], one.attempt)
        if row["kind"] == "push":
            _push_settled(tx, row, one.verdict)
        else:
            _event_settled(tx, row, one.verdict)
        if one.verdict.status.done:
            tx.tell(topics.SETTLED, row["id"])
    return set(rows_now)


def _sending(tx: Tx, settled: Iterable[Settled]) -> dict[int, Row]:
    claims = {s.parcel.key: s.parcel.claim for s in settled}
    found = tx.run("sending", pks=tx.array(claims))
    return {row["pk"]: row for row in found if row["claims"] == claims[row["pk"]]}


def _settled(one: Settled, now_ms: int) -> dict[str, Any]:
    verdict = one.verdict
    return {
        "pk": one.parcel.key,
        "status": verdict.status,
        "tried": int(one.attempt is not None),
        "problem": rows.dump_problem(verdict.problem) if verdict.problem else None,
        "due_ms": rows.to_ms(verdict.due_at) if verdict.due_at else None,
        "ended_ms": now_ms if verdict.status.done else None,
        "data": _put(one),
    }


def _put(one: Settled) -> str | None:
    """Say what arrived in a bucket; None where nothing is to be noted."""
    parcel, attempt = one.parcel, one.attempt
    if "remote" not in parcel.data or attempt is None or attempt.problem or not parcel.content:
        return None
    size_bytes = parcel.content.blob.size_bytes
    return rows.dump(parcel.data | {"etag": attempt.etag, "size_bytes": size_bytes})


def _keep(tx: Tx, pk: int, attempt: Attempt) -> None:
    [row] = tx.run(
        "insert_attempt",
        pk=pk,
        at_ms=rows.to_ms(attempt.at),
        elapsed_ms=attempt.elapsed_ms,
        http_status=attempt.http_status,
        problem=rows.dump_problem(attempt.problem) if attempt.problem else None,
        answer=attempt.answer,
    )
    if row["n"] > ATTEMPTS_KEPT:
        tx.run("drop_old_attempts", pk=pk, n=row["n"] - ATTEMPTS_KEPT)


def _push_settled(tx: Tx, row: Row, verdict: Verdict) -> None:
    for job in held.named(tx, row["job_id"]):
        if verdict.status.done:
            code = verdict.problem.code if verdict.problem else None
            url = row["url"] if rows.load(row["data"]) else None
            events.push_ended(tx, job, row["item_idx"], code, url)
        held.save(tx, [job])


def _event_settled(tx: Tx, row: Row, verdict: Verdict) -> None:
    if row["job_id"] is None or row["url"] is None:
        return
    delivered = verdict.status is DeliveryStatus.DELIVERED
    if verdict.disabled:
        problem = rows.dump_problem(verdict.problem) if verdict.problem else None
        said = {"job_id": row["job_id"], "url": row["url"], "problem": problem}
        tx.run("bury_neighbours", **said, now_ms=tx.now())
    if verdict.disabled or (delivered and row["asked"]):
        for job in held.named(tx, row["job_id"]):
            if job["webhook"] is not None:
                gone = json.loads(job["webhook"]) | {"gone": verdict.disabled}
                tx.many("put_job", [job | {"webhook": rows.dump(gone), "seq": job["seq"] - 1}])


def give_back(tx: Tx, parcels: Sequence[Parcel]) -> None:
    """Make taken deliveries due again, no attempt counted; void ones are ignored."""
    at = rows.from_ms(tx.now())
    again = Verdict(DeliveryStatus.PENDING, due_at=at)
    settled = [Settled(parcel, None, again) for parcel in parcels]
    still = _sending(tx, settled)
    tx.many("settle", [_settled(s, tx.now()) for s in settled if s.parcel.key in still])


# -- showing, replaying --------------------------------------------------------------------------


def get(tx: Tx, delivery_id: str) -> Delivery | None:
    """Give an event's delivery with its attempts, or None; pushes are shown by their items."""
    found = _with_attempts(tx, tx.run("get_delivery", id=delivery_id))
    return found[0] if found else None


def listed(
    tx: Tx,
    client: str,
    *,
    job_id: str | None = None,
    status: DeliveryStatus | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[Sequence[Delivery], str | None]:
    """Give a page of a client's deliveries, newest first, and the cursor of the next page."""
    page, next_cursor = read_page(
        tx,
        "list_deliveries" if job_id is None else "list_job_deliveries",
        NEWEST_FIRST,
        cursor=cursor,
        limit=limit,
        client=client,
        status=status,
        job_id=job_id,
    )
    return _with_attempts(tx, page), next_cursor


def _with_attempts(tx: Tx, found: Sequence[Row]) -> Sequence[Delivery]:
    attempts: dict[int, list[Attempt]] = {}
    for row in tx.run("attempts_of", pks=tx.array(row["pk"] for row in found)):
        attempts.setdefault(row["delivery_pk"], []).append(delivery_rows.attempt(row))
    return [delivery_rows.delivery(row, tuple(attempts.get(row["pk"], ()))) for row in found]


def settled_of(tx: Tx, delivery_ids: Iterable[str]) -> dict[str, tuple[str, bool]]:
    """Give where those of some deliveries stand that there are, and whether they are over."""
    found = tx.run("delivery_states", ids=tx.array(delivery_ids))
    return {row["id"]: (row["status"], DeliveryStatus(row["status"]).done) for row in found}


def replay(tx: Tx, delivery_id: str) -> None:
    """Have an event sent again under its id, with a whole schedule of attempts before it.

    One that is being sent in this moment is left alone.
    """
    tx.run("replay", id=delivery_id, now_ms=tx.now())
    tx.tell(topics.DUE, "")


def test(tx: Tx, client: str, webhook: Webhook) -> Delivery:
    """Record an event that says nothing, due at once."""
    delivery_id = events.insert(
        tx,
        client=client,
        event=TEST_EVENT,
        data="{}",
        asked=1,
        url=webhook.url,
        secret=webhook.secret,
    )
    [row] = tx.run("get_delivery", id=delivery_id)
    return delivery_rows.delivery(row, ())


def purge(tx: Tx, retention_s: float) -> bool:
    """Remove what ended so long ago, a bounded number at a time; True if there may be more."""
    before_ms = tx.now() - int(retention_s * 1000)
    dropped = tx.run("drop_old_deliveries", before_ms=before_ms, limit=PURGE_ROWS)
    return len(dropped) == PURGE_ROWS
