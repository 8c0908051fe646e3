"""Fetch a URL into the store: redirects, retries, limits, and no half body ever a success."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Generic, Self, TypeVar

import httpx
from pydantic import Field, SecretStr, field_validator

from app import __version__
from app.errors import (
    FetchError,
    FetchProtocolError,
    FetchRedirectError,
    FetchStatusError,
)
from app.ops.fetch import FetchParams
from app.outbound.body import Body, Wanted, content_range, strong_etag
from app.outbound.client import open_client
from app.outbound.guard import Guard, GuardSettings, Lookup, Network, SystemLookup, Target
from app.outbound.headers import checked, conditional, file_name, media_type, telling
from app.outbound.pace import Budget, HostTurns
from app.outbound.proxy import Proxy, Tunnels
from app.outbound.redirect import REDIRECTS, Hop, redirected
from app.outbound.retry import RETRY_STATUSES, retry_after_s, retry_delay_s

T = TypeVar("T")

Save = Callable[[AsyncIterator[bytes], int], Awaitable[T]]
"""Stores a stream: given the decoded chunks and the most bytes there can be, gives back whatever
stands for the stored content. When the stream raises, or it is cancelled, it leaves nothing behind
and raises that on. It is called once for each try."""

NO_HEADERS: Mapping[str, str] = {}


class FetchSettings(GuardSettings):
    """The operator's limits for fetching; a batch's own parameters only tighten them."""

    timeout_s: float = Field(
        default=15.0,
        gt=0,
        le=86_400,
        description="Deadline for one URL in seconds, redirects, retries and the waits between "
        "them included; waiting for the host's turn is not.",
    )
    connect_timeout_s: float = Field(
        default=5.0,
        gt=0,
        le=3600,
        description="Longest wait for a connection, TLS included, in seconds.",
    )
    read_timeout_s: float = Field(
        default=10.0, gt=0, le=3600, description="Longest silence of an origin, in seconds."
    )
    max_bytes: int = Field(
        default=32 << 20, ge=1, le=1 << 40, description="Largest decoded body, in bytes."
    )
    max_redirects: int = Field(default=5, ge=0, le=20, description="Redirects followed.")
    retries: int = Field(default=2, ge=0, le=10, description="Further tries after the first.")
    retry_after_cap_s: float = Field(
        default=5.0,
        ge=0,
        le=86_400,
        description="Longest Retry-After that is waited for, in seconds.",
    )
    concurrency: int = Field(
        default=64, ge=1, le=1000, description="URLs under way in the whole service."
    )
    per_host_concurrency: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="Requests under way to one scheme, host and port.",
    )
    user_agent: str = Field(
        default=f"offload/{__version__}",
        pattern=r"^[\x21-\x7e]([\x20-\x7e]{0,254}[\x21-\x7e])?$",
        description="The User-Agent that is sent.",
    )
    proxy_url: SecretStr = Field(
        default=SecretStr(""),
        description="Proxy through which everything outbound goes, webhooks and pushes too: "
        "`http://[user:password@]host:port`. It has to allow CONNECT to OFFLOAD_FETCH_PORTS.",
    )

    @field_validator("proxy_url")
    @classmethod
    def _a_proxy(cls, url: SecretStr) -> SecretStr:
        if url:
            Proxy.parse(url.get_secret_value())
        return url

    @property
    def proxy(self) -> Proxy | None:
        """Give the proxy, if there is one."""
        return Proxy.parse(self.proxy_url.get_secret_value()) if self.proxy_url else None

    def tightened(self, params: FetchParams) -> FetchSettings:
        """Give these settings with each of `params` that is stricter put in its place."""
        asked = {name: getattr(params, name) for name in _LIMITS}
        return self.model_copy(
            update={
                name: min(value, getattr(self, name))
                for name, value in asked.items()
                if value is not None
            }
        )


_LIMITS = tuple(FetchParams.model_fields.keys() & FetchSettings.model_fields.keys())
"""What both a batch and the operator can bound."""


@dataclass(frozen=True, slots=True)
class Version:
    """What an earlier answer said of the content, for asking whether it has changed."""

    final_url: str
    etag: str | None
    last_modified: str | None

    @classmethod
    def told(cls, facts: Mapping[str, Any]) -> Version:
        """Read it from the facts of an earlier fetch."""
        return cls(facts["final_url"], facts["etag"], facts["last_modified"])

    def conditions(self, target: Target) -> dict[str, str]:
        """Give the headers that ask `target` for what is newer; none for another URL."""
        if str(target.url) != self.final_url:
            return {}
        asked = {"if-none-match": self.etag, "if-modified-since": self.last_modified}
        return {name: value for name, value in asked.items() if value}

    def check_same(self, response: httpx.Response) -> None:
        """Make sure that a 304 speaks of this version.

        Raises:
            FetchProtocolError: it names another one.
        """
        etag = response.headers.get("etag")
        if etag and self.etag and _opaque(etag) != _opaque(self.etag):
            raise FetchProtocolError(
                "The origin answered 304 for a version that was not asked for."
            )


def _opaque(etag: str) -> str:
    """Give what weak comparison looks at (RFC 9110, 8.8.3.2)."""
    return etag.strip().removeprefix("W/")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of one URL, beyond the parameters of its batch."""

    sha256: str | None = None
    """That its content must have, lower-case hex."""
    max_bytes: int | None = None
    """Tightens the batch's own."""
    known: Version | None = None
    """Ask only for what is newer than this."""
    batch: str = ""
    """Whose `per_host_concurrency` it shares."""


