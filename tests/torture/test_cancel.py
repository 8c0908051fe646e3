"""What one node is told to cancel, another stops."""

from __future__ import annotations

import json
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.postgres import Server
from tests.torture.deployment import Deployment
from tests.torture.held import Held

WITHIN_S = 1.0
TIMES = 6


class Slow:
    """An origin whose answer never ends, and that notes when its reader hangs up."""

    def __init__(self) -> None:
        self.url = ""
        self.asked, self.left = threading.Event(), threading.Event()

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Slow]:
        slow = cls()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                slow.asked.set()
                select.select([self.connection], [], [], 20)
                slow.left.set()

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            slow.url = f"http://127.0.0.1:{server.server_port}/"
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield slow
            server.shutdown()


def canceled(http: httpx.Client, job_id: str) -> None:
    answer = http.post(f"/v1/jobs/{job_id}/cancel")
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "canceled", answer.text


@pytest.mark.timeout(120)
def test_a_cancel_through_any_node_stops_what_another_runs(
    postgres: Server, s3: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    took = []
    with (
        Deployment.running(tmp_path, postgres, s3, workers=1) as nodes,
        nodes.client() as http,
        Slow.open() as slow,
    ):
        for _ in range(TIMES):
            slow.asked.clear()
            slow.left.clear()
            job = http.post("/v1/fetch", json={"urls": [slow.url]}).json()
            assert slow.asked.wait(20)
            asked_at = time.monotonic()
            canceled(http, job["id"])
            assert slow.left.wait(20)
            took.append(time.monotonic() - asked_at)
        # What computes comes to its end; what is behind it in its chunk does not begin.
        held = Held(http, tmp_path)
        held.began()
        step = {"op": "misbehave", "how": "die"}
        behind = http.post(
            "/v1/jobs",
            data={"job": json.dumps({"steps": [step]})},
            files=[("file", (f"{n}", b"x")) for n in range(3)],
        ).json()
        canceled(http, behind["id"])
        canceled(http, held.job_id)
        threading.Event().wait(WITHIN_S)
        held.let_go()
        after = http.post("/v1/compress?wait=20", content=b"after " * 99).json()
        assert after["status"] == "succeeded", after
        assert "pool_broken" not in nodes.log("work1")
        for job_id in (held.job_id, behind["id"]):
            items = http.get(f"/v1/jobs/{job_id}/items").json()["items"]
            assert {item["status"] for item in items} == {"canceled"}
    tell(f"{TIMES} fetches of another node ended {min(took):.2f} to {max(took):.2f} s after it")
    assert max(took) <= WITHIN_S
