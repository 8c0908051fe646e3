"""Rows of the outbox to records and back."""

from __future__ import annotations

import json

from app.errors import Problem
from app.model.blobs import NamedBlob
from app.model.deliveries import (
    Attempt,
    Delivery,
    DeliveryStatus,
    Parcel,
    Push,
    PutTarget,
    Route,
    Webhook,
)
from app.records import rows
from app.stores.base import Row


def dump_webhook(webhook: Webhook) -> str:
    """Give a webhook as a JSON text."""
    kept = {"url": webhook.url, "events": sorted(webhook.events), "secret": webhook.secret}
    return rows.dump(kept)


def dump_target(target: PutTarget) -> str:
    """Give where an item's result goes as a JSON text."""
    told = {"url": target.url, "headers": dict(target.headers)}
    return rows.dump(told | ({"remote": target.remote} if target.remote else {}))


def problem(text: str | None) -> Problem | None:
    """Read a problem column."""
    return Problem(**json.loads(text)) if text else None


def attempt(row: Row) -> Attempt:
    """Read an attempts row."""
    at = rows.from_ms(row["at_ms"])
    assert at is not None  # noqa: S101 - NOT NULL
    return Attempt(
        at=at,
        elapsed_ms=row["elapsed_ms"],
        http_status=row["http_status"],
        problem=problem(row["problem"]),
        answer=row["answer"],
    )


def delivery(row: Row, attempts: tuple[Attempt, ...]) -> Delivery:
    """Read a deliveries row of an event."""
    created_at = rows.from_ms(row["created_ms"])
    assert created_at is not None  # noqa: S101 - NOT NULL
    return Delivery(
        id=row["id"],
        client=row["client"],
        event=row["event"],
        status=DeliveryStatus(row["status"]),
        job_id=row["job_id"],
        item_index=row["item_idx"],
        url=row["url"],
        created_at=created_at,
        due_at=rows.from_ms(row["due_ms"]),
        ended_at=rows.from_ms(row["ended_ms"]),
        problem=problem(row["problem"]),
        attempts=attempts,
    )


def push(row: Row) -> Push:
    """Read a deliveries row of a push, with its `last_problem`."""
    status = DeliveryStatus(row["status"])
    told = None
    if status is not DeliveryStatus.DELIVERED:
        told = problem(row["problem"]) or problem(row["last_problem"])
    put = rows.load(row["data"])
    return Push(
        url=row["url"] if "remote" in put else None,
        etag=put.get("etag"),
        size_bytes=put.get("size_bytes"),
        status=status,
        attempts=row["tries"],
        due_at=rows.from_ms(row["due_ms"]),
        ended_at=rows.from_ms(row["ended_ms"]),
        problem=told,
    )


def parcel(row: Row, target: PutTarget | None = None, content: NamedBlob | None = None) -> Parcel:
    """Read a deliveries row that was just claimed."""
    created_at = rows.from_ms(row["created_ms"])
    assert created_at is not None  # noqa: S101 - NOT NULL
    return Parcel(
        key=row["pk"],
        claim=row["claims"],
        id=row["id"],
        client=row["client"],
        tries=row["tries"],
        route=Route(row["pk"], row["origin"], row["lane"]),
        created_at=created_at,
        event=row["event"],
        data=rows.load(row["data"]),
        url=row["url"],
        secret=row["secret"],
        asked=bool(row["asked"]),
        target=target,
        content=content,
    )
