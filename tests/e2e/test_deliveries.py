"""kill -9 again and again: every event and every result arrives, each under one id.

`DELIVERY_KILLS` says how often; a few for every run of the suite, a hundred to be sure.
"""

from __future__ import annotations

import base64
import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from tests.conftest import LOOPBACK
from tests.service import Service

KILLS = int(os.environ.get("DELIVERY_KILLS", "5"))
JOBS_EACH = 4
SECRET = "whsec_" + base64.b64encode(b"kill -9 " * 4).decode()
ENV = {
    "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
    "OFFLOAD_WEBHOOKS_SECRETS": SECRET,
    "OFFLOAD_DRAIN_TIMEOUT_S": "10",
}
EVENTS = ["item.succeeded", "job.succeeded", "push.succeeded"]


class Endpoint:
    """Takes events and results, and can strike at the moment in which one comes or was answered."""

    def __init__(self) -> None:
        self.ids: dict[tuple[str, str], set[str]] = defaultdict(set)
        """By job and event: the ids under which it was told."""
        self.bodies: dict[str, set[bytes]] = defaultdict(set)
        self.puts: dict[str, set[bytes]] = defaultdict(set)
        self.requests = 0
        self.strike_at: tuple[int, str] | None = None
        self.strike = threading.Event()
        self.changed = threading.Condition()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        with self.changed:
            if path.startswith("/put/"):
                self.puts[path].add(body)
            else:
                told = Webhook(SECRET).verify(body, headers)
                message_id = headers["webhook-id"]
                self.ids[told["data"]["job_id"], told["type"]].add(message_id)
                self.bodies[message_id].add(body)
            self.changed.notify_all()

    def now(self, moment: str) -> None:
        """Pull the trigger if this is the request, and this the moment of it."""
        if self.strike_at == (self.requests, moment):
            self.strike.set()

    def wait_for(self, jobs: set[str], timeout_s: float = 60) -> None:
        def complete() -> bool:
            return all((job, event) in self.ids for job in jobs for event in EVENTS)

        with self.changed:
            assert self.changed.wait_for(complete, timeout_s), {
                (job, event) for job in jobs for event in EVENTS if (job, event) not in self.ids
            }


@pytest.fixture
def endpoint() -> Iterator[tuple[str, Endpoint]]:
    taken = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            taken.requests += 1
            taken.now("before the answer")
            taken.take(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            self.send_response(204)
            self.end_headers()
            taken.now("after the answer")

        do_PUT = do_POST  # noqa: N815 - the library's spelling

        def handle(self) -> None:
            with suppress(OSError):  # the service was killed in the middle of a request
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", taken
        server.shutdown()


def submit(
    service: Service, url: str, numbers: range, told: Callable[[int], None]
) -> dict[str, str]:
    """Submit jobs until the service dies; gives what was acknowledged, and where it is put.

    `told` is told, at the start and after each, how many were acknowledged.
    """
    acknowledged: dict[str, str] = {}
    told(0)
    with httpx.Client(base_url=service.url, timeout=30) as client:
        for number in numbers:
            job: dict[str, Any] = {
                "file_ids": [],
                "webhook": {"url": f"{url}/hook", "events": EVENTS},
                "store": {"put_url": f"{url}/put/{number}"},
            }
            try:
                content = f"content of {number} ".encode() * 50
                job["file_ids"] = [client.post("/v1/files", content=content).json()["id"]]
                made = client.post("/v1/compress", json=job)
            except (httpx.TransportError, ValueError):
                break  # never acknowledged, so nothing was promised
            assert made.status_code == 202
            acknowledged[made.json()["id"]] = f"/put/{number}"
            told(len(acknowledged))
    return acknowledged


def test_no_event_is_lost_to_kill_9(tmp_path: Path, endpoint: tuple[str, Endpoint]) -> None:
    url, taken = endpoint
    rng = random.Random(os.environ.get("DELIVERY_SEED", "9"))
    promised: dict[str, str] = {}
    moments = ["before the answer", "after the answer", "at some time"]
    for kill in range(KILLS):
        service = Service(tmp_path / "data", ENV)
        taken.strike.clear()
        moment = moments[kill % len(moments)]
        strike_in, armed_after = rng.randint(1, 6), rng.randint(0, JOBS_EACH)
        wait_s = rng.uniform(0, 0.2) if moment == "at some time" else 2.0

        def killer(service: Service = service, wait_s: float = wait_s) -> None:
            taken.strike.wait(wait_s)
            service.process.kill()

        striking = threading.Thread(target=killer)

        def arm(
            acknowledged: int, at: tuple[int, int, str] = (armed_after, strike_in, moment),
            striking: threading.Thread = striking,
        ) -> None:  # fmt: skip
            if acknowledged == at[0]:
                taken.strike_at = (taken.requests + at[1], at[2])
                striking.start()

        promised |= submit(service, url, range(kill * JOBS_EACH, (kill + 1) * JOBS_EACH), arm)
        striking.join()
        service.kill()
    taken.strike_at = None

    with Service.started(tmp_path / "data", ENV) as service:
        taken.wait_for(set(promised))
        with httpx.Client(base_url=service.url, timeout=30) as client:
            for job_id in promised:
                told = deliveries(client, job_id)
                assert sorted(d["event"] for d in told) == EVENTS
                for delivery in told:
                    # One id for one event, at every attempt, whoever made it.
                    assert taken.ids[job_id, delivery["event"]] == {delivery["id"]}
                    assert delivery["status"] == "delivered"
                [item] = client.get(f"/v1/jobs/{job_id}").json()["items"]
                assert item["pushed"]["status"] == "delivered"
                [result] = item["results"]
                assert taken.puts[promised[job_id]] == {client.get(result["href"]).content}
    assert all(len(bodies) == 1 for bodies in taken.bodies.values())
    print(f"\n{KILLS} kills, {len(promised)} jobs, {len(taken.bodies)} events, "
          f"{taken.requests} requests")  # fmt: skip


def deliveries(client: httpx.Client, job_id: str) -> list[dict[str, Any]]:
    """Give a job's deliveries once they are over: a little after they arrived."""
    give_up_at = time.monotonic() + 30
    while True:
        found: list[dict[str, Any]] = client.get(f"/v1/webhooks/deliveries?job={job_id}").json()[
            "deliveries"
        ]
        if all(d["ended_at"] for d in found) or time.monotonic() > give_up_at:
            return found
