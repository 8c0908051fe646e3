"""Fetch a URL into the store: redirects, retries, limits, and no half body ever a success."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Self, TypeVar

import httpx
from pydantic import Field

from app import __version__
from app.errors import (
    FetchError,
    FetchRedirectError,
    FetchStatusError,
    FetchTooLarge,
    FetchUrlInvalid,
    InternalError,
)
from app.ops.fetch import FetchParams
from app.outbound.client import open_client
from app.outbound.coding import Decoder, decoder_for
from app.outbound.guard import Guard, GuardSettings, Lookup, Network, SystemLookup, Target
from app.outbound.headers import checked, file_name, media_type
from app.outbound.pace import Budget, HostTurns
from app.outbound.retry import RETRY_STATUSES, retry_after_s, retry_delay_s

T = TypeVar("T")

Save = Callable[[AsyncIterator[bytes], int], Awaitable[T]]
"""Stores a stream: given the decoded chunks and the most bytes there can be, gives back whatever
stands for the stored content. When the stream raises, or it is cancelled, it leaves nothing behind
and raises that on. It is called once for each try."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})


class FetchSettings(GuardSettings):
    """The operator's limits for fetching; a batch's own parameters only tighten them."""

    timeout_s: float = Field(
        default=15.0,
        gt=0,
        description="Deadline for one URL in seconds, redirects, retries and the waits between "
        "them included; waiting for the host's turn is not.",
    )
    connect_timeout_s: float = Field(
        default=5.0, gt=0, description="Longest wait for a connection, TLS included, in seconds."
    )
    read_timeout_s: float = Field(
        default=10.0, gt=0, description="Longest silence of an origin, in seconds."
    )
    max_bytes: int = Field(
        default=32 * 1024 * 1024, gt=0, description="Largest decoded body, in bytes."
    )
    max_redirects: int = Field(default=5, ge=0, le=20, description="Redirects followed.")
    retries: int = Field(default=2, ge=0, le=10, description="Further tries after the first.")
    retry_after_cap_s: float = Field(
        default=5.0, ge=0, description="Longest Retry-After that is waited for, in seconds."
    )
    concurrency: int = Field(
        default=64, ge=1, le=1000, description="URLs under way in the whole service."
    )
    per_host_concurrency: int = Field(
        default=16, gt=0, description="Requests under way to one scheme, host and port."
    )
    user_agent: str = Field(
        default=f"offload/{__version__}",
        pattern=r"^[\x21-\x7e]([\x20-\x7e]{0,254}[\x21-\x7e])?$",
        description="The User-Agent that is sent.",
    )

    def tightened(self, params: FetchParams) -> FetchSettings:
        """Give these settings with each of `params` that is stricter put in its place."""
        asked = params.model_dump(exclude_none=True)
        return self.model_copy(
            update={name: min(value, getattr(self, name)) for name, value in asked.items()}
        )


@dataclass(frozen=True, slots=True)
class Fetched(Generic[T]):
    """One URL's content, stored."""

    body: T
    """What `save` gave back."""
    facts: dict[str, Any]
    """JSON only: `status`, `final_url`, `redirects` and `tries` (counts), `media_type` and `name`
    (as the origin claims, or None), `etag` and `last_modified` (as sent, or None), `size_bytes`
    (decoded), `elapsed_ms` (without waiting for the host's turn)."""


@dataclass(frozen=True, slots=True)
class _Hop:
    """The next request to send."""

    target: Target
    headers: dict[str, str]
    redirects: int = 0


