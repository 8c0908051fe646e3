"""docs/operating.md's nginx, as it stands there, in front of a service."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.records.settings import JobSettings
from tests.api.answers import done, problem
from tests.nginx import SITE, running
from tests.service import Service

MAX_BYTES = 12 << 20
SUB_PATH = "/tools/offload"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    env = {
        "OFFLOAD_UPLOAD_MAX_BYTES": str(MAX_BYTES),
        "OFFLOAD_LOG_FORMAT": "json",
        "OFFLOAD_TRUSTED_PROXIES": "127.0.0.1/32",
        "PYTHONPATH": str(Path(__file__).parents[1] / "plugin"),
    }
    with Service.started(tmp_path_factory.mktemp("behind") / "data", env) as running:
        yield running


@pytest.fixture(scope="module")
def front(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of nginx in front of it."""
    [location] = re.findall(r"^    location / \{\n.*?^    \}\n", SITE, re.DOTALL | re.MULTILINE)
    site = SITE.replace(location, location + below(SUB_PATH, location))
    with running(tmp_path_factory.mktemp("nginx"), site, service.url) as url:
        yield url


def below(path: str, location: str) -> str:
    """Make of a site's location one that shows the service below a path, as the page says."""
    moved = location.replace("location /", f"location {path}/")
    moved = moved.replace("proxy_pass http://offload;", "proxy_pass http://offload/;")
    return moved.replace('X-Forwarded-Prefix "";', f"X-Forwarded-Prefix {path};")


@pytest.fixture
def http(front: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=front, timeout=60) as client:
        yield client


def test_a_body_larger_than_nginx_takes_by_itself_comes_through(http: httpx.Client) -> None:
    content = os.urandom(10 << 20)
    job = done(http.post("/v1/compress?wait=60", content=content))
    [result] = job["items"][0]["results"]
    assert len(http.get(result["href"]).content) == result["size_bytes"]


def test_what_is_too_large_is_refused_by_the_service(http: httpx.Client) -> None:
    refused = http.post("/v1/files", content=bytes(MAX_BYTES + 1))
    problem(refused, 413, "limit.body")


def test_an_upload_reaches_the_service_while_it_arrives(
    http: httpx.Client, service: Service
) -> None:
    work = service.data_dir / "blobs" / "work"

    def pieces() -> Iterator[bytes]:
        yield bytes(1 << 20)
        deadline = time.monotonic() + 20
        while not any(work.glob("*/*")):
            assert time.monotonic() < deadline, "the upload is kept back"
        yield b"and the rest"

    http.post("/v1/files", content=pieces()).raise_for_status()


def test_events_come_as_they_happen(http: httpx.Client, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    began = tmp_path / "pipe.began"
    os.mkfifo(pipe)
    os.mkfifo(began)
    steps = json.dumps({"steps": [{"op": "misbehave", "how": "wait", "pipe": str(pipe)}]})
    job = http.post("/v1/jobs", data={"job": steps}, files={"file": b"x"}).json()
    began.read_text()
    with http.stream("GET", job["links"]["events"]) as events:
        lines = events.iter_lines()
        # The job runs, and ends only when the pipe is written to: this was not held back.
        assert any(line.startswith("data:") and '"running"' in line for line in lines)
        pipe.write_text("go on")
        assert any(line.startswith("data:") and '"done":true' in line for line in lines)


def test_a_request_keeps_its_id_and_its_address(http: httpx.Client, service: Service) -> None:
    answer = http.get("/v1/jobs", headers={"X-Request-Id": "through-nginx"})
    assert answer.headers["X-Request-Id"] == "through-nginx"
    line = json.loads(service.logged("through-nginx"))
    assert line["peer"] == "127.0.0.1"


def test_below_a_path_every_link_leads_back(http: httpx.Client) -> None:
    made = http.post(f"{SUB_PATH}/v1/compress?wait=60", content=b"x" * 999)
    job = done(made)
    assert made.headers["Location"].startswith(f"{SUB_PATH}/v1/jobs/")
    [result] = job["items"][0]["results"]
    for place in (made.headers["Location"], job["links"]["items"], result["href"]):
        assert place.startswith(SUB_PATH)
        assert http.get(place).status_code == 200
    for page in ("docs", "openapi.json"):
        assert http.get(f"{SUB_PATH}/{page}").status_code == 200


def test_it_waits_longer_than_a_request_may() -> None:
    for kind in ("read", "send"):
        [seconds] = re.findall(rf"proxy_{kind}_timeout (\d+)s;", SITE)
        assert int(seconds) > JobSettings().wait_max_s
