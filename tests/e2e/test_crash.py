"""kill -9 at several moments: what was acknowledged is done after the next start, once."""

from __future__ import annotations

import gzip
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.conftest import LOOPBACK
from tests.service import Service, wait_until_gone

JOBS = 30
ENV = {"OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK}

Submit = Callable[[httpx.Client], httpx.Response]


@pytest.fixture
def submissions(photo: bytes, text: bytes, origin: str) -> list[Submit]:
    """One of each kind, over and over."""

    def compress(client: httpx.Client) -> httpx.Response:
        return client.post("/v1/compress?level=best", files={"file": ("a.txt", text)})

    def resize(client: httpx.Client) -> httpx.Response:
        return client.post("/v1/images?width=400&height=300", files={"file": ("p.jpg", photo)})

    def fetch(client: httpx.Client) -> httpx.Response:
        return client.post("/v1/fetch", json={"urls": [f"{origin}/{n}" for n in range(20)]})

    return ([compress, resize, fetch] * JOBS)[:JOBS]


def submit_all(
    url: str, submissions: list[Submit], after: Callable[[int], None]
) -> dict[str, Submit]:
    """Submit with 8 clients; gives what was acknowledged before the service went away.

    `after` is told the number of acknowledgements, from whichever thread got one.
    """
    acknowledged: dict[str, Submit] = {}
    lock = threading.Lock()

    def one(submit: Submit) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            try:
                response = submit(client)
            except httpx.TransportError:
                return  # never acknowledged, so nothing was promised
        assert response.status_code == 202
        with lock:
            acknowledged[response.json()["id"]] = submit
            after(len(acknowledged))

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(one, submissions))
    return acknowledged


def check_all_done(url: str, acknowledged: dict[str, Submit], text: bytes) -> None:
    with httpx.Client(base_url=url, timeout=90) as client:
        for job_id, submit in acknowledged.items():
            job = client.get(f"/v1/jobs/{job_id}?wait=60").json()
            assert job["status"] == "succeeded", job
            for item in job["items"]:
                [result] = item["results"]
                content = client.get(result["href"])
                assert len(content.content) == result["size_bytes"]
                if submit.__name__ == "compress":
                    assert gzip.decompress(content.content) == text
        listed = client.get("/v1/jobs?limit=200").json()["jobs"]
        assert {job["id"] for job in listed} >= acknowledged.keys()
        assert all(client.get(f"/v1/jobs/{job['id']}?wait=60").json()["done"] for job in listed)


@pytest.mark.parametrize("killed_after", [1, JOBS])
def test_every_acknowledged_job_is_done_after_kill_9_and_restart(
    killed_after: int, tmp_path: Path, submissions: list[Submit], text: bytes
) -> None:
    data = tmp_path / "data"
    service = Service(data, ENV)
    workers = service.workers()

    def kill(acknowledgements: int) -> None:
        if acknowledgements == killed_after:
            service.process.kill()

    acknowledged = submit_all(service.url, submissions, kill)
    assert len(acknowledged) >= killed_after
    service.kill()
    wait_until_gone(workers)

    with Service.started(data, ENV) as again:
        check_all_done(again.url, acknowledged, text)
        assert not list((data / "blobs" / "work").glob("*/*"))


def test_three_crashes_in_a_row_lose_nothing(
    tmp_path: Path, submissions: list[Submit], text: bytes
) -> None:
    data = tmp_path / "data"
    service = Service(data, ENV)
    acknowledged = submit_all(service.url, submissions[:20], lambda _: None)
    service.kill()
    for _ in range(2):
        service = Service(data, ENV)
        # As soon as it answers, it is at work on what the last one left.
        httpx.get(f"{service.url}/livez").raise_for_status()
        service.kill()
    with Service.started(data, ENV) as again:
        check_all_done(again.url, acknowledged, text)


def test_a_killed_upload_leaves_nothing_behind(tmp_path: Path) -> None:
    data = tmp_path / "data"
    service = Service(data, ENV)

    def body() -> Iterator[bytes]:
        yield b"x" * (3 << 20)
        service.process.kill()
        yield b"x"

    with pytest.raises(httpx.TransportError):
        httpx.post(f"{service.url}/v1/compress", content=body())
    service.kill()
    with Service.started(data, ENV) as again:
        left = [path for path in (data / "blobs").rglob("*/*") if path.is_file()]
        assert [path.suffix for path in left] == [".lock"]  # of the one that runs
        assert httpx.get(f"{again.url}/v1/jobs", timeout=30).json()["jobs"] == []


def test_sigterm_gives_unfinished_work_back_and_leaves_no_worker(
    tmp_path: Path, photo: bytes
) -> None:
    data = tmp_path / "data"
    env = ENV | {"OFFLOAD_DRAIN_TIMEOUT_S": "0.2"}
    service = Service(data, env)
    workers = service.workers()
    files = [("file", (f"{n}.txt", photo * 4)) for n in range(6)]
    job = httpx.post(f"{service.url}/v1/compress?format=zstd&level=19", files=files).json()
    assert service.stop() == 0
    wait_until_gone(workers)
    with Service.started(data, env) as again:
        done = httpx.get(f"{again.url}/v1/jobs/{job['id']}?wait=60", timeout=90).json()
        assert done["counts"]["succeeded"] == 6


def test_a_service_of_which_every_worker_dies_goes_on(tmp_path: Path, text: bytes) -> None:
    with Service.started(tmp_path / "data", ENV | {"OFFLOAD_POOL_WORKERS": "2"}) as service:
        files = [("file", (f"{n}.txt", text * 2)) for n in range(12)]
        job = httpx.post(f"{service.url}/v1/compress?level=best", files=files).json()
        for pid in service.workers():
            os.kill(pid, signal.SIGKILL)
        done = httpx.get(f"{service.url}/v1/jobs/{job['id']}?wait=60", timeout=90).json()
        assert done["counts"]["succeeded"] == 12
