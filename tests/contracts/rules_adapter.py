"""A store as the property test of the rules sees it: what is asked of it, and what it shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.errors import Conflict, Expired, IdempotencyMismatch, OperationFailed
from app.jobs.base import JobStore, Submitted
from app.jobs.sqlite import SqliteJobStore
from app.model import (
    JOB_EVENTS,
    Claim,
    Done,
    Failed,
    Job,
    NamedBlob,
    NewItem,
    NewJob,
    Step,
    Webhook,
)
from tests.contracts.backends import SqliteBackend
from tests.contracts.rules_model import RETENTION_S, Order
from tests.contracts.test_job_store import blob

CLIENT = "shop"
COMPRESS, PACK, FETCH = Step("compress"), Step("archive", {"format": "zip"}), Step("fetch")
WEBHOOK = Webhook("https://hook.test/", frozenset({*JOB_EVENTS, "item.succeeded", "item.failed"}))
MANY = 1_000
PART = 2
"""So many lines of a streamed job are written at a time."""


@dataclass(frozen=True)
class SeenItem:
    """What a client sees of an item."""

    status: str
    code: str | None
    seq: int
    attempt: int
    results: int


@dataclass(frozen=True)
class Seen:
    """What a client sees of a job."""

    status: str
    seq: int
    counts: Counter[str]
    items: list[SeenItem]
    told: Counter[tuple[str, int | None]]


@dataclass(frozen=True)
class Taken:
    """Work that a node was given and has begun."""

    job_id: str
    index: int
    attempt: int
    inputs: int
    """How many files it has to work on."""
    claim: object
    """The store's own word for it."""


class RulesStore(Protocol):
    """One place for records, and some nodes on it. All times are its clock's."""

    nodes: int
    """How many may be open at once."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def submit(self, order: Order) -> tuple[str, bool] | None:
        """Give the job's id, and whether it is new; None: the key is another request's."""

    async def abandon(self, order: Order) -> None:
        """Begin to receive a job, and never end it."""

    async def take(self, node: int, limit: int) -> list[Taken]: ...

    async def finish(self, node: int, taken: Taken, *, succeeded: bool) -> bool: ...

    async def give_back(self, node: int, taken: Taken) -> None: ...

    async def cancel(self, job_id: str) -> None: ...

    async def retry(self, job_id: str) -> str | None:
        """Give why not, if not: `conflict` or `expired`."""

    async def delete(self, job_id: str) -> None: ...

    async def crash(self, node: int) -> None:
        """Kill a node, start it again, and let pass what has to until its work is given back."""

    async def purge(self) -> None:
        """Expire all that is due."""

    def move_clock(self, seconds: float) -> None: ...

    async def job(self, job_id: str) -> Seen | None: ...

    async def ended_since(
        self, job_id: str, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int]]:
        """Give seq and index of what became final, as an event stream tells it."""


class SqliteRules:
    """`RulesStore` over `SqliteJobStore`: one process has the folder."""

    nodes = 1

    def __init__(self, folder: Path) -> None:
        self._records = SqliteBackend(folder)
        self._store: SqliteJobStore

    async def open(self) -> None:
        self._store = await self._records.open()

    async def close(self) -> None:
        await self._records.close()

    async def submit(self, order: Order) -> tuple[str, bool] | None:
        try:
            made = await _submitted(self._store, order)
        except IdempotencyMismatch:
            return None
        return made.job.id, made.created

    async def abandon(self, order: Order) -> None:
        async with self._store.receiving(CLIENT, dedupe=order.dedupe) as incoming:
            await incoming.add([_item(0, 1)])

    async def take(self, node: int, limit: int) -> list[Taken]:
        claims = await self._store.claim("io", limit)
        claims += await self._store.claim("cpu", limit - len(claims))
        await self._store.began([(claim, 0.0) for claim in claims])
        return [_taken(claim) for claim in claims]

    async def finish(self, node: int, taken: Taken, *, succeeded: bool) -> bool:
        result = Done((NamedBlob(blob("result"), "result"),), {})
        failed = Failed(OperationFailed("It broke.").problem())
        return await self._store.finish(_claim(taken), result if succeeded else failed)

    async def give_back(self, node: int, taken: Taken) -> None:
        await self._store.release([_claim(taken)])

    async def cancel(self, job_id: str) -> None:
        await self._store.cancel(job_id)

    async def retry(self, job_id: str) -> str | None:
        try:
            await self._store.retry(job_id)
        except Conflict:
            return "conflict"
        except Expired:
            return "expired"
        return None

    async def delete(self, job_id: str) -> None:
        await self._store.delete_job(job_id)

    async def crash(self, node: int) -> None:
        await self._records.crash()
        await self._records.close()
        await self.open()
        await self._store.recover()

    async def purge(self) -> None:
        while await self._store.purge():
            pass

    def move_clock(self, seconds: float) -> None:
        self._records.clock.move(seconds)

    async def job(self, job_id: str) -> Seen | None:
        job = await self._store.get_job(job_id)
        return None if job is None else await self._seen(job)

    async def _seen(self, job: Job) -> Seen:
        items, _ = await self._store.list_items(job.id, limit=MANY)
        told, _ = await self._store.outbox.list(CLIENT, job_id=job.id, limit=MANY)
        counts = {
            name: getattr(job.counts, name)
            for name in ("queued", "running", "succeeded", "failed", "canceled")
        }
        return Seen(
            str(job.status),
            job.seq,
            Counter({name: count for name, count in counts.items() if count}),
            [
                SeenItem(
                    str(item.status),
                    item.problem.code if item.problem else None,
                    item.seq,
                    item.attempt,
                    len(item.results),
                )
                for item in items
            ],
            Counter((delivery.event, delivery.item_index) for delivery in told),
        )

    async def ended_since(
        self, job_id: str, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int]]:
        ended = await self._store.items_since(job_id, after, limit)
        return [(item.seq, item.index) for item in ended]


async def _submitted(store: JobStore, order: Order) -> Submitted:
    items = [_item(index, url) for index, url in enumerate(order.items)]
    first = (COMPRESS,) if not order.passes and None in order.items else (FETCH,)
    new = NewJob(
        client=CLIENT,
        steps=(*first, *[PACK] * order.joins),
        items=() if order.streamed else tuple(items),
        retention_s=RETENTION_S,
        join_at=1 if order.joins else None,
        pace=order.pace,
        stops=order.stops,
        dedupe=order.dedupe,
        idempotency_key=order.key,
        fingerprint=repr(order),
        webhook=WEBHOOK,
    )
    if not order.streamed:
        return await store.submit(new)
    async with store.receiving(CLIENT, dedupe=order.dedupe) as incoming:
        for start in range(0, len(items), PART):
            await incoming.add(items[start : start + PART])
        return await incoming.submit(new)


def _item(index: int, url: int | None) -> NewItem:
    if url is not None:
        return NewItem(url=f"https://origin.test/{url}")
    return NewItem(upload=NamedBlob(blob(f"input {index}"), f"{index}.txt"))


def _taken(claim: Claim) -> Taken:
    return Taken(claim.job_id, claim.index, claim.attempt, len(claim.inputs), claim)


def _claim(taken: Taken) -> Claim:
    assert isinstance(taken.claim, Claim)
    return taken.claim
