"""Carries out what is to leave the house: takes due deliveries, makes attempts, records them.

The rows of the outbox are the queue; nothing that matters is kept here. What was being sent when
the node died is sent again under the same id.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import structlog

from app import metrics
from app.blobs.base import BlobStore
from app.errors import (
    BlobMissing,
    EndpointMissing,
    InternalError,
    OffloadError,
    ReceiverGone,
    StorageError,
)
from app.model.deliveries import Attempt, DeliveryStatus, Parcel, Route, Settled, Verdict
from app.model.shares import Share
from app.outbound import attempt as outbound
from app.outbound import webhooks
from app.outbound.fetch import Fetcher
from app.outbound.schedule import verdict
from app.outbound.turns import Turns
from app.outbound.webhooks import PushSettings, WebhookSettings
from app.records import outbox, topics
from app.stores.base import Database, News, write_of
from app.work.loop import POLL_EVERY_S, Loop, Recorder

log = structlog.get_logger(__name__)

LOOK_SHARE = 0.1
"""How much of the time may go into looking for what is due, where a look is not cheap."""
LOOK_CHEAP_S = 0.05
LOOK_PAUSE_MAX_S = 5.0
QUICK_S = 2.0
"""A delivery that takes longer makes its receiver a slow one (see `Turns`)."""
PAUSE_MAX_S = 300.0
"""How long a receiver that asks for time is left alone with everything. The delivery that it
refused waits for as long as was asked for."""
THROTTLED = frozenset({429, 503})


class Deliveries:
    """Delivers until it is told to stop. Use it as an async context manager."""

    def __init__(
        self,
        database: Database,
        node: str,
        blobs: BlobStore,
        door: Fetcher,
        settings: WebhookSettings,
        push: PushSettings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Keep what deliveries are made with; `door` has to be open."""
        self._database = database
        self._node = node
        self._blobs = blobs
        self._door = door
        self._settings = settings
        self._push = push
        self._clock = clock
        self._jitter = jitter
        self._turns = Turns(settings.concurrency, settings.per_endpoint_concurrency)
        self._loop: Loop[Parcel] = Loop(self._take, self._deliver, self._sent, self._idle_s)
        self._quick: dict[int, bool] = {}
        """By the key of a delivery under way: whether its attempt was quick."""
        self._recorder: Recorder[Settled] = Recorder(self._write, "deliveries")
        self._look_at = 0.0
        """Not before this time, on the monotonic clock, are the rows searched again."""
        self._stack = AsyncExitStack()
        self._configured_gone = False
        """Whether the operator's endpoint answered 410; a success, or a restart, ends it."""
        database.listen(self._hear)

    async def __aenter__(self) -> Self:
        """Begin."""
        self._configured_client: httpx.AsyncClient = self._door.client
        if self._settings.allow_networks:
            self._configured_client = await self._stack.enter_async_context(
                self._door.wider_client(self._settings.allow_networks)
            )
        self._loop.begin()
        return self

    def stop(self) -> None:
        """Take no more."""
        self._loop.stop()

    async def drain(self, timeout_s: float) -> None:
        """Let attempts under way end, for so long; give the rest back."""
        if cut_off := await self._loop.drain(timeout_s):
            try:
                await self._database.write(outbox.give_back, cut_off)
            except StorageError as error:  # then the others see that this node is gone
                log.error("deliveries_not_given_back", detail=error.log_detail)  # noqa: TRY400

    async def __aexit__(self, *_: object) -> None:
        """End; call `drain` before."""
        await self._stack.aclose()

    @property
    def alive(self) -> bool:
        """Whether deliveries are being taken from the outbox."""
        return self._loop.alive

    def wake(self) -> None:
        """Look at the rows now: the clock was moved."""
        self._loop.wake()

    def have(self, share: Share) -> None:
        """Have another share of what all nodes may have under way to one receiver."""
        self._turns.have(share)
        self._loop.wake()

    def _hear(self, news: News) -> None:
        if topics.DUE in news:
            self._loop.wake()

    async def _idle_s(self) -> float:
        """Say how long there is nothing to do, unless something wakes us."""
        now = self._clock()
        next_due_at = await self._database.read(outbox.next_due_at)
        times = (next_due_at, self._turns.resumes_at(now))
        waits_s = [(at - now).total_seconds() for at in times if at is not None]
        if (rest_s := self._look_at - time.monotonic()) > 0:
            waits_s.append(rest_s)
        return max(0.0, min([*waits_s, POLL_EVERY_S]))

    async def _take(self) -> AsyncIterator[Parcel]:
        """Take what is due and has its turn, until there is nothing, or no room."""
        while self._turns.free and not self._loop.stopping:
            routes = self._turns.waiting(self._clock()) or await self._look()
            if not routes:
                break
            taken = {route.key: route for route in routes}
            try:
                for parcel in await self._database.note(outbox.take, self._node, list(taken)):
                    del taken[parcel.key]
                    yield parcel
            finally:
                for route in taken.values():
                    self._turns.give_back(route, quick=None)

    async def _look(self) -> list[Route]:
        """Find what is due and may be sent now.

        With a hundred thousand rows due to an endpoint that is busy, passing them over takes a
        while; so much at most of the time goes into that.
        """
        started = time.monotonic()
        if started < self._look_at:
            return []
        busy, only = self._turns.busy(self._clock()), self._turns.only()
        found = await self._database.read(outbox.due, busy, only)
        spent_s = time.monotonic() - started
        if spent_s > LOOK_CHEAP_S:
            self._look_at = time.monotonic() + min(spent_s / LOOK_SHARE, LOOK_PAUSE_MAX_S)
        return self._turns.offer(found)

    async def _deliver(self, parcel: Parcel) -> None:
        """Make one attempt, to its recorded outcome."""
        attempt, end = await self._tried(parcel)
        if attempt is not None:
            self._quick[parcel.key] = _quick(parcel, attempt)
            self._throttle(parcel, attempt)
        await self._recorder.record(Settled(parcel, attempt, end))

    def _sent(self, parcel: Parcel) -> None:
        self._turns.give_back(parcel.route, quick=self._quick.pop(parcel.key, None))

    async def _tried(self, parcel: Parcel) -> tuple[Attempt | None, Verdict]:
        """Make one attempt; a failure is a value."""
        at = self._clock()
        try:
            if parcel.event is None:
                attempt = await self._put(parcel, at)
            else:
                attempt = await self._post(parcel, at)
        except StorageError as error:
            if not isinstance(error, BlobMissing):
                log.error("result_not_readable", **_who(parcel), detail=error.log_detail)  # noqa: TRY400
                attempt = Attempt(at, 0, None, error.problem())
            else:
                return None, Verdict(DeliveryStatus.DEAD, problem=error.problem())
        except OffloadError as error:
            return None, Verdict(DeliveryStatus.DEAD, problem=error.problem())
        except Exception:  # the last resort: it is recorded, and tried again
            log.exception("delivery_crashed", **_who(parcel))
            failed = InternalError("The service failed on this delivery.").problem()
            attempt = Attempt(at, 0, None, failed)
        cap_s = self._settings.retry_after_cap_s
        return attempt, verdict(parcel, attempt, jitter=self._jitter(), cap_s=cap_s)

    async def _post(self, parcel: Parcel, at: datetime) -> Attempt:
        """Send an event; raises `DeliveryError` where there is nothing to send it to."""
        configured = parcel.url is None
        url = parcel.url or self._settings.url
        secrets = (parcel.secret,) if parcel.secret else self._settings.signing
        if not url:
            raise EndpointMissing("There is no OFFLOAD_WEBHOOKS_URL any more.")
        if not secrets:
            raise EndpointMissing("There is no OFFLOAD_WEBHOOKS_SECRETS any more to sign with.")
        if configured and self._configured_gone and not parcel.asked:
            raise ReceiverGone("The configured endpoint answered 410 to an earlier event.")
        body = webhooks.message(parcel, self._settings.base_url)
        attempt = await outbound.send(
            self._configured_client if configured else self._door.client,
            "POST",
            url,
            webhooks.headers(parcel, secrets, at, body),
            body,
            timeout_s=self._settings.timeout_s,
            at=at,
        )
        if configured:
            gone = attempt.problem is not None and attempt.problem.code == ReceiverGone.code
            if gone:
                log.warning("webhook_endpoint_gone", **_who(parcel))
            if gone or attempt.problem is None:
                self._configured_gone = gone
        return attempt

    async def _put(self, parcel: Parcel, at: datetime) -> Attempt:
        """Send a result; raises `BlobMissing` or `RemoteUnknown` where it or its place is gone."""
        if parcel.target is None or parcel.content is None:
            raise BlobMissing("The result was removed before it could be put there.")
        blob = parcel.content.blob
        async with AsyncExitStack() as stack:
            content: Path | bytes = blob.value or b""
            if blob.value is None:
                content = await stack.enter_async_context(self._blobs.local(blob))
            timeout_s = self._push.timeout_s
            if parcel.target.remote is not None:
                found = self._door.remotes.at(
                    parcel.target.remote, parcel.target.url, parcel.client
                )
                way = self._door.way_to(found.remote)
                return await outbound.put_object(
                    way, found, content, blob, timeout_s=timeout_s, at=at
                )
            return await outbound.put(
                self._door.client, parcel.target, content, blob, timeout_s=timeout_s, at=at
            )

    def _throttle(self, parcel: Parcel, attempt: Attempt) -> None:
        if attempt.problem is None or attempt.http_status not in THROTTLED:
            return
        if asked_s := attempt.problem.extra.get("retry_after_s"):
            until = self._clock() + timedelta(seconds=min(asked_s, PAUSE_MAX_S))
            self._turns.pause(parcel.route.lane, until)

    async def _write(self, settled: Sequence[Settled]) -> None:
        write = write_of(self._database, len(settled))
        recorded = await write(outbox.settle, settled)
        for one in settled:
            if one.parcel.key not in recorded:
                log.info("delivery_void", **_who(one.parcel))
                continue
            kind = "result" if one.parcel.event is None else "event"
            metrics.delivery_tried(kind, str(one.verdict.status))
            if one.verdict.status is DeliveryStatus.DEAD:
                code = one.verdict.problem.code if one.verdict.problem else None
                log.warning("delivery_dead", **_who(one.parcel), code=code)


def _quick(parcel: Parcel, attempt: Attempt) -> bool:
    # A large result takes its time wherever it goes.
    in_time = parcel.target is not None or attempt.elapsed_ms <= QUICK_S * 1000
    return attempt.problem is None and in_time


def _who(parcel: Parcel) -> dict[str, Any]:
    return {"delivery": parcel.id, "what": parcel.event or "push", "tries": parcel.tries}
