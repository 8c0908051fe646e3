"""A courier on real records, a real disk and real connections; only its clock is ours."""

from __future__ import annotations

import asyncio
import base64
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from app.model.blobs import NamedBlob
from app.model.chunks import Claim, Done
from app.model.deliveries import JOB_EVENTS, Delivery, PutTarget, Webhook
from app.model.jobs import Job, NewItem, NewJob, Step
from app.outbound.fetch import Fetcher, FetchSettings
from app.outbound.remotes import Remotes, remotes_of
from app.outbound.webhooks import PushSettings, WebhookSettings
from app.work.deliveries import Deliveries
from tests.contracts.backends import DiskBackend, SqliteBackend
from tests.outbound.receiver import Receiver

SECRET = "whsec_" + base64.b64encode(b"operator" * 4).decode()
EVENTS = frozenset(JOB_EVENTS)


class House:
    """What a service has of outgoing things, without the service."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.records = SqliteBackend(folder)
        self.clock = self.records.clock
        self._disk = DiskBackend(folder)
        self._stack = stack
        self._claims: list[Claim] = []
        """What came with a chunk and has not ended."""

    async def open(self) -> None:
        self.store = await self.records.open()
        self._stack.push_async_callback(self.records.close)
        self.blobs = await self._disk.open()
        self._stack.push_async_callback(self._disk.close)

    @property
    def outbox(self) -> Any:
        return self.store.outbox

    async def courier(
        self,
        *,
        database: Any = None,
        fetch: Mapping[str, Any] | None = None,
        lookup: Any = None,
        push_timeout_s: float = 20,
        remotes: Mapping[str, Any] | None = None,
        started: bool = False,
        **settings: Any,
    ) -> Deliveries:
        """Make a courier; one that is not `started` is worked by hand, with `deliver`."""
        allowed = {"allow_networks": "127.0.0.0/8", "connect_timeout_s": 2} | dict(fetch or {})
        door = Fetcher(FetchSettings(**allowed), Remotes(remotes_of(remotes or {})), lookup=lookup)
        await self._stack.enter_async_context(door)
        made = Deliveries(
            database or self.store.db,
            self.store.node,
            self.blobs,
            door,
            WebhookSettings(**{"timeout_s": 5, "secrets": SECRET} | settings),
            PushSettings(timeout_s=push_timeout_s),
            clock=self.clock,
            jitter=lambda: 0.5,
        )
        if started:
            await self._stack.enter_async_context(at_work(made))
        else:
            made._configured_client = door.client
        return made

    async def job(
        self,
        url: str | None = None,
        *,
        items: int = 1,
        events: frozenset[str] = EVENTS,
        secret: str | None = None,
        store: PutTarget | None = None,
        **others: Any,
    ) -> Job:
        """Submit a job that tells `url`."""
        content = await self.blobs.put(once(b"input"), 99)
        new = NewJob(
            client="shop",
            steps=(Step("compress"),),
            items=tuple(
                NewItem(upload=NamedBlob(content, f"{n}.txt"), store=store) for n in range(items)
            ),
            retention_s=86_400,
            webhook=Webhook(url, events, secret) if url != "" else None,
            **others,
        )
        return (await self.store.submit(new)).job

    async def end(self, *contents: bytes, each: Sequence[str] = ("r.bin",)) -> None:
        """Have one item after the other succeed, with a result of each of some names."""
        wanted = max(1, len(contents))
        if len(self._claims) < wanted:
            self._claims += await self.store.claim("cpu", wanted - len(self._claims))
        claims, self._claims = self._claims[:wanted], self._claims[wanted:]
        for claim in claims:
            content = contents[0] if contents else b"result"
            contents = contents[1:]
            results = [
                NamedBlob(await self.blobs.put(once(content), 1 << 30), name) for name in each
            ]
            assert await self.store.finish(claim, Done(tuple(results), {}))

    async def ended(self, url: str | None, **others: Any) -> Delivery:
        """Have a job end that tells `url`, and give the delivery that says so."""
        job = await self.job(url, **others)
        await self.end()
        return (await self.deliveries(job))[0]

    async def deliveries(self, job: Job) -> list[Delivery]:
        found, _ = await self.outbox.list("shop", job_id=job.id, limit=500)
        return list(found)

    async def now(self, delivery: Delivery) -> Delivery:
        found: Delivery | None = await self.outbox.get(delivery.id)
        assert found is not None
        return found


async def once(content: bytes) -> AsyncIterator[bytes]:
    if content:
        yield content


async def deliver(courier: Deliveries) -> None:
    """Make an attempt at everything that is due, and return when all are recorded."""
    # On a busy machine a look is not cheap, and the next would be put off.
    with patch("app.work.deliveries.LOOK_CHEAP_S", math.inf):
        courier._look_at = 0.0
        while parcels := [parcel async for parcel in courier._take()]:
            for parcel in parcels:
                courier._loop.start(parcel)
            await under_way(courier)


async def under_way(courier: Deliveries) -> None:
    """Return when nothing is being sent."""
    while sending := set(courier._loop.running):
        await asyncio.wait(sending)


@asynccontextmanager
async def at_work(courier: Deliveries, drain_timeout_s: float = 0) -> AsyncIterator[Deliveries]:
    """Have it deliver until the context ends, and let what is under way end for so long."""
    async with courier:
        yield courier
        await courier.drain(drain_timeout_s)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        made = House(tmp_path, stack)
        await made.open()
        yield made


@pytest.fixture
async def receiver(anyio_backend: str) -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


@pytest.fixture
def offsets(receiver: Any) -> Callable[[], list[int]]:
    """Give the signed times of what came, in seconds from the first."""

    def give() -> list[int]:
        times = [int(one.headers["webhook-timestamp"]) for one in receiver.received]
        return [time - times[0] for time in times]

    return give
