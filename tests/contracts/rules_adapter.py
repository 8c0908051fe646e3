"""A store as the property test of the rules sees it: what is asked of it, and what it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

from app.errors import Conflict, Expired, IdempotencyMismatch, OperationFailed
from app.model.blobs import Blob, NamedBlob
from app.model.chunks import Chunk, Claim, Done, Ended, Failed, Submitted
from app.model.deliveries import JOB_EVENTS, Webhook
from app.model.jobs import Job, Lane, NewItem, NewJob, Step
from app.records import ending, files, intake, outbox, outcome, queue, reading
from app.records.nodes import seen
from app.stores.base import Tx
from app.stores.sqlite_tx import SqliteTx
from tests.contracts.backends import SqliteBackend
from tests.contracts.records import Store
from tests.contracts.rules_model import RETENTION_S, Order

CLIENT = "shop"
COMPRESS, PACK, FETCH = Step("compress"), Step("archive", {"format": "zip"}), Step("fetch")
WEBHOOK = Webhook("https://hook.test/", frozenset({*JOB_EVENTS, "item.succeeded", "item.failed"}))
MANY = 1_000
PART = 2
"""So many lines of a streamed job are written at a time."""
FACTS = {"fetch": {"name": "result", "media_type": "text/plain", "claimed_media_type": None}}
LANES: tuple[Lane, ...] = ("io", "cpu")


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
    ended: list[tuple[int, int]]
    """Seq and index of what became final behind the place that was asked for."""


@dataclass(eq=False)
class Given:
    """A chunk in a node's hands."""

    chunk: Chunk
    node_id: str
    """Who was given it: dead, maybe, by now."""
    left: set[int] = field(default_factory=set)
    """The keys of the items that it has still to end."""


@dataclass(frozen=True, eq=False)
class Taken:
    """An item that a node was given."""

    claim: Claim
    given: Given

    @property
    def inputs(self) -> int:
        """How many files it has to work on."""
        return len(self.claim.inputs)


