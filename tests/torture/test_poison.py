"""An item that takes the whole node with it: it fails alone, whatever node has it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.postgres import Server
from tests.torture.deployment import Deployment
from tests.torture.test_kill import check_done_once, compressing

MATES = 11
BESIDE = 20
MOST_DEATHS = 11


@contextmanager
def restarted(nodes: Deployment) -> Iterator[Counter[str]]:
    """Start nodes again that die, as whatever runs them does; counts how often each did."""
    over, deaths = threading.Event(), Counter[str]()

    def look() -> None:
        while not over.wait(0.2):
            for name in nodes.names:
                if not nodes.alive(name):
                    deaths[name] += 1
                    nodes.kill(name)
                    nodes.start(name)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield deaths
    finally:
        over.set()
        thread.join()


@pytest.mark.timeout(600)
def test_who_kills_its_node_fails_alone(
    postgres: Server, s3: str, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    files = [("file", (f"{n}.txt", b"mate %d" % n)) for n in range(MATES)]
    files.insert(MATES // 2, ("file", ("poison", b"poison")))
    step = {"op": "misbehave", "how": "kill_node_if_poison"}
    with (
        Deployment.running(tmp_path, postgres, s3) as nodes,
        nodes.client() as http,
        restarted(nodes) as deaths,
    ):
        made = http.post(
            "/v1/jobs", data={"job": json.dumps({"steps": [step]})}, files=files
        ).json()
        check_done_once(http, compressing(http, BESIDE))
        job = made
        for _ in range(8):
            job = http.get(f"/v1/jobs/{made['id']}?wait=40").json()
            if job["done"]:
                break
        assert job["status"] == "partial", job
        items = http.get(f"/v1/jobs/{made['id']}/items").json()["items"]
        bad = [item for item in items if item["status"] != "succeeded"]
        [(name, code)] = [(item["name"], item["error"]["code"]) for item in bad]
        assert (name, code) == ("poison", "internal.interrupted")
        told = http.get(f"/v1/jobs/{made['id']}/events").text
        assert told.splitlines().count("event: item") == len(items)
        check_done_once(http, compressing(http, BESIDE))
    assert set(deaths) <= set(nodes.workers)
    assert 2 <= deaths.total() <= MOST_DEATHS
    tell(
        f"{deaths.total()} worker nodes killed by 1 item, which failed alone; its {MATES} mates "
        f"and {2 * BESIDE} jobs beside it succeeded"
    )
