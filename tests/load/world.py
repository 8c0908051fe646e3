"""Everybody whom a service talks to: origins, and endpoints of webhooks and results."""

from __future__ import annotations

import base64
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"kill -9 " * 4).decode()
LARGE_PAGE = 13
"""Every so many pages one is larger than what any store keeps as a value."""


def page(number: int) -> bytes:
    """Give the content of `/page/<number>`."""
    repeated = 20_000 if number % LARGE_PAGE == 0 else number % 40 + 1
    return b"page %d " % number * repeated


Told = tuple[str, str, int | None]
"""A job's id, an event, and the item that it is of."""


class World:
    """Notes all that it is told, and counts, so that somebody can strike at the n-th thing."""

    def __init__(self) -> None:
        self.url = ""
        self.ids: dict[Told, set[str]] = defaultdict(set)
        """The ids under which something was told: one, whatever happened in between."""
        self.bodies: dict[str, set[bytes]] = defaultdict(set)
        """By id: what was told under it."""
        self.retried: set[str] = set()
        """Jobs, of all rounds, that were run again: what they tell they may tell twice."""
        self.puts: dict[str, set[bytes]] = defaultdict(set)
        self.strike = threading.Event()
        self._left = 0
        self._healed: set[str] = set()
        self._changed = threading.Condition()

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Self]:
        """Listen on a free port while the context is open."""
        world = cls()
        handler = type("Handler", (_Handler,), {"world": world})
        with _Server(("127.0.0.1", 0), handler) as server:
            world.url = f"http://127.0.0.1:{server.server_port}"
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield world
            server.shutdown()

    def strike_in(self, events: int) -> None:
        """Set `strike` when so many more things have happened."""
        self.strike.clear()
        self._left = events

    def happened(self) -> None:
        """Count a thing: a request that came here, or an answer that a client got."""
        with self._changed:
            self._left -= 1
            if self._left == 0:
                self.strike.set()

    def heal(self, path: str) -> None:
        """Let a page of `/flaky/` be there from now on."""
        self._healed.add(path)

    def content(self, path: str) -> bytes | None:
        """Give what an origin has under a path; None for nothing."""
        kind, _, number = path.removeprefix("/").partition("/")
        there = kind == "page" or path in self._healed
        return page(int(number)) if there else None

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Note an event or a result."""
        with self._changed:
            if path.startswith("/put/"):
                self.puts[path].add(body)
            else:
                told = Webhook(SECRET).verify(body, headers)
                data, message_id = told["data"], headers["webhook-id"]
                self.ids[data["job_id"], told["type"], data.get("index")].add(message_id)
                self.bodies[message_id].add(body)
            self._changed.notify_all()

    def wait_for(self, told: set[Told], timeout_s: float) -> None:
        """Return once all of this has been told."""
        with self._changed:
            assert self._changed.wait_for(lambda: told <= self.ids.keys(), timeout_s), (
                f"never told: {sorted(map(str, told - self.ids.keys()))}"
            )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: World

    def do_GET(self) -> None:
        content = self.world.content(self.path)
        self._answer(200 if content is not None else 404, content or b"no")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.world.take(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        self._answer(200, b"thanks")

    do_PUT = do_POST  # noqa: N815 - the library's spelling

    def _answer(self, status: int, body: bytes) -> None:
        self.world.happened()  # before the answer: what is struck now did not hear of it
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        with suppress(OSError):  # the service was killed in the middle of a request
            super().handle()

    def log_message(self, *_: object) -> None:
        pass
