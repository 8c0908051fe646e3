"""The outbox beside the SQLite job store: the same writer, the same transactions."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from app.jobs import delivery_rows, rows
from app.jobs.announcements import Announcements, Database
from app.jobs.outbox import ATTEMPTS_KEPT
from app.jobs.writer import Tx
from app.model import (
    TEST_EVENT,
    Attempt,
    Delivery,
    DeliveryStatus,
    NamedBlob,
    Parcel,
    Push,
    PutTarget,
    Route,
    Verdict,
    Webhook,
)

T = TypeVar("T")

Rows = list[sqlite3.Row]
"""Spelled here: inside the class, `list` is a method."""

DUE_ROWS = 500
PURGE_ROWS = 1000
FOREVER = (1 << 63) - 1


class SqliteOutbox:
    """`Outbox` on a job store's database."""

    def __init__(
        self, database: Database, announcements: Announcements, sql: Mapping[str, str]
    ) -> None:
        """Lean on the store's connections, and on what writes for it; nothing is opened here."""
        self._database = database
        self._announcements = announcements
        self._sql = sql
        self._awaiting_end: dict[str, set[asyncio.Future[None]]] = {}

    # -- sending -----------------------------------------------------------------------------

    def listen(self, on_due: Callable[[], None]) -> None:
        """See `Outbox.listen`."""
        self._announcements.on_due = on_due

    async def due(self, busy: Collection[str], only: Collection[str] | None) -> list[Route]:
        """See `Outbox.due`."""
        values = {
            "busy": rows.dump(list(busy)),
            "only": None if only is None else rows.dump(list(only)),
            "now_ms": self._database.now_ms(),
            "limit": DUE_ROWS,
        }
        found = await self._database.read(lambda db: self._run(db, "due", **values))
        return [Route(row["pk"], row["origin"], row["lane"]) for row in found]

    async def next_due_at(self) -> datetime | None:
        """See `Outbox.next_due_at`."""
        now_ms = self._database.now_ms()
        [row] = await self._database.read(lambda db: self._run(db, "next_due", now_ms=now_ms))
        return rows.from_ms(row["due_ms"])

    async def claim(self, keys: Sequence[int]) -> list[Parcel]:
        """See `Outbox.claim`."""

        def work(tx: Tx) -> list[Parcel]:
            taken = self._run(tx.db, "take", pks=rows.dump(list(keys)))
            return [self._parcel(tx, row) for row in taken]

        return await self._database.write(work)

    def _parcel(self, tx: Tx, row: sqlite3.Row) -> Parcel:
        if row["kind"] == "webhook":
            return delivery_rows.parcel(row)
        found = self._run(tx.db, "push_sources", item_pk=row["item_pk"])
        if len(found) != 1:  # a result was deleted
            return delivery_rows.parcel(row)
        [source] = found
        store, stored = rows.load(source["store"]), rows.blob(source)
        assert stored is not None  # noqa: S101 - NOT NULL
        target = PutTarget(row["url"], store.get("headers", {}))
        return delivery_rows.parcel(row, target, NamedBlob(stored, source["name"]))

    async def settle(self, parcel: Parcel, attempt: Attempt | None, verdict: Verdict) -> bool:
        """See `Outbox.settle`."""

        def work(tx: Tx) -> bool:
            over = verdict.status in (DeliveryStatus.DELIVERED, DeliveryStatus.DEAD)
            found = self._run(
                tx.db,
                "settle",
                id=parcel.id,
                claim=parcel.claim,
                status=verdict.status,
                tried=int(attempt is not None),
                problem=rows.dump_problem(verdict.problem) if verdict.problem else None,
                due_ms=rows.to_ms(verdict.due_at) if verdict.due_at else None,
                ended_ms=self._database.now_ms() if over else None,
            )
            if not found:
                return False
            [row] = found
            if attempt is not None:
                self._keep(tx, row["pk"], attempt)
            if row["kind"] == "push":
                self._push_settled(tx, row, verdict, over=over)
            else:
                self._event_settled(tx, row, verdict)
            if over:
                tx.after_commit(lambda: self._wake(row["id"]))
            return True

        return await self._database.write(work)

    def _keep(self, tx: Tx, pk: int, attempt: Attempt) -> None:
        [row] = self._run(
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
            self._run(tx.db, "drop_old_attempts", pk=pk, n=row["n"] - ATTEMPTS_KEPT)

    def _push_settled(self, tx: Tx, row: sqlite3.Row, verdict: Verdict, *, over: bool) -> None:
        for job in self._run(tx.db, "job_changed", job_id=row["job_id"]):
            if over:
                code = verdict.problem.code if verdict.problem else None
                self._announcements.pushed(tx, job, row["item_idx"], code)
            self._database.announce(tx, job["id"])

    def _event_settled(self, tx: Tx, row: sqlite3.Row, verdict: Verdict) -> None:
        if row["job_id"] is None or row["url"] is None:
            return
        delivered = verdict.status is DeliveryStatus.DELIVERED
        if verdict.disabled:
            values = {"job_id": row["job_id"], "url": row["url"], "problem": row["problem"]}
            self._run(tx.db, "bury_neighbours", **values, now_ms=self._database.now_ms())
        if verdict.disabled or (delivered and row["asked"]):
            gone = rows.dump(verdict.disabled)
            self._run(tx.db, "mark_gone", job_id=row["job_id"], gone=gone)

    async def release(self, parcels: Sequence[Parcel]) -> None:
        """See `Outbox.release`."""

        def work(tx: Tx) -> None:
            now_ms = self._database.now_ms()
            for parcel in parcels:
                values = {"id": parcel.id, "claim": parcel.claim, "now_ms": now_ms}
                self._run(tx.db, "release", **values)

        await self._database.write(work)

    async def recover(self) -> int:
        """See `Outbox.recover`."""
        now_ms = self._database.now_ms()
        found = await self._database.write(lambda tx: self._run(tx.db, "recover", now_ms=now_ms))
        return len(found)

    # -- showing, replaying ------------------------------------------------------------------

    async def get(self, delivery_id: str) -> Delivery | None:
        """See `Outbox.get`."""

        def read(db: sqlite3.Connection) -> Delivery | None:
            found = self._with_attempts(db, self._run(db, "get_delivery", id=delivery_id))
            return found[0] if found else None

        return await self._database.read(read)

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
            values = {
                "client": client,
                "status": status,
                "before": rows.read_cursor(cursor, FOREVER),
                "limit": limit + 1,
            }
            if job_id is None:
                found = self._run(db, "list_deliveries", **values)
            else:
                found = self._run(db, "list_job_deliveries", **values, job_id=job_id)
            page, next_cursor = rows.page(found, "pk", limit)
            return self._with_attempts(db, page), next_cursor

        return await self._database.read(read)

    def _with_attempts(
        self, db: sqlite3.Connection, found: Sequence[sqlite3.Row]
    ) -> Sequence[Delivery]:
        attempts: dict[int, list[Attempt]] = {}
        keys = rows.dump([row["pk"] for row in found])
        for row in self._run(db, "attempts_of", pks=keys):
            attempts.setdefault(row["delivery_pk"], []).append(delivery_rows.attempt(row))
        return [delivery_rows.delivery(row, tuple(attempts.get(row["pk"], ()))) for row in found]

    def pushes_of(self, db: sqlite3.Connection, items: Iterable[sqlite3.Row]) -> Mapping[int, Push]:
        """Tell how it stands with putting items' results elsewhere, by the items' keys."""
        keys = [row["pk"] for row in items if row["store"] is not None]
        if not keys:
            return {}
        found = self._run(db, "pushes_of", item_pks=rows.dump(keys))
        return {row["item_pk"]: delivery_rows.push(row) for row in found}

    async def replay(self, delivery_id: str) -> None:
        """See `Outbox.replay`."""

        def work(tx: Tx) -> None:
            self._run(tx.db, "replay", id=delivery_id, now_ms=self._database.now_ms())
            tx.after_commit(self._announcements.on_due)

        await self._database.write(work)

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
            [row] = self._run(tx.db, "get_delivery", id=delivery_id)
            return delivery_rows.delivery(row, ())

        return await self._database.write(work)

    async def ended(self, delivery_id: str, timeout_s: float) -> Delivery | None:
        """See `Outbox.ended`."""
        woken = asyncio.get_running_loop().create_future()
        # Registered before the read: an end between the two still wakes us.
        waiters = self._awaiting_end.setdefault(delivery_id, set())
        waiters.add(woken)
        try:
            found = await self.get(delivery_id)
            if found is None or found.status in (DeliveryStatus.DELIVERED, DeliveryStatus.DEAD):
                return found
            await asyncio.wait([woken], timeout=timeout_s)
        finally:
            waiters.discard(woken)
            if not waiters and self._awaiting_end.get(delivery_id) is waiters:
                del self._awaiting_end[delivery_id]
        return await self.get(delivery_id)

    def _wake(self, delivery_id: str) -> None:
        for waiter in self._awaiting_end.pop(delivery_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def purge(self, retention_s: float) -> bool:
        """See `Outbox.purge`."""
        before_ms = self._database.now_ms() - int(retention_s * 1000)
        values = {"before_ms": before_ms, "limit": PURGE_ROWS}
        dropped = await self._database.write(
            lambda tx: self._run(tx.db, "drop_old_deliveries", **values)
        )
        return len(dropped) == PURGE_ROWS

    def _run(self, db: sqlite3.Connection, statement: str, **values: Any) -> Rows:
        return db.execute(self._sql[statement], values).fetchall()