PLAIN = Terms()


@dataclass(frozen=True, slots=True)
class Fetched(Generic[T]):
    """One URL's content, stored."""

    body: T
    """What `save` gave back."""
    facts: dict[str, Any]
    """JSON only: `status`, `final_url`, `redirects`, `tries` and `resumed` (counts),
    `claimed_media_type` and `name` (as the origin says, or None), `etag` and `last_modified` (as
    sent, or None), `headers` (others that matter), `size_bytes` (decoded), `elapsed_ms` (all of
    it, without waiting for the host's turn), `timings` (of the last request, in ms: `dns_ms` and
    `connect_ms`, None where not needed, `first_byte_ms`, `total_ms`)."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The origin said that what was known is still so."""

    facts: dict[str, Any]
    """As for `Fetched`, without what there was no body for."""


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
        lookup = lookup or self._system_lookup
        self.guard = Guard(settings, lookup)
        proxy = settings.proxy
        self._tunnels = Tunnels(proxy, lookup) if proxy else None
        self.turns = HostTurns(settings.per_host_concurrency)
        self.sleep = sleep
        self.clock = clock
        self.now = now
        self.jitter = jitter
        self._stack = AsyncExitStack()
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Make the connections' home; once, before the first fetch, in the loop that fetches."""
        self._client = await self._stack.enter_async_context(self._open_client(self.guard))
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
        async with self._open_client(self.guard.wider(networks)) as client:
            yield client

    def _open_client(self, guard: Guard) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        return open_client(
            guard,
            user_agent=self._settings.user_agent,
            connect_timeout_s=self._settings.connect_timeout_s,
            read_timeout_s=self._settings.read_timeout_s,
            tunnels=self._tunnels,
        )

    async def fetch(
        self,
        url: str,
        params: FetchParams,
        headers: Mapping[str, str] | None,
        save: Save[T],
        terms: Terms = PLAIN,
    ) -> Fetched[T] | Unchanged:
        """Fetch `url` and give its content to `save`.

        Args:
            url: absolute, http or https.
            params: may only tighten the settings.
            headers: sent to the origin of `url`, dropped for good when a redirect leaves it.
            save: see `Save`; what it raises itself passes through, and ends the fetch.
            terms: what else is asked; without `known`, the answer is never `Unchanged`.

        Raises:
            InvalidParameter: a header that cannot be sent.
            FetchError: the leaf that says why; `tries` in its `extra` says how often it was tried,
                and `fetch` in its `facts` how far it came.
        """
        limits = self._settings.tightened(params)
        if terms.max_bytes is not None:
            limits = limits.model_copy(update={"max_bytes": min(terms.max_bytes, limits.max_bytes)})
        hop = Hop(self.guard.check_url(url), checked(headers))
        if conditional(hop.headers):
            terms = replace(terms, known=None)
        return await _Fetch(self, hop, limits, params.accept_types, terms).run(save)