class Fetcher:
    """The door through which URLs are fetched: one for the process, an async context manager."""

    def __init__(
        self,
        settings: FetchSettings,
        *,
        lookup: Lookup | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._system_lookup = SystemLookup()
        self.guard = Guard(settings, lookup or self._system_lookup)
        self._turns = HostTurns(settings.per_host_concurrency)
        self._sleep = sleep
        self._clock = clock
        self._now = now
        self._jitter = jitter
        self._stack = AsyncExitStack()
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Make the connections' home; once, before the first fetch, in the loop that fetches."""
        self._client = await self._stack.enter_async_context(
            open_client(
                self.guard,
                user_agent=self._settings.user_agent,
                connect_timeout_s=self._settings.connect_timeout_s,
                read_timeout_s=self._settings.read_timeout_s,
            )
        )
        self._stack.callback(self._system_lookup.close)

    async def close(self) -> None:
        """Close all connections; what is still being fetched fails."""
        self._client = None
        await self._stack.aclose()

    @property
    def client(self) -> httpx.AsyncClient:
        """The guarded client, for what else leaves the house (see `open_client`)."""
        if self._client is None:
            raise RuntimeError("The fetcher is not open.")
        return self._client

    @asynccontextmanager
    async def wider_client(self, networks: Sequence[Network]) -> AsyncIterator[httpx.AsyncClient]:
        """Open another client, which may reach `networks` too."""
        async with open_client(
            self.guard.wider(networks),
            user_agent=self._settings.user_agent,
            connect_timeout_s=self._settings.connect_timeout_s,
            read_timeout_s=self._settings.read_timeout_s,
        ) as client:
            yield client

    async def fetch(
        self, url: str, params: FetchParams, headers: Mapping[str, str] | None, save: Save[T]
    ) -> Fetched[T]:
        """Fetch `url` and give its content to `save`.

        Args:
            url: absolute, http or https.
            params: may only tighten the settings.
            headers: sent to the origin of `url`, dropped for good when a redirect leaves it.
            save: see `Save`; what it raises itself passes through, and ends the fetch.

        Raises:
            InvalidParameter: a header that cannot be sent.
            FetchError: the leaf that says why; `tries` in its `extra` says how often it was tried.
        """
        limits = self._settings.tightened(params)
        hop = _Hop(self.guard.check_url(url), checked(headers))
        budget = Budget(limits.timeout_s, self._clock)
        tries = 1
        while True:
            try:
                step = await self._step(hop, limits, budget, save)
            except FetchError as error:
                await self._pause(error, tries, limits, budget)
                tries += 1
                continue
            if isinstance(step, Fetched):
                step.facts["tries"] = tries
                step.facts["elapsed_ms"] = round(budget.spent_s * 1000)
                return step
            hop = step

    async def _pause(
        self, error: FetchError, tries: int, limits: FetchSettings, budget: Budget
    ) -> None:
        """Wait for the next try, or raise `error` again where there is none."""
        delay_s = retry_delay_s(
            error,
            tries=tries,
            max_tries=limits.retries + 1,
            left_s=budget.left_s,
            retry_after_cap_s=limits.retry_after_cap_s,
            jitter=self._jitter(),
        )
        if delay_s is None:
            error.extra["tries"] = tries
            raise error
        async with budget.running():
            await self._sleep(delay_s)

    async def _step(
        self, hop: _Hop, limits: FetchSettings, budget: Budget, save: Save[T]
    ) -> _Hop | Fetched[T]:
        """Send one request; give the hop it redirects to, or the stored content."""
        async with self._turns.turn(hop.target.origin) as give_back, budget.running():
            request = self.client.build_request("GET", hop.target.url, headers=hop.headers)
            response = await self._send(request)
            try:
                if response.status_code in REDIRECTS:
                    return self._redirected(hop, response, limits)
                self._check_status(response)
                body = _Body(response, limits.max_bytes, ended=give_back)
                async with aclosing(body.chunks()) as chunks:
                    saved = await save(chunks, limits.max_bytes)
                body.check()
                return Fetched(saved, _facts(hop, response, body))
            finally:
                await response.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self.client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.InvalidURL, UnicodeError) as exc:
            # From httpx itself, which parses the Location even where it does not follow it.
            raise FetchRedirectError(
                "The origin redirects to something that is not a URL.",
                log_detail=type(exc).__name__,
            ) from exc

    def _redirected(self, hop: _Hop, response: httpx.Response, limits: FetchSettings) -> _Hop:
        if hop.redirects >= limits.max_redirects:
            raise FetchRedirectError(
                f"More than {limits.max_redirects} redirects.", redirects=hop.redirects
            )
        target = self._location(hop.target, response)
        same = target.origin == hop.target.origin
        # A caller's header is meant for the origin that the caller named, whatever it is called:
        # credentials come under many names. An https origin left for http is another origin.
        return _Hop(target, hop.headers if same else {}, hop.redirects + 1)

    def _location(self, base: Target, response: httpx.Response) -> Target:
        location = response.headers.get("location", "").strip()
        if not location:
            raise FetchRedirectError("The origin redirects without saying where to.")
        try:
            # Many send spaces as they are; browsers quote them too. The rest is httpx's to quote.
            return self.guard.check_url(str(base.url.join(location.replace(" ", "%20"))))
        except (FetchUrlInvalid, httpx.InvalidURL, ValueError) as exc:
            raise FetchRedirectError(
                "The origin redirects to something that cannot be fetched.",
                log_detail=exc.detail if isinstance(exc, FetchUrlInvalid) else type(exc).__name__,
            ) from exc

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        # 206 is a success only for who asked for a part, and nobody did.
        if response.is_success and status != httpx.codes.PARTIAL_CONTENT:
            return
        extra: dict[str, Any] = {"http_status": status}
        if status in RETRY_STATUSES:
            asked_s = retry_after_s(response.headers.get("retry-after"), self._now())
            if asked_s is not None:
                extra["retry_after_s"] = asked_s
        raise FetchStatusError(f"The origin answered with status {status}.", **extra)


