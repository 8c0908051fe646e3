"""The records as one node uses them, a method a rule: what the contracts are put to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from app.model.blobs import File, NamedBlob
from app.model.chunks import Chunk, Claim, Ended, Fence, Outcome, Submitted
from app.model.deliveries import Attempt, Delivery, Parcel, Settled, Verdict
from app.model.jobs import Item, Job, Lane, NewItem, NewJob, Progress, Step, Version, new_id
from app.records import (
    backlog,
    bites,
    ending,
    files,
    intake,
    nodes,
    outbox,
    outcome,
    queue,
    reading,
    receiving,
    topics,
    versions,
)
from app.stores.base import News
from app.stores.sqlite import SqliteDatabase

T = TypeVar("T")

LOOK_EVERY_S = 0.25


class Incoming:
    """A job on its way in."""

    def __init__(self, store: Store, key: int, new: NewJob) -> None:
        self._store, self.key, self._new, self._at = store, key, new, 0

    async def add(self, items: Sequence[NewItem]) -> None:
        args = (self.key, self._new, items, self._at, self._store.most)
        await self._store.db.write(receiving.add, *args)
        self._at += len(items)

    async def submit(self, new: NewJob) -> Submitted:
        return await self._store.db.write(receiving.show, self.key, new, self._at, self._store.most)


class Store:
    """A database and a node on it. What is claimed is in hand until it is over."""

    def __init__(self, db: SqliteDatabase, most: int) -> None:
        self.db, self.most = db, most
        self.node = new_id("node")
        self.outbox = Outbox(self)
        self.in_hand: dict[Fence, Claim] = {}
        self._chunks: dict[tuple[int, int], Chunk] = {}
        self._news = asyncio.Event()
        self._biting: set[asyncio.Task[None]] = set()
        self.bites_at_once = True
        self.canceled: list[int] = []
        """The keys of items that were in hand and are canceled, or deleted."""

    async def open(self) -> None:
        await self.db.open()
        await self.join()
        self.db.listen(self._hear)

    async def join(self) -> None:
        await self.db.write(nodes.join, self.node, frozenset({"api", "work"}))

    async def close(self) -> None:
        for task in tuple(self._biting):
            task.cancel()
        await asyncio.gather(*self._biting, return_exceptions=True)
        await self.db.close()

    def _hear(self, news: News) -> None:
        self._news.set()
        self._news = asyncio.Event()
        ended = [c for c in self.in_hand.values() if c.job_key in news.get(topics.GONE, ())]
        self._put_down(ended)
        self.canceled += [claim.item_key for claim in ended]
        if topics.BITE in news and self.bites_at_once:
            task = asyncio.ensure_future(self.bite())
            self._biting.add(task)
            task.add_done_callback(self._biting.discard)

    async def bite(self) -> None:
        while await self.db.write(bites.bite):
            pass

    # -- submitting ----------------------------------------------------------------------------

    def check_backlog(self, items: int = 1) -> None:
        self.db._read(backlog.check, self.most, items)

    async def submit(self, new: NewJob) -> Submitted:
        return await self.db.write(intake.submit, new, self.most)

    @asynccontextmanager
    async def receiving(
        self, client: str, *, dedupe: bool, steps: tuple[Step, ...] = ()
    ) -> AsyncIterator[Incoming]:
        key = await self.db.write(receiving.open_job, self.node)
        try:
            yield Incoming(self, key, NewJob(client, steps, (), 0, dedupe=dedupe))
        finally:
            await self.db.write(receiving.give_up, key)

    # -- reading -------------------------------------------------------------------------------

    async def get_job(self, job_id: str) -> Job | None:
        return await self.db.look(reading.get_job, job_id)

    async def list_jobs(self, client: str, **others: Any) -> tuple[list[Job], str | None]:
        return await self.db.read(reading.list_jobs, client, **others)

    async def list_items(self, job_id: str, **others: Any) -> tuple[list[Item], str | None]:
        return await self.db.read(reading.list_items, job_id, **others)

    async def items_since(self, job_id: str, after: tuple[int, int], **others: Any) -> list[Item]:
        return await self.db.read(reading.items_since, job_id, after, **others)

    async def changed(self, job_id: str, since: int, timeout_s: float) -> Job | None:
        return await self.until(
            lambda: self.get_job(job_id), lambda job: job.seq > since, timeout_s
        )

    async def ended(self, job_id: str, timeout_s: float) -> Job | None:
        return await self.until(
            lambda: self.get_job(job_id), lambda job: job.status.done, timeout_s
        )

    async def until(
        self,
        read: Callable[[], Awaitable[T | None]],
        holds: Callable[[T], bool],
        timeout_s: float,
    ) -> T | None:
        """Read at each news of this process, until it is gone or holds or the time is up."""
        give_up_at = asyncio.get_running_loop().time() + timeout_s
        while True:
            news = self._news
            found = await read()
            if found is None or holds(found):
                return found
            try:
                async with asyncio.timeout_at(give_up_at):
                    await news.wait()
            except TimeoutError:
                return await read()

    # -- running -------------------------------------------------------------------------------

    async def claim(self, lane: Lane, limit: int) -> list[Claim]:
        claims: list[Claim] = []
        while len(claims) < limit:
            taken = await self.db.write(queue.take, self.node, lane, limit - len(claims))
            if not taken:
                break
            for chunk in taken:
                claims += await self.begin(chunk)
        return claims

    async def begin(self, chunk: Chunk) -> list[Claim]:
        """Take in hand what can be run of a chunk; one of which all is over is ended."""
        found = list(chunk.claims)
        if chunk.deaths:
            suspect = await self.db.write(queue.next_suspect, self.node, chunk)
            found = [suspect] if suspect else []
        self._chunks[chunk.key, chunk.delivery] = chunk
        self.in_hand |= {claim.fence: claim for claim in found}
        if not found:
            await self.db.write(outcome.finish, self.node, (), [chunk])
        return found

    async def began(self, begun: Iterable[tuple[Claim, float]]) -> None:
        await self.db.write(queue.begun, self.node, tuple(begun))

    async def tell(self, progress: Iterable[tuple[Claim, Progress]]) -> None:
        await self.db.write(queue.tell, self.node, tuple(progress))

    async def finish(self, claim: Claim, outcome_: Outcome, worked_s: float = 0.0) -> bool:
        return claim.fence in await self.finish_all([Ended(claim, outcome_, worked_s)])

    async def finish_all(self, ended: Sequence[Ended]) -> set[Fence]:
        """Record outcomes in one call; what was the last of its chunk ends that too."""
        over = self._put_down([e.claim for e in ended])
        return await self.db.write(outcome.finish, self.node, ended, over)

    def _put_down(self, claims: Iterable[Claim]) -> list[Chunk]:
        fences = {(claim.chunk_key, claim.delivery) for claim in claims}
        for claim in claims:
            self.in_hand.pop(claim.fence, None)
        still = {key[:2] for key in self.in_hand}
        chunks = [self._chunks[fence] for fence in fences - still if fence in self._chunks]
        # What is begun item by item is over when `begin` finds no more.
        return [chunk for chunk in chunks if not chunk.deaths]

    async def release(self, claims: Iterable[Claim]) -> None:
        """Give back the chunks of some claims."""
        fences = {(claim.chunk_key, claim.delivery) for claim in claims}
        self.in_hand = {key: c for key, c in self.in_hand.items() if key[:2] not in fences}
        chunks = [self._chunks[fence] for fence in fences]
        await self.db.write(queue.give_back, self.node, chunks)

    async def recover(self) -> int:
        """Bury every node, this one too as if it had died; gives how many items went back."""
        buried = 0
        for node in await self.db.read(nodes.seen):
            buried += await self.db.write(outcome.bury, node.id, node.beat)
        self.in_hand.clear()
        await self.join()
        return buried

    # -- ending --------------------------------------------------------------------------------

    async def cancel(self, job_id: str) -> list[int]:
        """Gives the keys of the items in hand that are canceled by it, as `delete_job` does."""
        before = len(self.canceled)
        await self.db.write(ending.cancel, job_id)
        return self.canceled[before:]

    async def delete_job(self, job_id: str) -> list[int]:
        before = len(self.canceled)
        await self.db.write(ending.delete, job_id)
        return self.canceled[before:]

    async def retry(self, job_id: str) -> Job | None:
        return await self.db.write(ending.retry, job_id, self.most)

    async def purge(self) -> bool:
        """Do some of what keeps house; True if there may be more."""
        more = await self.db.write(ending.purge)
        return await self.db.write(bites.bite) or more

    # -- files, versions -----------------------------------------------------------------------

    async def list_files(self, client: str, **others: Any) -> tuple[list[File], str | None]:
        return await self.db.read(reading.list_files, client, **others)

    async def add_file(self, client: str, blob: NamedBlob, retention_s: float) -> File:
        return await self.db.write(files.add, client, blob, retention_s)

    async def get_file(self, file_id: str) -> File | None:
        return await self.db.look(files.get, file_id)

    async def delete_file(self, file_id: str) -> None:
        await self.db.write(files.delete, file_id)

    async def extend(self, file: File, retention_s: float) -> None:
        await self.db.write(files.extend, file, retention_s)

    async def loose(self) -> list[str]:
        return (await self.db.write(files.take_loose))[1]

    async def unreferenced(self, keys: Sequence[str]) -> list[str]:
        return await self.db.read(files.unreferenced, keys)

    async def remember(self, job_id: str, version: Version) -> None:
        await self.db.write(versions.remember, job_id, version)

    async def recall(self, job_id: str, key: bytes) -> Version | None:
        return await self.db.read(versions.recall, job_id, key)

    async def check_writable(self) -> None:
        await self.db.write(files.check_writable)


class Outbox:
    """What is to leave the house, as one node sends it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.db = store.db

    def listen(self, on_due: Callable[[], None]) -> None:
        self.db.listen(lambda news: on_due() if topics.DUE in news else None)

    async def due(self, busy: Sequence[str], only: Sequence[str] | None) -> Any:
        return await self.db.read(outbox.due, busy, only)

    async def next_due_at(self) -> Any:
        return await self.db.read(outbox.next_due_at)

    async def claim(self, keys: Sequence[int]) -> list[Parcel]:
        return await self.db.write(outbox.take, self._store.node, keys)

    async def settle(self, parcel: Parcel, attempt: Attempt | None, verdict: Verdict) -> bool:
        settled = [Settled(parcel, attempt, verdict)]
        return parcel.key in await self.db.write(outbox.settle, settled)

    async def release(self, parcels: Sequence[Parcel]) -> None:
        await self.db.write(outbox.give_back, parcels)

    async def recover(self) -> int:
        """Bury every node; gives how many deliveries are due again."""
        before = await self._sending()
        await self._store.recover()
        return before - await self._sending()

    async def _sending(self) -> int:
        count = "SELECT count(*) FROM deliveries WHERE status = 'sending'"
        [[n]] = await self.db.write(lambda tx: tx.db.execute(count).fetchall())
        return int(n)

    async def get(self, delivery_id: str) -> Delivery | None:
        return await self.db.read(outbox.get, delivery_id)

    async def list(self, client: str, **others: Any) -> tuple[Sequence[Delivery], str | None]:
        return await self.db.read(outbox.listed, client, **others)

    async def replay(self, delivery_id: str) -> None:
        await self.db.write(outbox.replay, delivery_id)

    async def test(self, client: str, webhook: Any) -> Delivery:
        return await self.db.write(outbox.test, client, webhook)

    async def ended(self, delivery_id: str, timeout_s: float) -> Delivery | None:
        return await self._store.until(
            lambda: self.get(delivery_id), lambda found: found.status.done, timeout_s
        )

    async def purge(self, retention_s: float) -> bool:
        return await self.db.write(outbox.purge, retention_s)