class _Fetch:
    """One URL's way: its hops, its tries, and what is left of its time."""

    def __init__(
        self,
        door: Fetcher,
        hop: Hop,
        limits: FetchSettings,
        accept_types: tuple[str, ...],
        terms: Terms,
    ) -> None:
        self._door = door
        self._hop = hop
        self._limits = limits
        self._wanted = Wanted(limits.max_bytes, accept_types, terms.sha256)
        self._terms = terms
        self._budget = Budget(limits.timeout_s, door.clock)
        self._timeout = httpx.Timeout(
            limits.read_timeout_s, connect=limits.connect_timeout_s, pool=None
        )
        self._tries = 1
        self._resumed = 0

    async def run(self, save: Save[T]) -> Fetched[T] | Unchanged:
        """See `Fetcher.fetch`."""
        while True:
            try:
                step = await self._step(save)
            except FetchError as error:
                delay_s = self._delay_s(error)
                async with self._budget.running():
                    await self._door.sleep(delay_s)
                continue
            if not isinstance(step, Hop):
                step.facts.update(self._so_far())
                return step
            self._hop = step

    def _so_far(self) -> dict[str, Any]:
        return {
            "final_url": str(self._hop.target.url),
            "redirects": self._hop.redirects,
            "tries": self._tries,
            "resumed": self._resumed,
            "elapsed_ms": round(self._budget.spent_s * 1000),
        }

    def _delay_s(self, error: FetchError) -> float:
        """Count one more try and say how long to wait for it; raise `error` where there is none."""
        delay_s = retry_delay_s(
            error,
            tries=self._tries,
            max_tries=self._limits.retries + 1,
            left_s=self._budget.left_s,
            retry_after_cap_s=self._limits.retry_after_cap_s,
            jitter=self._door.jitter(),
        )
        if delay_s is None:
            error.extra["tries"] = self._tries
            error.facts["fetch"] = self._so_far()
            raise error
        self._tries += 1
        return delay_s

    async def _step(self, save: Save[T]) -> Hop | Fetched[T] | Unchanged:
        """Send one request; give the hop it redirects to, or the stored content."""
        turn = self._door.turns.turn(
            self._hop.target.origin,
            batch=self._terms.batch,
            per_host=self._limits.per_host_concurrency,
        )
        async with turn as give_back, self._budget.running(), AsyncExitStack() as stack:
            began = self._door.clock()
            known = self._terms.known
            conditions = known.conditions(self._hop.target) if known else {}
            response = await self._send(conditions)
            stack.push_async_callback(response.aclose)
            if response.status_code in REDIRECTS:
                return redirected(self._door.guard, self._hop, response, self._limits.max_redirects)
            if response.status_code == httpx.codes.NOT_MODIFIED and known and conditions:
                known.check_same(response)
                return Unchanged(_facts(self._hop, response, self._door.clock() - began))
            self._check_status(response)

            async def resume(error: FetchError, received: int) -> httpx.Response:
                return await self._resume(response, error, received)

            body = Body(response, self._wanted, resume=resume, ended=give_back)
            stack.push_async_callback(body.aclose)
            async with aclosing(body.chunks()) as chunks:
                saved = await save(chunks, self._limits.max_bytes)
            body.check()
            facts = _facts(self._hop, response, self._door.clock() - began)
            return Fetched(saved, facts | {"size_bytes": body.size_bytes})

    async def _send(self, more: Mapping[str, str] = NO_HEADERS) -> httpx.Response:
        client = self._door.client
        request = client.build_request(
            "GET",
            self._hop.target.url,
            headers={**self._hop.headers, **more},
            timeout=self._timeout,
        )
        try:
            return await client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.InvalidURL, UnicodeError) as exc:
            # From httpx itself, which parses the Location even where it does not follow it.
            raise FetchRedirectError(
                "The origin redirects to something that is not a URL.",
                log_detail=type(exc).__name__,
            ) from exc

    async def _resume(
        self, first: httpx.Response, error: FetchError, received: int
    ) -> httpx.Response:
        """Ask for the rest of a body that was cut off after `received` bytes on the wire.

        Raises `error`, or how the last try for the rest failed: then the next try, if there is
        one, begins afresh.
        """
        etag = strong_etag(first)
        ranges = first.headers.get("accept-ranges", "").strip().lower()
        if etag is None or ranges != "bytes" or not received or first.status_code != httpx.codes.OK:
            raise error
        while True:
            await self._door.sleep(self._delay_s(error))
            try:
                part = await self._send({"range": f"bytes={received}-", "if-range": etag})
                if _continues(first, part, received):
                    self._resumed += 1
                    return part
                await part.aclose()
                # Another version by now, or no ranges after all.
                if part.status_code not in RETRY_STATUSES:
                    raise error
                self._check_status(part)
            except FetchError as again:
                if again is error:
                    raise
                error = again

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        # 206 is a success only for who asked for a part, and here nobody did.
        if response.is_success and status != httpx.codes.PARTIAL_CONTENT:
            return
        extra: dict[str, Any] = {"http_status": status}
        if status in RETRY_STATUSES:
            asked_s = retry_after_s(response.headers.get("retry-after"), self._door.now())
            if asked_s is not None:
                extra["retry_after_s"] = asked_s
        raise FetchStatusError(f"The origin answered with status {status}.", **extra)


def _continues(first: httpx.Response, part: httpx.Response, received: int) -> bool:
    """Tell whether `part` is what comes after the first `received` bytes of the very same thing."""
    span = content_range(part)
    if part.status_code != httpx.codes.PARTIAL_CONTENT or span is None:
        return False
    alike = all(
        part.headers.get(name) == first.headers.get(name) for name in ("etag", "content-encoding")
    )
    reaches_the_end = span.first == received and span.last + 1 == span.total
    lengths = (
        (first.headers.get("content-length"), span.total),
        (part.headers.get("content-length"), span.total - received),
    )
    return alike and reaches_the_end and all(said in (None, str(due)) for said, due in lengths)


def _facts(hop: Hop, response: httpx.Response, total_s: float) -> dict[str, Any]:
    timings_s = {**response.extensions["timings"], "total": total_s}
    return {
        "status": response.status_code,
        "claimed_media_type": media_type(response.headers),
        "name": file_name(response.headers, hop.target.url),
        "etag": response.headers.get("etag"),
        "last_modified": response.headers.get("last-modified"),
        "headers": telling(response.headers),
        "timings": {
            f"{phase}_ms": None if took_s is None else round(took_s * 1000, 1)
            for phase, took_s in timings_s.items()
        },
    }
