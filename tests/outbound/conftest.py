import asyncio
import contextlib
import socket

import pytest

from app.ops.fetch import FetchParams
from app.outbound.fetch import PLAIN, Fetcher, FetchSettings

from .origin import Canary, Origin

DEFAULTS = FetchParams()


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def origin(anyio_backend):
    async with Origin() as server:
        yield server


@pytest.fixture
async def open_origin(anyio_backend):
    async with contextlib.AsyncExitStack() as stack:

        async def make():
            return await stack.enter_async_context(Origin())

        yield make


@pytest.fixture
def unused_port():
    """Give a port that refuses connections: bound, and not listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
async def canary(anyio_backend):
    async with Canary() as server:
        yield server


class Naps:
    """Stands in for sleeping: remembers the waits and lets none of them pass."""

    def __init__(self):
        self.delays_s = []

    async def __call__(self, delay_s):
        self.delays_s.append(delay_s)


@pytest.fixture
def naps():
    return Naps()


@pytest.fixture
async def open_fetcher(anyio_backend, naps):
    """Make fetchers that may reach loopback and do not sleep; closes them."""
    opened = contextlib.AsyncExitStack()

    async def make(lookup=None, **settings):
        settings = {"allow_networks": "127.0.0.1/32", "timeout_s": 5} | settings
        fetcher = Fetcher(FetchSettings(**settings), lookup=lookup, sleep=naps, jitter=lambda: 0.0)
        return await opened.enter_async_context(fetcher)

    async with opened:
        yield make


class Saver:
    """A store in memory that keeps the promise of `Save`, and remembers how it was called."""

    def __init__(self):
        self.calls = 0
        self.called = asyncio.Event()
        self.kept = []
        self.cleaned = 0
        self.largest_piece = 0

    async def __call__(self, chunks, max_bytes):
        self.calls += 1
        self.called.set()
        pieces = []
        try:
            async for piece in chunks:
                self.largest_piece = max(self.largest_piece, len(piece))
                pieces.append(piece)
        except BaseException:
            self.cleaned += 1
            raise
        body = b"".join(pieces)
        assert len(body) <= max_bytes
        self.kept.append(body)
        return body


@pytest.fixture
async def fetch(origin, open_fetcher, save):
    """Fetch a path of the origin, over a fetcher that does not sleep."""
    fetcher = await open_fetcher()

    async def fetch(path, params=DEFAULTS, headers=None, terms=PLAIN):
        return await fetcher.fetch(origin.url + path, params, headers, save, terms)

    fetch.fetcher = fetcher
    return fetch


@pytest.fixture
def save():
    return Saver()
