"""An origin that can hold its answers back, for tests that need work to be under way."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.api.answers import running
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


class Mailbox:
    """Takes what it is sent, by path."""

    def __init__(self):
        self.requests = []
        self.changed = threading.Condition()
        self.status = 200

    def wait_for(self, path, count=1):
        """Give the requests to a path, once there are so many."""

        def there():
            return [one for one in self.requests if one[0] == path]

        with self.changed:
            assert self.changed.wait_for(lambda: len(there()) >= count, 20), self.requests
            return there()


@pytest.fixture(scope="module")
def mailbox():
    taken = Mailbox()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with taken.changed:
                taken.requests.append((self.path, headers, body))
                taken.changed.notify_all()
            self.send_response(500 if "fail" in self.path else 200)
            self.send_header("content-length", "6")
            self.end_headers()
            self.wfile.write(b"<ok>\x00\xff")

        do_PUT = do_POST  # noqa: N815 - the library's spelling

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        taken.url = f"http://127.0.0.1:{server.server_port}"
        yield taken
        server.shutdown()


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
    running(http, job, items=2)
    yield job
    http.delete(f"/v1/jobs/{job['id']}")
