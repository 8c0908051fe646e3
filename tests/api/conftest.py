"""An origin that can hold its answers back, for tests that need work to be under way."""

import asyncio
import threading

import httpx
import pytest

from tests.outbound.origin import Origin


class HeldOrigin:
    """The hostile origin on an event loop of its own, for tests that are not asynchronous."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._origin = self._run(Origin().__aenter__())
        self.url = self._origin.url

    def wait_for(self, requests):
        """Return when so many more requests to /held have come in."""

        async def arrived():
            for _ in range(requests):
                await self._origin.arrived.acquire()

        self._run(arrived())

    def let_go(self):
        """Answer every request to /held, those to come included."""
        self._loop.call_soon_threadsafe(self._origin.hold.set)

    def change(self):
        """Make what is at /versioned another version."""
        self._loop.call_soon_threadsafe(setattr, self._origin, "unchanged", False)

    def requests(self):
        """Give the header of every request so far."""
        return list(self._origin.requests)

    def paths(self):
        """Give the path of every request so far."""
        return self._origin.paths()

    def close(self):
        self._run(self._origin.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


@pytest.fixture(scope="session")
def http(service):
    """One client for all: making one loads the certificates anew, 0.1 s a test."""
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client


@pytest.fixture
def hostile():
    origin = HeldOrigin()
    yield origin
    origin.close()


@pytest.fixture
def stored(http):
    """A stored file of ten bytes."""
    return http.post("/v1/files?filename=ten.txt", content=b"0123456789").json()


@pytest.fixture
def held_job(http, hostile):
    """A job of two fetches that wait for their origin."""
    job = http.post("/v1/fetch", json={"urls": [f"{hostile.url}/held"] * 2}).json()
    hostile.wait_for(requests=2)
    yield job
    http.delete(f"/v1/jobs/{job['id']}")
