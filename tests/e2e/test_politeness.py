"""Two nodes on one database are together as polite to others' servers as one would be."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.answers import done
from tests.conftest import LOOPBACK
from tests.e2e.test_bucket import env as bucket
from tests.e2e.test_deliveries import SECRET
from tests.postgres import Server, running
from tests.s3 import shared_s3
from tests.service import Service

LIMIT = 4
URLS_OF_A_CHUNK = 32
BURIED_WITHIN_S = 10.0


class Counting:
    """Holds requests until it is open, and counts those under way by who asks."""

    def __init__(self) -> None:
        self.under_way: Counter[str] = Counter()
        self.most = 0
        self.came = 0
        self._changed = threading.Condition()
        self._opened, self._open = socket.socketpair()

    def open(self) -> None:
        self._open.send(b"x")

    def close(self) -> None:
        self._opened.close()
        self._open.close()

    def until(self, expected: dict[str, int], timeout_s: float = 60) -> None:
        """Return once just so many are under way."""
        with self._changed:
            there = self._changed.wait_for(lambda: +self.under_way == expected, timeout_s)
        assert there, self.under_way

    @contextmanager
    def counted(self, who: str) -> Iterator[None]:
        with self._changed:
            self.came += 1
            self.under_way[who] += 1
            self.most = max(self.most, self.under_way.total())
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self.under_way[who] -= 1
                self._changed.notify_all()

    def held(self, connection: socket.socket) -> bool:
        """Wait until it is open; False if who asks has gone."""
        ready, _, _ = select.select([connection, self._opened], [], [], 60)
        return self._opened in ready


@dataclass
class Others:
    """A server that is fetched from and told of events."""

    url: str
    fetches: Counting
    hooks: Counting


@pytest.fixture
def others() -> Iterator[Others]:
    found = Others("", Counting(), Counting())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(found.fetches)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(found.hooks)

        def answer(self, counting: Counting) -> None:
            with counting.counted(self.headers["User-Agent"]):
                there = counting.held(self.connection)
            with suppress(OSError):
                self.send_response(200 if there else 500)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ExitStack() as stack, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        served.daemon_threads = True
        threading.Thread(target=served.serve_forever, daemon=True).start()
        found.url = f"http://127.0.0.1:{served.server_port}"
        yield found
        for counting in (found.fetches, found.hooks):
            counting.open()
            stack.callback(counting.close)
        served.shutdown()


@pytest.fixture
def postgres() -> Iterator[Server]:
    with running() as found:
        yield found


@pytest.fixture
def nodes(postgres: Server, tmp_path: Path) -> Iterator[tuple[httpx.Client, Service]]:
    """A node that takes requests and works, and one that works; each knows of the other."""
    database = postgres.new_database()
    env = dict(bucket(shared_s3(), f"s3://tests/{database}-{os.getpid()}-polite")) | {
        "OFFLOAD_DATABASE_URL": postgres.url(database),
        "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
        "OFFLOAD_FETCH_PER_HOST_CONCURRENCY": str(LIMIT),
        # Each takes one chunk at a time, so both have URLs of one list.
        "OFFLOAD_FETCH_CONCURRENCY": str(URLS_OF_A_CHUNK),
        "OFFLOAD_WEBHOOKS_PER_ENDPOINT_CONCURRENCY": str(LIMIT),
        "OFFLOAD_WEBHOOKS_SECRETS": SECRET,
        "OFFLOAD_POOL_WORKERS": "1",
    }
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(
                Service.started(
                    tmp_path / name,
                    env | {"OFFLOAD_FETCH_USER_AGENT": name, "OFFLOAD_ROLES": roles},
                )
            )
            for name, roles in (("first", "api,work"), ("second", "work"))
        )
        while postgres.execute("SELECT min(beat) FROM nodes", database)[0][0] < 3:
            pass
        yield stack.enter_context(httpx.Client(base_url=first.url, timeout=60)), second


def submitted(http: httpx.Client, url: str) -> str:
    urls = [f"{url}/{n}" for n in range(3 * URLS_OF_A_CHUNK)]
    answer = http.post("/v1/fetch", json={"urls": urls})
    assert answer.status_code == 202, answer.text
    return f"/v1/jobs/{answer.json()['id']}"


@pytest.mark.timeout(300)  # two nodes, and a burial, on a busy machine
def test_a_host_and_an_endpoint_get_no_more_of_two_nodes_than_of_one(
    nodes: tuple[httpx.Client, Service], others: Others
) -> None:
    (http, second), fetches, hooks = nodes, others.fetches, others.hooks
    halves = {"first": LIMIT // 2, "second": LIMIT // 2}
    told: dict[str, Any] = {"url": f"{others.url}/hook", "events": ["job.canceled"]}
    for _ in range(3 * LIMIT):
        job = {"urls": [f"{others.url}/canceled"], "webhook": told}
        made = http.post("/v1/fetch", json=job).json()
        http.post(made["links"]["cancel"]).raise_for_status()
    hooks.until(halves)
    hooks.open()
    while hooks.came < 3 * LIMIT:
        pass
    path = submitted(http, others.url)
    fetches.until(halves)
    os.kill(second.process.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    fetches.until({"first": LIMIT})
    assert time.monotonic() - killed_at < BURIED_WITHIN_S + 5  # of a busy machine
    fetches.open()
    assert done(http.get(f"{path}?wait=50"))["counts"]["succeeded"] == 3 * URLS_OF_A_CHUNK
    assert (fetches.most, hooks.most) == (LIMIT, LIMIT)