class RulesStore(Protocol):
    """One place for records, and some nodes on it. All times are its clock's."""

    nodes: int
    """How many are open at once; each is named by its number from 0."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def submit(self, order: Order, node: int) -> tuple[str, bool] | None:
        """Give the job's id, and whether it is new; None: the key is another request's."""

    async def submit_and_take(
        self, order: Order, node: int
    ) -> tuple[tuple[str, bool] | None, list[Taken]]:
        """Submit what does not come in parts, and have the node take of it what it has room for."""

    async def abandon(self, order: Order, node: int) -> None:
        """Begin to receive a job, and never end it."""

    async def take(self, node: int, limit: int) -> list[Taken]:
        """Give chunks whole, until they have so many items."""

    async def begin(self, node: int, taken: Sequence[Taken]) -> None: ...

    async def finish(
        self, node: int, ended: Sequence[tuple[Taken, bool]]
    ) -> tuple[list[bool], list[Taken]]:
        """End items, each succeeded or not, in one transaction.

        Gives which were recorded, and what has begun then of chunks that go item by item.
        """

    async def give_back(self, node: int, taken: Taken) -> None:
        """Give a whole chunk back."""

    async def fail_on(self, node: int, taken: Taken) -> None:
        """Have a node fail on a chunk, as if it had died with nothing else in hand."""

    async def cancel(self, job_id: str, node: int) -> None: ...

    async def retry(self, job_id: str, node: int) -> str | None:
        """Give why not, if not: `conflict` or `expired`."""

    async def delete(self, job_id: str, node: int) -> None: ...

    async def crash(self, node: int) -> None:
        """Kill a node, start another in its place, and have that find the dead."""

    async def purge(self, node: int) -> None:
        """Expire all that is due, and forget the bytes of which no record is left."""

    def move_clock(self, seconds: float) -> None: ...

    async def look(self, job_id: str, after: tuple[int, int], limit: int) -> Seen | None:
        """Show a job, and up to so many of the ends behind a seq and index, as a stream does."""

    async def oddities(self) -> list[str]:
        """Give what contradicts itself in the records; after a purge that is all there can be."""


class SqliteRules:
    """`RulesStore` over the rules on one SQLite file."""

    nodes = 2

    def __init__(self, folder: Path) -> None:
        self._records = SqliteBackend(folder)
        self._stores: list[Store] = []
        self._values = count()

    async def open(self) -> None:
        self._stores = [await self._open() for _ in range(self.nodes)]

    async def _open(self) -> Store:
        store = await self._records.open()
        # No power cut here, and an fsync for each of very many commits takes most of the time.
        store.db._writer._db.execute("PRAGMA synchronous = OFF")
        return store

    async def close(self) -> None:
        await self._records.close()

    # -- clients -------------------------------------------------------------------------------

    async def submit(self, order: Order, node: int) -> tuple[str, bool] | None:
        store, new = self._stores[node], self._new(order)
        try:
            if not order.streamed:
                return _made(await store.submit(new))
            items = self._items(order)
            async with store.receiving(CLIENT, dedupe=order.dedupe) as incoming:
                for start in range(0, len(items), PART):
                    await incoming.add(items[start : start + PART])
                return _made(await incoming.submit(new))
        except IdempotencyMismatch:
            return None

    async def submit_and_take(
        self, order: Order, node: int
    ) -> tuple[tuple[str, bool] | None, list[Taken]]:
        store, new = self._stores[node], self._new(order)
        lane: Lane = "cpu" if None in order.items else "io"
        taker = intake.Taker(store.node, lane)
        try:
            made = await store.db.write(intake.submit, new, store.most, taker)
        except IdempotencyMismatch:
            return None, []
        return _made(made), await self._given(store, made.chunks)

    async def abandon(self, order: Order, node: int) -> None:
        async with self._stores[node].receiving(CLIENT, dedupe=order.dedupe) as incoming:
            await incoming.add([self._item(0, 1)])

    def _new(self, order: Order) -> NewJob:
        first = (COMPRESS,) if not order.passes and None in order.items else (FETCH,)
        return NewJob(
            client=CLIENT,
            steps=(*first, *[PACK] * order.joins),
            items=() if order.streamed else tuple(self._items(order)),
            retention_s=RETENTION_S,
            join_at=1 if order.joins else None,
            pace=order.pace,
            stops=order.stops,
            dedupe=order.dedupe,
            idempotency_key=order.key,
            fingerprint=repr(order),
            webhook=WEBHOOK,
        )

    def _items(self, order: Order) -> list[NewItem]:
        return [self._item(index, url) for index, url in enumerate(order.items)]

    def _item(self, index: int, url: int | None) -> NewItem:
        if url is not None:
            return NewItem(url=f"https://origin.test/{url}")
        return NewItem(upload=NamedBlob(self._value(), f"{index}.txt"))

    def _value(self) -> Blob:
        content = b"%d" % next(self._values)
        return Blob(content.hex(), len(content), "text/plain", "digest", content)

    async def cancel(self, job_id: str, node: int) -> None:
        await self._stores[node].db.write(ending.cancel, job_id)

    async def retry(self, job_id: str, node: int) -> str | None:
        try:
            await self._stores[node].retry(job_id)
        except Conflict:
            return "conflict"
        except Expired:
            return "expired"
        return None

    async def delete(self, job_id: str, node: int) -> None:
        await self._stores[node].db.write(ending.delete, job_id)

    # -- nodes ---------------------------------------------------------------------------------

    async def take(self, node: int, limit: int) -> list[Taken]:
        store = self._stores[node]
        taken: list[Taken] = []
        for lane in LANES:
            while (room := limit - len(taken)) > 0:
                chunks = await store.db.write(queue.take, store.node, lane, room)
                if not chunks:
                    break
                taken += await self._given(store, chunks)
        return taken

    async def _given(self, store: Store, chunks: Sequence[Chunk]) -> list[Taken]:
        taken: list[Taken] = []
        for chunk in chunks:
            given = Given(chunk, store.node)
            if chunk.deaths:
                taken += await self._next_suspect(store, given)
                continue
            given.left = {claim.item_key for claim in chunk.claims}
            taken += [Taken(claim, given) for claim in chunk.claims]
            if not given.left:
                await store.db.write(outcome.finish, store.node, (), [chunk])
        return taken

    async def _next_suspect(self, store: Store, given: Given) -> list[Taken]:
        if claim := await store.db.write(queue.next_suspect, given.node_id, given.chunk):
            return [Taken(claim, given)]
        await store.db.write(outcome.finish, given.node_id, (), [given.chunk])
        return []

    async def begin(self, node: int, taken: Sequence[Taken]) -> None:
        for node_id in {one.given.node_id for one in taken}:
            claims = [(one.claim, 0.0) for one in taken if one.given.node_id == node_id]
            await self._stores[node].db.write(queue.begun, node_id, claims)

    async def finish(
        self, node: int, ended: Sequence[tuple[Taken, bool]]
    ) -> tuple[list[bool], list[Taken]]:
        store, begun = self._stores[node], list[Taken]()
        [node_id] = {taken.given.node_id for taken, _ in ended}
        for taken, _ in ended:
            taken.given.left.discard(taken.claim.item_key)
        givens = list(dict.fromkeys(taken.given for taken, _ in ended))
        over = [given.chunk for given in givens if not given.chunk.deaths and not given.left]
        outcomes = [Ended(taken.claim, self._outcome(succeeded=good)) for taken, good in ended]
        recorded = await store.db.write(outcome.finish, node_id, outcomes, over)
        for given in givens:
            if given.chunk.deaths:
                begun += await self._next_suspect(store, given)
        return [taken.claim.fence in recorded for taken, _ in ended], begun

    def _outcome(self, *, succeeded: bool) -> Done | Failed:
        if succeeded:
            return Done((NamedBlob(self._value(), "result"),), FACTS)
        return Failed(OperationFailed("It broke.").problem())

    async def give_back(self, node: int, taken: Taken) -> None:
        given = taken.given
        await self._stores[node].db.write(queue.give_back, given.node_id, [given.chunk])

    async def fail_on(self, node: int, taken: Taken) -> None:
        given = taken.given
        await self._stores[node].db.write(outcome.crashed, given.node_id, given.chunk)

    async def crash(self, node: int) -> None:
        dead = self._stores[node]
        self._records.opened.remove(dead)
        await dead.close()  # it gives nothing back, and says no good-bye
        store = self._stores[node] = await self._open()
        [beat] = [one.beat for one in await store.db.look(seen) if one.id == dead.node]
        await store.db.write(outcome.bury, dead.node, beat)

    async def purge(self, node: int) -> None:
        store = self._stores[node]
        while await store.purge():
            pass
        while (await store.db.write(files.take_loose))[0]:
            pass

    def move_clock(self, seconds: float) -> None:
        self._records.clock.move(seconds)

    # -- what is to be seen --------------------------------------------------------------------

    async def look(self, job_id: str, after: tuple[int, int], limit: int) -> Seen | None:
        return await self._stores[-1].db.look(_look, job_id, after, limit)

    async def oddities(self) -> list[str]:
        return await self._stores[-1].db.look(_oddities)


def _made(submitted: Submitted) -> tuple[str, bool]:
    return submitted.job.id, submitted.created


def _look(tx: Tx, job_id: str, after: tuple[int, int], limit: int) -> Seen | None:
    job = reading.get_job(tx, job_id)
    if job is None:
        return None
    items, _ = reading.list_items(tx, job.id, limit=MANY)
    told, _ = outbox.listed(tx, CLIENT, job_id=job.id, limit=MANY)
    return Seen(
        str(job.status),
        job.seq,
        _counts(job),
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
        [(item.seq, item.index) for item in reading.items_since(tx, job_id, after, limit)],
    )


def _counts(job: Job) -> Counter[str]:
    names = ("queued", "running", "succeeded", "failed", "canceled")
    return Counter({name: n for name in names if (n := getattr(job.counts, name))})


ODDITIES = {
    "a client's backlog is not what is unfinished": """
        SELECT client, unfinished FROM clients WHERE unfinished <>
            (SELECT coalesce(sum(queued + running), 0) FROM jobs WHERE client = clients.client)""",
    "a chunk is left of a job that is over": """
        SELECT chunks.* FROM chunks JOIN jobs ON jobs.pk = job_pk
        WHERE jobs.queued + jobs.running = 0""",
    "a chunk is taken by nobody": """
        SELECT * FROM chunks
        WHERE (state = 'taken') <> (coalesce(node, '') IN (SELECT id FROM nodes))""",
    "a value is left of which there is no record": """
        SELECT key FROM small WHERE key NOT IN (SELECT blob FROM loose_blobs)
        AND key NOT IN (SELECT blob FROM files) AND key NOT IN
            (SELECT blob FROM items WHERE blob IS NOT NULL)""",
    "a record has no value": """
        SELECT blob FROM files WHERE blob NOT IN (SELECT key FROM small)
        UNION SELECT blob FROM items WHERE blob IS NOT NULL
                                       AND blob NOT IN (SELECT key FROM small)""",
}
"""Queries that find nothing, whatever has happened."""


def _oddities(tx: Tx) -> list[str]:
    assert isinstance(tx, SqliteTx)
    found = {said: tx.db.execute(query).fetchall() for said, query in ODDITIES.items()}
    return [f"{said}: {[tuple(row) for row in there]}" for said, there in found.items() if there]
