"""One process that takes requests and one that works, on one folder; and either of them gone."""

from __future__ import annotations

import gzip
import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.api.answers import answer_on, connect, head
from tests.api.conftest import HeldOrigin
from tests.api.test_auth import serve
from tests.conftest import LOOPBACK
from tests.load.nodes import APART, Nodes
from tests.service import Service

FETCHES = 3
ENV = {
    "OFFLOAD_FETCH_CONCURRENCY": str(FETCHES),
    "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
    "OFFLOAD_DRAIN_TIMEOUT_S": "0.2",
}
JOBS = 20
Check = Callable[[httpx.Client], None]


@contextmanager
def at_work(folder: Path) -> Iterator[Nodes]:
    both = Nodes(folder / "data", ENV, APART)
    try:
        both.start()
        yield both
        both.stop()
    finally:
        both.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Both processes, for all tests that leave them at work."""
    with at_work(tmp_path_factory.mktemp("roles")) as both:
        yield both


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Both processes, for a test that ends them."""
    with at_work(tmp_path) as both:
        yield both


@pytest.fixture
def http(shared: Nodes) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared.url, timeout=90) as client:
        yield client


@pytest.fixture
def held() -> Iterator[HeldOrigin]:
    origin = HeldOrigin()
    yield origin
    origin.close()


def waited(client: httpx.Client, job_id: str) -> dict:
    job = client.get(f"/v1/jobs/{job_id}?wait=60").json()
    assert job["done"], job
    return job


def results(client: httpx.Client, job_id: str) -> list[bytes]:
    items = client.get(f"/v1/jobs/{job_id}/items?limit=100").json()["items"]
    return [client.get(result["href"]).content for item in items for result in item["results"]]


# -- one takes, the other works --------------------------------------------------------------------


def test_what_the_one_takes_the_other_works_on_and_the_wait_ends(
    http: httpx.Client, text: bytes, origin: str
) -> None:
    small = http.post("/v1/compress?wait=60", content=b"small").json()
    large = http.post("/v1/compress?wait=60", content=text).json()
    urls = http.post("/v1/fetch?wait=60", json={"urls": [f"{origin}/{n}" for n in range(40)]})
    assert [job["status"] for job in (small, large, urls.json())] == ["succeeded"] * 3
    assert [gzip.decompress(one) for one in results(http, small["id"])] == [b"small"]
    assert [gzip.decompress(one) for one in results(http, large["id"])] == [text]
    assert results(http, urls.json()["id"]) == [b"page %d" % n for n in range(40)]


def test_a_stream_of_events_tells_of_what_happens_in_the_other(
    http: httpx.Client, held: HeldOrigin
) -> None:
    job = http.post("/v1/fetch", json={"urls": [f"{held.url}/held", f"{held.url}/ok"]}).json()
    with http.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        lines = events.iter_lines()
        assert any("item" in line for line in lines)
        held.let_go()
        told = list(lines)
    assert any('"succeeded"' in line for line in told)
    assert waited(http, job["id"])["status"] == "succeeded"


def test_what_is_canceled_here_stops_there(http: httpx.Client, held: HeldOrigin) -> None:
    urls = [f"{held.url}/held?{n}" for n in range(FETCHES)]
    job = http.post("/v1/fetch", json={"urls": urls}).json()
    held.wait_for(requests=FETCHES)  # every slot is taken
    canceled = http.post(f"/v1/jobs/{job['id']}/cancel").json()
    assert canceled["status"] == "canceled"
    other = http.post("/v1/fetch?wait=60", json={"urls": [f"{held.url}/ok"]}).json()
    assert other["status"] == "succeeded"


def test_who_works_only_answers_how_it_is_and_nothing_else(shared: Nodes) -> None:
    working = shared.running("work")
    with httpx.Client(base_url=working.url) as client:
        assert client.get("/livez").json() == {"status": "alive"}
        assert set(client.get("/readyz").json()["checks"]) == {
            "records", "blobs", "pool", "runner", "courier",
        }  # fmt: skip
        for path in ("/v1/jobs", "/v1/operations", "/docs", "/openapi.json", "/v1/compress"):
            assert client.get(path).status_code == 404
        assert client.post("/v1/compress", content=b"x").status_code == 404
    with httpx.Client(base_url=shared.url) as client:
        assert set(client.get("/readyz").json()["checks"]) == {"records", "blobs"}


def test_a_role_is_one_processs(shared: Nodes) -> None:
    for roles in ("api", "work", "api,work"):
        refused = serve(shared.data_dir, OFFLOAD_ROLES=roles)
        assert refused.returncode == 3
        assert refused.stderr.strip() == (
            f"Another service runs on OFFLOAD_DATA_DIR {shared.data_dir}; give this one its own."
        )
    shared.kill(("work",))
    shared.start()


# -- either is gone --------------------------------------------------------------------------------


