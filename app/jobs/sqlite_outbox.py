"""The outbox beside the SQLite job store: the same writer, the same transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from app.jobs import delivery_rows, rows
from app.jobs.announcements import Announcements
from app.jobs.changes import Changes
from app.jobs.connections import Connections
from app.jobs.database import run
from app.jobs.outbox import ATTEMPTS_KEPT
from app.jobs.pages import NEWEST_FIRST, read_page
from app.jobs.waiters import Waiters
from app.jobs.writer import Tx
from app.model import (
    TEST_EVENT,
    Attempt,
    Delivery,
    DeliveryStatus,
    NamedBlob,
    Parcel,
    PutTarget,
    Route,
    Verdict,
    Webhook,
)

DUE_ROWS = 500
PURGE_ROWS = 1000


class SqliteOutbox:
    """`Outbox` on a job store's database."""

    def __init__(
        self,
        connections: Connections,
        announcements: Announcements,
        changes: Changes,
        now_ms: Callable[[], int],
    ) -> None:
        """Lean on the store's connections, and on what writes for it; nothing is opened here."""
        self._connections = connections
        self._announcements = announcements
        self._changes = changes
        self._now_ms = now_ms
        self._awaiting_end = Waiters()

    # -- sending -----------------------------------------------------------------------------

    def listen(self, on_due: Callable[[], None]) -> None:
        """See `Outbox.listen`."""
        self._announcements.on_due = on_due

    async def due(self, busy: Collection[str], only: Collection[str] | None) -> list[Route]:
        """See `Outbox.due`."""
        values = {
            "busy": rows.dump(list(busy)),
            "only": None if only is None else rows.dump(list(only)),
            "now_ms": self._now_ms(),
            "limit": DUE_ROWS,
        }
        found = await self._connections.read(lambda db: run(db, "due", **values))
        return [Route(row["pk"], row["origin"], row["lane"]) for row in found]

    async def next_due_at(self) -> datetime | None:
        """See `Outbox.next_due_at`."""
        now_ms = self._now_ms()
        [row] = await self._connections.read(lambda db: run(db, "next_due", now_ms=now_ms))
        return rows.from_ms(row["due_ms"])

    async def claim(self, keys: Sequence[int]) -> list[Parcel]:
        """See `Outbox.claim`."""

        def work(tx: Tx) -> list[Parcel]:
            taken = run(tx.db, "take", pks=rows.dump(list(keys)))
            return [_parcel(tx, row) for row in taken]

        return await self._connections.write(work)

    async def settle(self, parcel: Parcel, attempt: Attempt | None, verdict: Verdict) -> bool:
        """See `Outbox.settle`."""

        def work(tx: Tx) -> bool:
            over = verdict.status.done
            found = run(
                tx.db,
                "settle",
                id=parcel.id,
                claim=parcel.claim,
                status=verdict.status,
                tried=int(attempt is not None),
                problem=rows.dump_problem(verdict.problem) if verdict.problem else None,
                due_ms=rows.to_ms(verdict.due_at) if verdict.due_at else None,
                ended_ms=self._now_ms() if over else None,
            )
            if not found:
                return False
            [row] = found
            if attempt is not None:
                _keep(tx, row["pk"], attempt)
            if row["kind"] == "push":
                self._push_settled(tx, row, verdict, over=over)
            else:
                self._event_settled(tx, row, verdict)
            if over:
                tx.after_commit(lambda: self._awaiting_end.wake(row["id"]))
            return True

        return await self._connections.write(work)

    def _push_settled(self, tx: Tx, row: sqlite3.Row, verdict: Verdict, *, over: bool) -> None:
        for job in run(tx.db, "job_changed", job_id=row["job_id"]):
            if over:
                code = verdict.problem.code if verdict.problem else None
                self._announcements.pushed(tx, job, row["item_idx"], code)
            self._changes.announce(tx, job["id"])

    def _event_settled(self, tx: Tx, row: sqlite3.Row, verdict: Verdict) -> None:
        if row["job_id"] is None or row["url"] is None:
            return
        delivered = verdict.status is DeliveryStatus.DELIVERED
        if verdict.disabled:
            values = {"job_id": row["job_id"], "url": row["url"], "problem": row["problem"]}
            run(tx.db, "bury_neighbours", **values, now_ms=self._now_ms())
        if verdict.disabled or (delivered and row["asked"]):
            gone = rows.dump(verdict.disabled)
            run(tx.db, "mark_gone", job_id=row["job_id"], gone=gone)

    async def release(self, parcels: Sequence[Parcel]) -> None:
        """See `Outbox.release`."""

        def work(tx: Tx) -> None:
            now_ms = self._now_ms()
            for parcel in parcels:
                values = {"id": parcel.id, "claim": parcel.claim, "now_ms": now_ms}
                run(tx.db, "release", **values)

        await self._connections.write(work)

    async def recover(self) -> int:
        """See `Outbox.recover`."""
        now_ms = self._now_ms()
        found = await self._connections.write(lambda tx: run(tx.db, "recover", now_ms=now_ms))
        return len(found)

    # -- showing, replaying ------------------------------------------------------------------

    async def get(self, delivery_id: str) -> Delivery | None:
        """See `Outbox.get`."""

        def read(db: sqlite3.Connection) -> Delivery | None:
            found = _with_attempts(db, run(db, "get_delivery", id=delivery_id))
            return found[0] if found else None

        return await self._connections.read(read)

    async def list(
        self,
        client: str,
        *,
        job_id: str | None = None,
        status: DeliveryStatus | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[Sequence[Delivery], str | None]:
        """See `Outbox.list`."""

        def read(db: sqlite3.Connection) -> tuple[Sequence[Delivery], str | None]:
            page, next_cursor = read_page(
                db,
                "list_deliveries" if job_id is None else "list_job_deliveries",
                NEWEST_FIRST,
                cursor=cursor,
                limit=limit,
                client=client,
                status=status,
                job_id=job_id,
            )
            return _with_attempts(db, page), next_cursor

        return await self._connections.read(read)

    async def replay(self, delivery_id: str) -> None:
        """See `Outbox.replay`."""

        def work(tx: Tx) -> None:
            run(tx.db, "replay", id=delivery_id, now_ms=self._now_ms())
            tx.after_commit(self._announcements.on_due)

        await self._connections.write(work)

    async def test(self, client: str, webhook: Webhook) -> Delivery:
        """See `Outbox.test`."""

        def work(tx: Tx) -> Delivery:
            delivery_id = self._announcements.insert(
                tx,
                kind="webhook",
                client=client,
                event=TEST_EVENT,
                data="{}",
                asked=1,
                url=webhook.url,
                secret=webhook.secret,
            )
            [row] = run(tx.db, "get_delivery", id=delivery_id)
            return delivery_rows.delivery(row, ())

        return await self._connections.write(work)

    def let_go(self) -> None:
        """See `Outbox.let_go`."""
        self._awaiting_end.let_go()

    async def ended(self, delivery_id: str, timeout_s: float) -> Delivery | None:
        """See `Outbox.ended`."""
        return await self._awaiting_end.until(
            delivery_id, self.get, lambda delivery: delivery.status.done, timeout_s
        )

    async def purge(self, retention_s: float) -> bool:
        """See `Outbox.purge`."""
        before_ms = self._now_ms() - int(retention_s * 1000)
        values = {"before_ms": before_ms, "limit": PURGE_ROWS}
        dropped = await self._connections.write(
            lambda tx: run(tx.db, "drop_old_deliveries", **values)
        )
        return len(dropped) == PURGE_ROWS


def _parcel(tx: Tx, row: sqlite3.Row) -> Parcel:
    if row["kind"] == "webhook":
        return delivery_rows.parcel(row)
    found = run(tx.db, "push_sources", item_pk=row["item_pk"])
    if len(found) != 1:  # a result was deleted
        return delivery_rows.parcel(row)
    [source] = found
    store, stored = rows.load(source["store"]), rows.blob(source)
    assert stored is not None  # noqa: S101 - NOT NULL
    target = PutTarget(row["url"], store.get("headers", {}))
    return delivery_rows.parcel(row, target, NamedBlob(stored, source["name"]))


def _keep(tx: Tx, pk: int, attempt: Attempt) -> None:
    [row] = run(
        tx.db,
        "insert_attempt",
        pk=pk,
        at_ms=rows.to_ms(attempt.at),
        elapsed_ms=attempt.elapsed_ms,
        http_status=attempt.http_status,
        problem=rows.dump_problem(attempt.problem) if attempt.problem else None,
        answer=attempt.answer,
    )
    if row["n"] > ATTEMPTS_KEPT:
        run(tx.db, "drop_old_attempts", pk=pk, n=row["n"] - ATTEMPTS_KEPT)


def _with_attempts(db: sqlite3.Connection, found: Sequence[sqlite3.Row]) -> Sequence[Delivery]:
    attempts: dict[int, list[Attempt]] = {}
    keys = rows.dump([row["pk"] for row in found])
    for row in run(db, "attempts_of", pks=keys):
        attempts.setdefault(row["delivery_pk"], []).append(delivery_rows.attempt(row))
    return [delivery_rows.delivery(row, tuple(attempts.get(row["pk"], ()))) for row in found]