class _Body:
    """The decoded bytes of one response, counted, capped, and checked to be all there are."""

    # Small enough that a step between two awaits takes well under a millisecond, whatever is in it.
    _SLICE_BYTES = 16 * 1024
    # What a coding may add to content that does not compress: gzip's members and stored blocks.
    _CODED_SLACK_BYTES = 64 * 1024

    def __init__(
        self, response: httpx.Response, max_bytes: int, *, ended: Callable[[], None]
    ) -> None:
        self.size_bytes = 0
        self._ended = ended
        self._response = response
        self._max_bytes = max_bytes
        self._decoder: Decoder | None = None
        self._failure: FetchError | None = None
        self._complete = False
        if response.status_code == httpx.codes.NO_CONTENT:
            return
        self._decoder = decoder_for(response.headers.get("content-encoding", ""))
        self._check_declared(response.headers.get("content-length", ""))

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the content; raises `FetchError` where it is cut, damaged or too large."""
        try:
            async with aclosing(self._decoded()) as decoded:
                async for chunk in decoded:
                    self.size_bytes += len(chunk)
                    self._check_size(self.size_bytes, self._max_bytes)
                    yield chunk
        except FetchError as error:
            self._failure = error
            raise
        self._complete = True
        # The origin is free for the next one while this body goes to disk.
        self._ended()

    def check(self) -> None:
        """Make sure that what was saved is the whole; a `save` that keeps its promise passes."""
        if self._failure is not None:
            raise self._failure
        if not self._complete:
            raise InternalError("The content was not stored to its end.")

    async def _decoded(self) -> AsyncGenerator[bytes, None]:
        decoder = self._decoder
        wire_bytes = 0
        async for raw in self._response.aiter_raw():
            if decoder is None:
                yield raw
                continue
            wire_bytes += len(raw)
            self._check_size(wire_bytes, self._max_wire_bytes)
            for start in range(0, len(raw), self._SLICE_BYTES):
                for piece in decoder.feed(raw[start : start + self._SLICE_BYTES]):
                    yield piece
                # What `save` does with a piece need not wait for anything, so wait here.
                await asyncio.sleep(0)
        if decoder is not None:
            decoder.finish()

    @property
    def _max_wire_bytes(self) -> int:
        # A stream of empty gzip members decodes to nothing for ever.
        return self._max_bytes + self._max_bytes // 8 + self._CODED_SLACK_BYTES

    def _check_declared(self, length: str) -> None:
        if re.fullmatch("[0-9]{1,18}", length):
            limit = self._max_bytes if self._decoder is None else self._max_wire_bytes
            self._check_size(int(length), limit)

    def _check_size(self, size_bytes: int, limit_bytes: int) -> None:
        if size_bytes > limit_bytes:
            raise FetchTooLarge(
                f"The response is larger than {self._max_bytes} bytes.", max_bytes=self._max_bytes
            )


def _facts(hop: _Hop, response: httpx.Response, body: _Body) -> dict[str, Any]:
    return {
        "status": response.status_code,
        "final_url": str(hop.target.url),
        "redirects": hop.redirects,
        "media_type": media_type(response.headers),
        "name": file_name(response.headers, hop.target.url),
        "etag": response.headers.get("etag"),
        "last_modified": response.headers.get("last-modified"),
        "size_bytes": body.size_bytes,
    }
