"""Nodes that share nothing but a PostgreSQL database and a bucket: as one service."""

from __future__ import annotations

import gzip
import os
import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.api.answers import done
from tests.e2e.test_bucket import env as bucket
from tests.postgres import Server, running
from tests.s3 import shared_s3
from tests.service import Service, refused

LARGE = random.Random(4).randbytes(5 << 20)
SLOW = random.Random(5).randbytes(6 << 20)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with running() as server:
        yield server


@dataclass
class Deployment:
    """Two nodes that take requests, and two that work."""

    env: dict[str, str]
    doors: list[httpx.Client]
    workers: list[Service]

    def ask(self, nth: int, method: str, path: str, **more: object) -> httpx.Response:
        """Ask one after the other, as behind a proxy that takes them in turns."""
        return self.doors[nth % len(self.doors)].request(method, path, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def deployment(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("nodes")
    database = postgres.new_database()
    env = dict(bucket(shared_s3(), f"s3://tests/{database}-{os.getpid()}")) | {
        "OFFLOAD_DATABASE_URL": postgres.url(database),
        "OFFLOAD_POOL_WORKERS": "1",
    }
    with ExitStack() as stack:

        def started(name: str, role: str) -> Service:
            mine = env | {"OFFLOAD_ROLES": role}
            return stack.enter_context(Service.started(folder / name, mine))

        doors = [
            stack.enter_context(httpx.Client(base_url=started(name, "api").url, timeout=60))
            for name in ("door1", "door2")
        ]
        workers = [started(name, "work") for name in ("worker1", "worker2")]
        yield Deployment(env, doors, workers)


def test_what_one_node_takes_others_do_and_another_gives(deployment: Deployment) -> None:
    ask = deployment.ask
    small = b"small " * 100
    made = [
        ask(n, "POST", "/v1/compress?format=gzip", content=content)
        for n, content in enumerate((small, LARGE, small, LARGE))
    ]
    assert [answer.status_code for answer in made] == [202] * 4
    for n, answer in enumerate(made):
        job = done(ask(n + 1, "GET", f"/v1/jobs/{answer.json()['id']}?wait=50"))
        [item] = job["items"]
        [result] = item["results"]
        content = ask(n, "GET", f"/v1/files/{result['id']}/content").content
        assert gzip.decompress(content) == (small, LARGE)[n % 2]
    many = [("files", (f"{n}.txt", b"%d" % n * 99)) for n in range(200)]
    answer = ask(0, "POST", "/v1/compress?format=gzip", files=many)
    path = f"/v1/jobs/{answer.json()['id']}"
    assert done(ask(1, "GET", f"{path}?wait=50"))["counts"]["succeeded"] == 200
    ended = [
        line for line in ask(0, "GET", f"{path}/events").text.splitlines() if line == "event: item"
    ]
    assert len(ended) == 200


def test_a_node_has_three_connections_and_three_more_with_work(
    deployment: Deployment, postgres: Server
) -> None:
    for n in range(20):
        assert deployment.ask(n, "GET", "/v1/jobs").status_code == 200
    database = deployment.env["OFFLOAD_DATABASE_URL"].partition("@/")[2].partition("?")[0]
    asked = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'"
    [[connections]] = postgres.execute(asked)
    assert 4 < connections <= 3 * len(deployment.doors) + 6 * len(deployment.workers)


def test_a_database_and_a_bucket_belong_together(
    deployment: Deployment, postgres: Server, tmp_path: Path
) -> None:
    another = deployment.env | {"OFFLOAD_DATABASE_URL": postgres.url(postgres.new_database())}
    deployment.ask(0, "POST", "/v1/files", content=LARGE)
    assert "does not belong to OFFLOAD_STORAGE_URL" in refused(tmp_path / "lost", another)


def test_what_a_dead_node_had_under_way_another_does(
    deployment: Deployment, tmp_path: Path
) -> None:
    ask, (first, second) = deployment.ask, deployment.workers
    second.stop()
    jobs = [ask(n, "POST", "/v1/compress?format=xz", content=SLOW).json()["id"] for n in range(3)]
    while not any(ask(0, "GET", f"/v1/jobs/{job}").json()["status"] == "running" for job in jobs):
        pass
    os.kill(first.process.pid, signal.SIGKILL)
    with Service.started(tmp_path / "worker3", deployment.env | {"OFFLOAD_ROLES": "work"}):
        found = [done(ask(n, "GET", f"/v1/jobs/{job}?wait=60")) for n, job in enumerate(jobs)]
    # What the dead one had taken may have begun, as far as anybody knows.
    attempts = {item["attempt"] for job in found for item in job["items"]}
    assert 2 in attempts <= {1, 2}
