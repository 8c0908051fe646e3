"""Carries out what is to leave the house: claims due deliveries, makes attempts, records them.

The rows of the outbox are the queue; nothing that matters is kept here. What was being sent when
the service died is sent again under the same id.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import httpx
import structlog

from app.blobs.base import BlobStore
from app.errors import (
    BlobMissing,
    EndpointMissing,
    InternalError,
    OffloadError,
    ReceiverGone,
    StorageError,
)
from app.jobs.outbox import Outbox
from app.model import Attempt, DeliveryStatus, Parcel, Route, Verdict
from app.outbound import attempt as outbound
from app.outbound import webhooks
from app.outbound.fetch import Fetcher
from app.outbound.schedule import verdict
from app.outbound.turns import Turns
from app.outbound.webhooks import PushSettings, WebhookSettings

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 30.0
"""The rows are looked at so often at least, whatever the hints say."""
LOOK_SHARE = 0.1
"""How much of the time may go into looking for what is due, where a look is not cheap."""
LOOK_CHEAP_S = 0.05
LOOK_PAUSE_MAX_S = 5.0
PURGE_EVERY_S = 60.0
STORE_RETRY_S = 1.0
STORE_RETRY_MAX_S = 30.0
QUICK_S = 2.0
"""A delivery that takes longer makes its receiver a slow one (see `Turns`)."""
PAUSE_MAX_S = 300.0
"""How long a receiver that asks for time is left alone with everything. The delivery that it
refused waits for as long as was asked for."""
THROTTLED = frozenset({429, 503})


class Courier:
    """Delivers until it is told to stop. Use it as an async context manager."""

    def __init__(
        self,
        outbox: Outbox,
        blobs: BlobStore,
        door: Fetcher,
        settings: WebhookSettings,
        push: PushSettings,
        *,
        drain_timeout_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Keep what deliveries are made with; `door` has to be open."""
        self._outbox = outbox
        self._blobs = blobs
        self._door = door
        self._settings = settings
        self._push = push
        self._drain_timeout_s = drain_timeout_s
        self._clock = clock
        self._jitter = jitter
        self._turns = Turns(settings.concurrency, settings.per_endpoint_concurrency)
        self._wake = asyncio.Event()
        self._stopping = False
        self._sending: set[asyncio.Task[None]] = set()
        self._look_at = 0.0
        """Not before this time, on the monotonic clock, are the rows searched again."""
        self._stack = AsyncExitStack()
        self._configured_gone = False
        """Whether the operator's endpoint answered 410; a success, or a restart, ends it."""

    async def __aenter__(self) -> Self:
        """Take back what a dead service was sending, and begin."""
        if again := await self._outbox.recover():
            log.info("deliveries_recovered", deliveries=again)
        self._configured_client: httpx.AsyncClient = self._door.client
        if self._settings.allow_networks:
            self._configured_client = await self._stack.enter_async_context(
                self._door.wider_client(self._settings.allow_networks)
            )
        self._outbox.listen(self._wake.set)
        self._working = [asyncio.create_task(self._work()), asyncio.create_task(self._purge())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Claim no more, let attempts under way finish for a while, give the rest back."""
        self._stopping = True
        self._wake.set()
        if self._sending:
            await asyncio.wait(self._sending, timeout=self._drain_timeout_s)
        tasks = [*self._working, *self._sending]
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(end, Exception):
                log.error("courier_failed", exc_info=end)
        await self._stack.aclose()

    @property
    def alive(self) -> bool:
        """Whether deliveries are being taken from the outbox."""
        return not self._working[0].done()

    def wake(self) -> None:
        """Look at the rows now: the clock was moved."""
        self._wake.set()

    async def _work(self) -> None:
        pause_s = STORE_RETRY_S
        while not self._stopping:
            # Cleared before the rows are read: what becomes due after that wakes us again.
            self._wake.clear()
            try:
                await self._send_due()
                wait_s = await self._idle_s()
                pause_s = STORE_RETRY_S
            except StorageError as error:
                log.error("nothing_delivered", detail=error.log_detail)  # noqa: TRY400
                wait_s, pause_s = pause_s, min(2 * pause_s, STORE_RETRY_MAX_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _idle_s(self) -> float:
        """Say how long there is nothing to do, unless something wakes us."""
        now = self._clock()
        times = (await self._outbox.next_due_at(), self._turns.resumes_at(now))
        waits_s = [(at - now).total_seconds() for at in times if at is not None]
        if (rest_s := self._look_at - time.monotonic()) > 0:
            waits_s.append(rest_s)
        return max(0.0, min([*waits_s, LOOK_EVERY_S]))

    async def _send_due(self) -> None:
        """Start attempts until there is nothing due, or no room."""
        while self._turns.free and not self._stopping:
            routes = self._turns.waiting(self._clock()) or await self._look()
            if not routes:
                return
            taken = {route.key: route for route in routes}
            try:
                for parcel in await self._outbox.claim(list(taken)):
                    del taken[parcel.key]
                    task = asyncio.create_task(self._deliver(parcel))
                    self._sending.add(task)
                    task.add_done_callback(self._sending.discard)
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
        found = await self._outbox.due(busy, only)
        spent_s = time.monotonic() - started
        if spent_s > LOOK_CHEAP_S:
            self._look_at = time.monotonic() + min(spent_s / LOOK_SHARE, LOOK_PAUSE_MAX_S)
        return self._turns.offer(found)

    async def _deliver(self, parcel: Parcel) -> None:
        """Make one attempt, to its recorded outcome; raises nothing but CancelledError."""
        quick = None
        try:
            attempt, end = await self._tried(parcel)
            if attempt is not None:
                quick = _quick(parcel, attempt)
                self._throttle(parcel, attempt)
            await self._record(parcel, attempt, end)
        except asyncio.CancelledError:
            await asyncio.shield(self._release(parcel))
            raise
        except Exception:  # sent again at once, it would be so for ever: `recover` finds it
            log.exception("attempt_lost", **_who(parcel))
        finally:
            self._turns.give_back(parcel.route, quick=quick)
            self._wake.set()

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
        attempt = await outbound.post(
            self._configured_client if configured else self._door.client,
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
        """Send a result; raises `BlobMissing` where it is no longer there."""
        if parcel.target is None or parcel.content is None:
            raise BlobMissing("The result was removed before it could be put there.")
        blob = parcel.content.blob
        async with self._blobs.local(blob.key) as path:
            timeout_s = self._push.timeout_s
            return await outbound.put(
                self._door.client, parcel.target, path, blob, timeout_s=timeout_s, at=at
            )

    def _throttle(self, parcel: Parcel, attempt: Attempt) -> None:
        if attempt.problem is None or attempt.http_status not in THROTTLED:
            return
        if asked_s := attempt.problem.extra.get("retry_after_s"):
            until = self._clock() + timedelta(seconds=min(asked_s, PAUSE_MAX_S))
            self._turns.pause(parcel.route.lane, until)

    async def _record(self, parcel: Parcel, attempt: Attempt | None, end: Verdict) -> None:
        """Write the attempt; while the store cannot take it, it was made and waits."""
        pause_s = STORE_RETRY_S
        while True:
            try:
                if not await self._outbox.settle(parcel, attempt, end):
                    log.info("delivery_void", **_who(parcel))
            except StorageError as error:
                log.error("attempt_not_recorded", **_who(parcel), detail=error.log_detail)  # noqa: TRY400
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, STORE_RETRY_MAX_S)
            else:
                if end.status is DeliveryStatus.DEAD:
                    code = end.problem.code if end.problem else None
                    log.warning("delivery_dead", **_who(parcel), code=code)
                return

    async def _release(self, parcel: Parcel) -> None:
        """Give a delivery back; one that the store cannot take back now, `recover` finds."""
        try:
            await self._outbox.release([parcel])
        except StorageError as error:
            log.error("delivery_not_released", **_who(parcel), detail=error.log_detail)  # noqa: TRY400

    async def _purge(self) -> None:
        while True:
            try:
                while await self._outbox.purge(self._settings.retention_s):
                    pass
            except StorageError as error:
                log.error("deliveries_not_purged", detail=error.log_detail)  # noqa: TRY400
            await asyncio.sleep(PURGE_EVERY_S)


def _quick(parcel: Parcel, attempt: Attempt) -> bool:
    # A large result takes its time wherever it goes.
    in_time = parcel.target is not None or attempt.elapsed_ms <= QUICK_S * 1000
    return attempt.problem is None and in_time


def _who(parcel: Parcel) -> dict[str, Any]:
    return {"delivery": parcel.id, "what": parcel.event or "push", "tries": parcel.tries}