def submit_all(nodes: Nodes, text: bytes, origin: str, gone_after: int, gone: str) -> list[str]:
    """Submit with 8 clients, and kill one process after so many acknowledgements; gives the ids."""
    ids: list[str] = []

    def one(number: int) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            try:
                if number % 3:
                    answer = client.post("/v1/compress?level=best", content=text + b"%d" % number)
                else:
                    urls = [f"{origin}/{number * 20 + n}" for n in range(20)]
                    answer = client.post("/v1/fetch", json={"urls": urls}, headers={})
            except httpx.TransportError:
                return  # never acknowledged
        assert answer.status_code == 202, answer.text
        ids.append(answer.json()["id"])
        if len(ids) == gone_after:
            nodes.kill((gone,))

    url = nodes.url
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(one, range(JOBS)))
    return ids


@pytest.mark.parametrize("gone", APART)
def test_kill_9_of_either_while_both_are_busy_loses_nothing(
    nodes: Nodes, text: bytes, origin: str, gone: str
) -> None:
    ids = submit_all(nodes, text, origin, JOBS // 2, gone)
    assert len(ids) >= JOBS // 2
    nodes.start()
    with httpx.Client(base_url=nodes.url, timeout=90) as client:
        for job_id in ids:
            job = waited(client, job_id)
            assert job["status"] == "succeeded", job
            assert job["counts"]["succeeded"] == job["counts"]["total"]
            for content in results(client, job_id):
                assert content.startswith(b"page ") or gzip.decompress(content).startswith(text)
        listed = client.get("/v1/jobs?limit=200").json()["jobs"]
        assert {job["id"] for job in listed} >= set(ids)
        assert all(waited(client, job["id"]) for job in listed)


def test_sigterm_of_who_works_gives_back_what_the_next_one_ends(
    nodes: Nodes, held: HeldOrigin, photo: bytes
) -> None:
    with httpx.Client(base_url=nodes.url, timeout=90) as http:
        urls = http.post(
            "/v1/fetch", json={"urls": [f"{held.url}/held?{n}" for n in range(FETCHES)]}
        ).json()
        files = [("file", (f"{n}.txt", photo * 4)) for n in range(6)]
        packed = http.post("/v1/compress?format=zstd&level=19", files=files).json()
        held.wait_for(requests=FETCHES)
        assert nodes.running("work").stop() == 0
        for job in (urls, packed):
            now = http.get(f"/v1/jobs/{job['id']}").json()
            assert not now["done"]
            assert now["counts"]["running"] == 0
        held.let_go()
        nodes.start()
        for job in (urls, packed):
            assert waited(http, job["id"])["status"] == "succeeded"
        assert "Traceback" not in nodes.running("work").log.read_text()


def test_sigterm_of_who_takes_answers_who_waits_and_the_work_goes_on(
    nodes: Nodes, held: HeldOrigin
) -> None:
    document = json.dumps({"urls": [f"{held.url}/held"]}).encode()
    lines = ("Content-Type: application/json", f"Content-Length: {len(document)}")
    with connect(nodes.url) as connection:
        connection.sendall(head("POST", "/v1/fetch?wait=60", *lines) + document)
        held.wait_for(requests=1)
        api = nodes.running("api")
        api.process.send_signal(signal.SIGTERM)
        answer = answer_on(connection)
        assert answer.status_code == 202
        assert not answer.json()["done"]
    assert api.stop() == 0
    held.let_go()
    nodes.start()
    with httpx.Client(base_url=nodes.url, timeout=90) as client:
        job = waited(client, answer.json()["id"])
        assert job["status"] == "succeeded"
        [item] = client.get(f"/v1/jobs/{job['id']}/items").json()["items"]
        assert item["attempt"] == 1  # nobody has interrupted it


def test_a_service_that_takes_waits_for_one_that_works(tmp_path: Path) -> None:
    with Service.started(tmp_path / "data", ENV | {"OFFLOAD_ROLES": "api"}) as api:
        job = httpx.post(f"{api.url}/v1/compress?wait=0.1", content=b"x").json()
        assert job["status"] == "queued"
        with Service.started(tmp_path / "data", ENV | {"OFFLOAD_ROLES": "work"}):
            assert httpx.get(f"{api.url}/v1/jobs/{job['id']}?wait=60", timeout=90).json()["done"]


# -- what the records say of it --------------------------------------------------------------------


def test_work_is_queued_by_what_it_is_estimated_to_take(tmp_path: Path, photo: bytes) -> None:
    """As uploads and as stored files: many small ones a chunk, large ones each in one."""
    data = tmp_path / "data"
    kinds = ((b"small", "compress", 20), (bytes(4 << 20), "compress", 3), (photo, "optimize", 3))
    with (
        Service.started(data, {"OFFLOAD_ROLES": "api"}) as service,
        httpx.Client(base_url=service.url, timeout=60) as http,
    ):
        for content, door, n in kinds:
            files = [("files", (str(number), content)) for number in range(n)]
            assert http.post(f"/v1/{door}", files=files).status_code == 202
            stored = [http.post("/v1/files", content=content).json() for _ in range(n)]
            named = {"file_ids": [file["id"] for file in stored]}
            assert http.post(f"/v1/{door}", json=named).status_code == 202
    with closing(sqlite3.connect(data / "offload.db")) as db:
        rows = db.execute("SELECT job_pk, n FROM chunks ORDER BY pk").fetchall()
    cut = [[n for job, n in rows if job == key] for key in sorted({job for job, _ in rows})]
    assert cut == [[16, 4], [16, 4], *[[1, 1, 1]] * 4]
