"""Nodes killed at random under mixed load: nothing lost, doubled or stuck, nothing left over."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.load.world import World
from tests.postgres import Server
from tests.torture.deployment import Deployment
from tests.torture.ledger import Ledger

SECONDS = float(os.environ.get("TORTURE_SECONDS") or 600)
KILL_EVERY_S = 5.0
LINES = int(os.environ.get("TORTURE_LINES") or 100_000)
DIFFERENT = 5_000
"""Pages that the long list asks for: what is asked for again ends with the first (`dedupe`)."""
PATIENCE_S = 600


class LongList:
    """One job of very many URLs, sent as it is made, until it is acknowledged."""

    def __init__(self, nodes: Deployment, world: World, seed: str) -> None:
        self._nodes, self._world = nodes, world
        self._key = {"Idempotency-Key": f"long-{seed}", "Content-Type": "application/x-ndjson"}
        self.job_id: str | None = None
        self.sent = 0

    def submit(self) -> None:
        lines = (f'"{self._world.url}/page/{n % DIFFERENT}"\n' for n in range(LINES))
        body = "".join(lines).encode()
        while self.job_id is None:
            self.sent += 1
            try:
                with self._nodes.client() as http:
                    answer = http.post(
                        "/v1/fetch?dedupe=true&tag=long", content=body, headers=self._key
                    )
            except httpx.TransportError:
                continue  # the node was killed in the midst of it
            assert answer.status_code in (200, 202), answer.text
            self.job_id = answer.json()["id"]

    def check(self) -> None:
        with self._nodes.client() as http:
            give_up_at = time.monotonic() + PATIENCE_S
            while not (job := http.get(f"/v1/jobs/{self.job_id}?wait=30").json())["done"]:
                assert time.monotonic() < give_up_at, job
            counts = {name: count for name, count in job["counts"].items() if count}
            assert counts == {"total": LINES, "succeeded": LINES}, job
            seen: Counter[int] = Counter()
            cursor: str | None = ""
            while cursor is not None:
                where = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
                found = http.get(f"/v1/jobs/{self.job_id}/items", params=where).json()
                seen.update(item["index"] for item in found["items"])
                assert {len(item["results"]) for item in found["items"]} == {1}
                cursor = found["next_cursor"]
            assert seen == Counter(range(LINES))
            assert http.delete(f"/v1/jobs/{self.job_id}").status_code == 204


def killed_at_random(nodes: Deployment, rng: random.Random, seconds: float) -> Counter[str]:
    """Kill one node every few seconds, at any moment, and have it start again.

    Of each kind one is left, so that there is a load.
    """
    deaths: Counter[str] = Counter()
    pause, give_up_at = threading.Event(), time.monotonic() + seconds
    with ThreadPoolExecutor(len(nodes.names)) as starting:
        starts: dict[str, Future[None]] = {}
        while time.monotonic() < give_up_at:
            pause.wait(rng.uniform(0.6, 1.4) * KILL_EVERY_S)
            up = [n for n in nodes.names if n not in starts or starts[n].done()]
            many = [n for n in up if any(n in kind and len(set(kind) & set(up)) > 1
                    for kind in (nodes.apis, nodes.workers))]  # fmt: skip
            if not many:
                continue  # a start takes long on a busy machine
            victim = rng.choice(many)
            deaths[victim] += 1
            nodes.kill(victim)
            starts[victim] = starting.submit(nodes.start, victim)
        for started in starts.values():
            started.result()
    return deaths


@pytest.mark.timeout(SECONDS + 1800)
def test_three_and_three_nodes_with_a_kill_every_five_seconds(
    postgres: Server,
    s3: str,
    world: World,
    tmp_path: Path,
    rng: random.Random,
    seed: str,
    tell: Callable[[str], None],
) -> None:
    with Deployment.running(tmp_path, postgres, s3, apis=3, workers=3) as nodes:
        ledger, long = Ledger(nodes, world, seed), LongList(nodes, world, seed)
        sending = threading.Thread(target=long.submit)
        with ledger.at_work():
            sending.start()
            deaths = killed_at_random(nodes, rng, SECONDS)
        nodes.start(*nodes.names)
        sending.join()
        long.check()
        tell(
            f"{SECONDS:.0f} s, {deaths.total()} kills {dict(sorted(deaths.items()))}, a list of "
            f"{LINES} URLs (sent {long.sent} times); " + ledger.settle()
        )
