"""The clients that downloads are raced with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from ipaddress import ip_network
from typing import Any

import httpx
import uvloop

from app.errors import OffloadError

TIMEOUT_S = 60
Fetch = Callable[[str], Coroutine[Any, Any, None]]


@contextmanager
def failing_as_os_error() -> Iterator[None]:
    """Have what a client raises be an `OSError`: a race takes that for a refusal."""
    try:
        yield
    except (httpx.HTTPError, OffloadError) as error:
        raise OSError(str(error) or type(error).__name__) from error


def get(client: httpx.Client, url: str) -> bytes:
    """Fetch a URL, and block until it is here. Raises `OSError`."""
    with failing_as_os_error():
        return client.get(url).raise_for_status().content


def blocking_client() -> httpx.Client:
    """Give a client for any number of threads, without a bound of its own."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.Client(trust_env=False, timeout=TIMEOUT_S, limits=limits)


class LoopWith:
    """An event loop and a client that live from round to round, so that connections do."""

    def __init__(self, runner: asyncio.Runner, fetch: Fetch) -> None:
        """Fetch with `fetch`, in the loop of `runner`."""
        self._runner = runner
        self._fetch = fetch

    def all(self, urls: list[str], at_once: int) -> None:
        """Fetch all, so many at once. Raises `OSError`."""
        with failing_as_os_error():
            self._runner.run(self._all(urls, at_once))

    async def _all(self, urls: list[str], at_once: int) -> None:
        bound = asyncio.Semaphore(at_once)

        async def one(url: str) -> None:
            async with bound:
                await self._fetch(url)

        await asyncio.gather(*map(one, urls))


@contextmanager
def loop_with(open_: Callable[[], AbstractAsyncContextManager[Fetch]]) -> Iterator[LoopWith]:
    """Have a loop with a client in it, for as long as the context is open."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        opened = open_()
        fetch = runner.run(_entered(opened))
        try:
            yield LoopWith(runner, fetch)
        finally:
            runner.run(_left(opened))


async def _entered(context: AbstractAsyncContextManager[Fetch]) -> Fetch:
    return await context.__aenter__()


async def _left(context: AbstractAsyncContextManager[Fetch]) -> None:
    await context.__aexit__(None, None, None)


@asynccontextmanager
async def plain_client() -> AsyncIterator[Fetch]:
    """Open httpx's own client."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S, limits=limits) as client:

        async def fetch(url: str) -> None:
            (await client.get(url)).raise_for_status()

        yield fetch


@asynccontextmanager
async def ours_client() -> AsyncIterator[Fetch]:
    """Open this service's client, with loopback let in."""
    # At need: processes import this module that only want a blocking client.
    from app.outbound.client import open_client
    from app.outbound.guard import Guard
    from app.outbound.limits import FetchSettings

    settings = FetchSettings(allow_networks=(ip_network("127.0.0.1/32"),))
    async with open_client(Guard(settings, _no_lookup), settings) as client:

        async def fetch(url: str) -> None:
            (await client.get(url)).raise_for_status()

        yield fetch


async def _no_lookup(host: str) -> tuple[str, ...]:
    return ()
