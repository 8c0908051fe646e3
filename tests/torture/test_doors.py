"""Waiting, events and uploads through three nodes behind nginx, which takes them in turn."""

from __future__ import annotations

import gzip
import hashlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests import nginx
from tests.load.orders import said
from tests.postgres import Server
from tests.torture.deployment import Deployment
from tests.torture.held import Held

TIMES = 6
WOKEN_WITHIN_S = 1.0
LARGE = random.Random(6).randbytes(9 << 20)
EVENTS = 40


@pytest.fixture
def nodes(postgres: Server, s3: str, tmp_path: Path) -> Iterator[Deployment]:
    with Deployment.running(tmp_path, postgres, s3, apis=3, workers=1) as nodes:
        yield nodes


@pytest.fixture
def http(nodes: Deployment, tmp_path: Path) -> Iterator[httpx.Client]:
    folder = tmp_path / "nginx"
    folder.mkdir()
    with (
        nginx.running(folder, nginx.SITE, *nodes.urls()) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


@pytest.mark.timeout(180)
def test_three_doors_are_one(
    nodes: Deployment, http: httpx.Client, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    woken = [waited(http, tmp_path, n) for n in range(TIMES)]
    events, connections = followed(http)
    pieces = (LARGE[at : at + 100_000] for at in range(0, len(LARGE), 100_000))
    stored = http.post("/v1/files", content=pieces)
    assert stored.status_code == 201, stored.text
    job = http.post("/v1/compress?level=fast", json={"file_ids": [stored.json()["id"]]}).json()
    job = http.get(f"/v1/jobs/{job['id']}?wait=30").json()
    [item] = job["items"]
    for _ in nodes.apis:  # each gives all of it, and parts
        content = http.get(item["results"][0]["href"]).content
        assert gzip.decompress(content) == LARGE
        original = http.get(f"/v1/files/{stored.json()['id']}/content")
        assert hashlib.sha256(original.content).digest() == hashlib.sha256(LARGE).digest()
    asked = Counter({name: len(re.findall(r"request .*path=/v1", nodes.log(name)))
                     for name in nodes.apis})  # fmt: skip
    assert min(asked.values()) > 0, asked
    tell(
        f"{TIMES} waits woken by another node's commit after {max(woken):.2f} s at most, "
        f"{events} events over {connections} connections, none twice and none missing, "
        f"{len(LARGE)} bytes up and down; requests by node {dict(asked)}"
    )
    assert max(woken) <= WOKEN_WITHIN_S


def waited(http: httpx.Client, folder: Path, n: int) -> float:
    """Wait for a job through one node; gives how long after its end that was answered."""
    held = Held(http, folder, f"pipe{n}")
    held.began()
    answered: list[tuple[float, httpx.Response]] = []

    def wait() -> None:
        answer = http.get(f"/v1/jobs/{held.job_id}?wait=30")
        answered.append((time.monotonic(), answer))

    waiting = threading.Thread(target=wait)
    waiting.start()
    threading.Event().wait(0.5)  # it is there by now, or hears of the end at once
    let_go_at = time.monotonic()
    held.let_go()
    waiting.join()
    [(at, answer)] = answered
    assert answer.json()["status"] == "succeeded", answer.text
    return at - let_go_at


def followed(http: httpx.Client) -> tuple[int, int]:
    """Follow a job's events, a few from each node; gives how many events and connections."""
    files = [("file", (f"{n}", b"%d" % n * 99)) for n in range(EVENTS)]
    job = http.post("/v1/compress", files=files).json()
    told: list[tuple[str | None, int]] = []
    last: str | None = None
    connections, over = 0, False
    while not over:
        connections += 1
        heard = ""
        headers = {} if last is None else {"Last-Event-ID": last}
        with http.stream("GET", f"/v1/jobs/{job['id']}/events", headers=headers) as stream:
            over = stream.status_code == 204
            for text in stream.iter_text():
                heard += text
                found = said(heard)
                if len([1 for _, name, _ in found if name == "item"]) >= 3:
                    break  # go on with another node, where this one has stopped
        found = said(heard)[:5]
        told += [(key, data["index"]) for key, name, data in found if name == "item"]
        last = next((key for key, _, _ in reversed(found) if key), last)
        over = over or any(data.get("done") for _, _, data in found)
        assert connections < 10 * EVENTS
    assert sorted(index for _, index in told) == list(range(EVENTS))
    return len(told), connections
