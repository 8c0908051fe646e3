"""A service that dies while it receives, or works on, very many URLs."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.conftest import LOOPBACK
from tests.service import Service

URLS = 1_600
KILL_AT = 800
ENV = {"OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK}
HEADERS = {"Content-Type": "application/x-ndjson"}


class Counted:
    """An origin that counts what it is asked for, and says when that is so much."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.enough = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked[self.path] += 1
                if len(outer.asked) >= KILL_AT:
                    outer.enough.set()
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def counted() -> Iterator[Counted]:
    origin = Counted()
    threading.Thread(target=origin.server.serve_forever, daemon=True).start()
    yield origin
    origin.server.shutdown()
    origin.server.server_close()


def test_a_restart_in_the_middle_repeats_nothing_that_was_finished(
    tmp_path: Path, counted: Counted
) -> None:
    data = tmp_path / "data"
    service = Service(data, ENV)
    body = "".join(json.dumps(f"{counted.url}/{n}") + "\n" for n in range(URLS)).encode()
    job = httpx.post(f"{service.url}/v1/fetch", content=body, headers=HEADERS, timeout=60).json()
    assert counted.enough.wait(60)
    service.kill()
    with closing(sqlite3.connect(data / "offload.db")) as db:
        done = {
            url.rpartition("/")[2]
            for (url,) in db.execute("SELECT url FROM items WHERE status = 'succeeded'")
        }
    assert KILL_AT / 2 < len(done) < URLS
    with Service.started(data, ENV) as again:
        now = httpx.get(f"{again.url}/v1/jobs/{job['id']}?wait=60", timeout=90).json()
        assert now["counts"]["succeeded"] == URLS
    repeated = [path for path, times in counted.asked.items() if times > 1]
    assert [path for path in repeated if path[1:] in done] == []
    # What was under way was not finished; it is no more than the slots.
    assert len(repeated) <= 64
    assert len(counted.asked) == URLS


def test_a_service_that_dies_while_it_receives_keeps_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    service = Service(data, ENV)

    def body() -> Iterator[bytes]:
        for n in range(20):
            yield b"".join(b'"http://127.0.0.1:1/%d"\n' % (n * 1000 + m) for m in range(1000))
        service.process.kill()
        yield b'"http://127.0.0.1:1/last"\n'

    with pytest.raises(httpx.TransportError):
        httpx.post(f"{service.url}/v1/fetch", content=body(), headers=HEADERS, timeout=60)
    service.kill()
    with Service.started(data, ENV) as again, httpx.Client(base_url=again.url) as client:
        assert client.get("/v1/jobs").json()["jobs"] == []


def test_many_lines_take_no_memory_each(tmp_path: Path) -> None:
    with Service.started(tmp_path / "data", ENV) as service:
        before_kib = peak_kib(service)

        def body() -> Iterator[bytes]:
            for start in range(0, 50_000, 1_000):
                urls = (f"http://127.0.0.1:1/{'x' * 200}/{n}" for n in range(start, start + 1_000))
                yield "".join(f'"{url}"\n' for url in urls).encode()

        job = httpx.post(
            f"{service.url}/v1/fetch?retries=0", content=body(), headers=HEADERS, timeout=100
        ).json()
        assert job["counts"]["total"] == 50_000
        # Half a kilobyte for each would be 25 MB.
        assert peak_kib(service) - before_kib < 20 << 10


def peak_kib(service: Service) -> int:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_a_client_that_goes_away_leaves_no_job(tmp_path: Path) -> None:
    with Service.started(tmp_path / "data", ENV) as service:

        def body() -> Iterator[bytes]:
            yield b'"http://127.0.0.1:1/"\n' * 2000
            raise ConnectionAbortedError

        with pytest.raises(ConnectionAbortedError):
            httpx.post(f"{service.url}/v1/fetch", content=body(), headers=HEADERS)
        assert httpx.get(f"{service.url}/v1/jobs").json()["jobs"] == []
