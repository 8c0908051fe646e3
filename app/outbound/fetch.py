"""Fetch a URL into the store: redirects, retries, limits, and no half body ever a success."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self, TypeVar

import httpx

from app import metrics
from app.errors import FetchError, FetchStatusError, InvalidParameter
from app.ops.fetch import FetchParams
from app.outbound.addresses import Network
from app.outbound.attempt import first_bytes
from app.outbound.body import Body, Wanted
from app.outbound.client import open_client
from app.outbound.guard import Guard, Lookup, SystemLookup
from app.outbound.headers import checked, conditional, file_name, media_type, telling
from app.outbound.limits import FetchSettings
from app.outbound.pace import Budget, HostTurns
from app.outbound.proxy import Tunnels
from app.outbound.redirect import REDIRECTS, Hop, Way, redirected
from app.outbound.remotes import NONE, Remote, Remotes, code_in, is_object_url
from app.outbound.resume import continues, resumable
from app.outbound.retry import RETRY_STATUSES, retry_after_s, retry_delay_s
from app.outbound.terms import PLAIN, Fetched, Terms, Unchanged, check_same, conditions

T = TypeVar("T")

Save = Callable[[AsyncIterator[bytes], int], Awaitable[T]]
"""Stores a stream: given the decoded chunks and the most bytes there can be, gives back whatever
stands for the stored content. When the stream raises, or it is cancelled, it leaves nothing behind
and raises that on. It is called once for each try."""

MOST_REMEMBERED = 256
"""Batches whose limits are remembered."""
NO_BODY = httpx.ByteStream(b"")


class Fetcher:
    """The door through which URLs are fetched: one for the process, an async context manager."""

    def __init__(
        self,
        settings: FetchSettings,
        remotes: Remotes = NONE,
        *,
        lookup: Lookup | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        # All URLs of a batch have the same parameters.
        self._limits = lru_cache(MOST_REMEMBERED)(settings.tightened)
        self._system_lookup = SystemLookup()
        lookup = lookup or self._system_lookup
        self.guard = Guard(settings, lookup)
        proxy = settings.proxy
        self._tunnels = Tunnels(proxy, lookup) if proxy else None
        self.remotes = remotes
        self._ways: dict[tuple[Network, ...], Way] = {}
        self.turns = HostTurns(settings.per_host_concurrency)
        self.sleep = sleep
        self.clock = clock
        self.now = now
        self.jitter = jitter
        self._stack = AsyncExitStack()
        self.client: httpx.AsyncClient
        """The guarded one, for what else leaves the house; there is none before it is open."""

    async def __aenter__(self) -> Self:
        """Make the connections' home; once, before the first fetch, in the loop that fetches."""
        self.client = await self._stack.enter_async_context(self.wider_client(()))
        self._stack.callback(self._system_lookup.close)
        for networks in self.remotes.networks:
            client = await self._stack.enter_async_context(self.wider_client(networks))
            self._ways[networks] = Way(self.guard.wider(networks), client)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections; what is still being fetched fails."""
        await self._stack.aclose()

    def wider_client(
        self, networks: Sequence[Network]
    ) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        """Open a client of its own (see `open_client`), which may reach `networks` too."""
        return open_client(self.guard.wider(networks), self._settings, self._tunnels)

    def check(self, url: str, client: str) -> None:
        """Refuse early what could never be fetched for a client.

        Raises:
            FetchError: as `Guard.check_url`, or for a bucket as `Remotes.find` does.
        """
        if is_object_url(url):
            self.remotes.find(url, client)
        else:
            self.guard.check_url(url)

    def way_to(self, remote: Remote) -> Way:
        """Give who reaches a remote's endpoint."""
        return self._ways[remote.settings.allow_networks]

    async def _first(self, url: str, headers: Mapping[str, str] | None, client: str) -> Hop:
        if not is_object_url(url):
            return Hop(self.guard.check_url(url), checked(headers))
        found = self.remotes.find(url, client)
        if headers:
            raise InvalidParameter("`headers` do not go to a bucket: its URL is signed without.")
        way = self.way_to(found.remote)
        target = way.guard.check_url(await found.signed("GET"))
        return Hop(target, {}, address=found.url, way=way)

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
            url: absolute, http or https; or of an object that a remote covers.
            params: may only tighten the settings.
            headers: sent to the origin of `url`, dropped for good when a redirect leaves it.
            save: see `Save`; what it raises itself passes through, and ends the fetch.
            terms: what else is asked; without `known`, the answer is never `Unchanged`.

        Raises:
            InvalidParameter: a header that cannot be sent.
            FetchError: the leaf that says why; `tries` in its `extra` says how often it was tried,
                and `fetch` in its `facts` how far it came.
        """
        limits = self._limits(params)
        if terms.max_bytes is not None:
            limits = limits.model_copy(update={"max_bytes": min(terms.max_bytes, limits.max_bytes)})
        with metrics.fetching():
            hop = await self._first(url, headers, terms.client)
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
        self._timeout = {"connect": limits.connect_timeout_s, "read": limits.read_timeout_s}
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
            "final_url": self._hop.told,
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
        async with turn as give_back, self._budget.running():
            before_s = self._budget.spent_s
            known = self._terms.known
            asked = conditions(known, self._hop.told)
            response = await self._send(asked)
            try:
                if response.status_code in REDIRECTS:
                    return redirected(
                        self._door.guard, self._hop, response, self._limits.max_redirects
                    )
                if response.status_code == httpx.codes.NOT_MODIFIED and known and asked:
                    check_same(known, response)
                    facts = _facts(self._hop, response, self._budget.spent_s - before_s)
                    return Unchanged(facts)
                await self._check(response)
                body = Body(response, self._wanted, resume=self._resume, ended=give_back)
                saved = await self._saved(body, save)
            finally:
                await response.aclose()
            metrics.fetched(body.size_bytes)
            facts = _facts(self._hop, response, self._budget.spent_s - before_s)
            return Fetched(saved, facts | {"size_bytes": body.size_bytes})

    async def _saved(self, body: Body, save: Save[T]) -> T:
        chunks = body.chunks()
        timed = self._budget.timed(chunks)
        try:
            saved = await save(timed, self._limits.max_bytes)
            body.check()
            return saved
        finally:
            await timed.aclose()
            await chunks.aclose()
            await body.aclose()

    async def _send(self, more: Mapping[str, str]) -> httpx.Response:
        client = self._hop.way.client if self._hop.way else self._door.client
        headers = client.headers
        if self._hop.headers or more:
            headers = httpx.Headers(headers)
            headers.update({**self._hop.headers, **more})
        # Made here and not by the client: all that it would look for and add is known.
        request = httpx.Request(
            "GET",
            self._hop.target.url,
            headers=headers,
            stream=NO_BODY,
            extensions={"timeout": self._timeout, "target": self._hop.target},
        )
        return await client.send(request, stream=True)

    async def _resume(
        self, first: httpx.Response, error: FetchError, received: int
    ) -> httpx.Response:
        """Ask for the rest of a body that was cut off after `received` bytes on the wire.

        Raises `error`, or how the last try for the rest failed: then the next try, if there is
        one, begins afresh.
        """
        etag = resumable(first)
        if etag is None or not received:
            raise error
        while True:
            await self._door.sleep(self._delay_s(error))
            try:
                part = await self._send({"range": f"bytes={received}-", "if-range": etag})
                if continues(first, part, received):
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

    async def _check(self, response: httpx.Response) -> None:
        try:
            self._check_status(response)
        except FetchStatusError as error:
            if self._hop.address and (code := code_in(await first_bytes(response))):
                error.detail = f"{error.detail.removesuffix('.')}, {code}."
                error.extra["bucket_code"] = code
            raise

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
