"""Two versions of the program on one data folder: the older refuses it, the newer takes it over."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sqlite3
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from app.blobs.disk import object_path
from app.nodes.folder import DATABASE, OBJECTS
from app.stores.schema import newest, version_of
from tests.api.test_auth import KEYS, serve
from tests.conftest import LOOPBACK
from tests.contracts import schema_6
from tests.service import Service

COMPRESS = {"op": "compress", "params": {"format": "gzip", "level": "balanced"}}
TEXT, RESULT = b"what came in " * 9_000, b"what became of it " * 9_000
PAGES = 3
ENV = {
    "OFFLOAD_API_KEYS": json.dumps(KEYS),
    "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
}


# -- the older one ---------------------------------------------------------------------------------


def test_an_older_worker_refuses_the_folder_of_a_newer_api_which_goes_on(tmp_path: Path) -> None:
    with Service.started(tmp_path / "data", {"OFFLOAD_ROLES": "api"}) as newer:
        path, known = newer.data_dir / DATABASE, newest()
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA user_version = {known + 1}")
            refused = serve(newer.data_dir, OFFLOAD_ROLES="work")
            assert refused.returncode == 3
            assert refused.stderr == (
                f"{path} was written by a newer program (schema {known + 1}, this one knows "
                f"{known}): start that one, or restore a backup made before the upgrade.\n"
            )
            made = httpx.post(f"{newer.url}/v1/compress", content=TEXT)
            assert made.status_code == 202
            assert httpx.get(newer.url + made.headers["Location"]).json()["status"] == "queued"
            assert version_of(db) == known + 1


# -- the newer one ---------------------------------------------------------------------------------


def stored(data_dir: Path, content: bytes) -> str:
    """Store bytes as 0.2.0 did, by their digest; gives their key."""
    key = hashlib.sha256(content).hexdigest()
    path = object_path(data_dir / OBJECTS, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return key


def leave_behind(data_dir: Path, origin: str) -> None:
    """Write what 0.2.0 leaves when it is killed: one job over, two of which something runs."""
    folder = schema_6.Folder(data_dir / DATABASE, time.time_ns() // 1_000_000)
    done = {"status": "succeeded", "attempt": 1, "facts": "{}", "finished_ms": folder.now_ms}
    running = {"status": "running"}
    given = schema_6.upload(stored(data_dir, TEXT), size_bytes=len(TEXT))
    steps = {"steps": json.dumps([COMPRESS])}
    with closing(folder.db):
        [item] = folder.job("job_over", [given | done], **steps, status="succeeded")
        result = {"job_pk": 1, "item_pk": item, "position": 0, "size_bytes": len(RESULT)}
        folder.file("file_result", stored(data_dir, RESULT), **result)
        folder.job("job_running", [given | running, given], **steps)
        urls = [{"url": f"{origin}/{n}", "lane": "io", "name": ""} for n in range(PAGES)]
        folder.job(
            "job_joining",
            [urls[0] | running, *urls[1:], {"joins": 1, "name": "", "lane": "join"}],
            steps=json.dumps([schema_6.FETCH, schema_6.PACK]),
            join_at=1,
        )


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory, origin: str) -> Iterator[httpx.Client]:
    """A client of this program's service, on a folder of 0.2.0."""
    data_dir = tmp_path_factory.mktemp("versions") / "data"
    leave_behind(data_dir, origin)
    key = {"Authorization": f"Bearer {KEYS['shop']}"}
    with (
        Service.started(data_dir, ENV) as service,
        httpx.Client(base_url=service.url, headers=key, timeout=90) as client,
    ):
        yield client


def results(http: httpx.Client, job_id: str) -> list[bytes]:
    job = http.get(f"/v1/jobs/{job_id}?wait=60").json()
    assert job["status"] == "succeeded", job
    files = [file for item in job["items"] for file in item["results"]]
    return [http.get(file["href"]).raise_for_status().content for file in files]


def test_what_0_2_0_has_finished_is_served(http: httpx.Client) -> None:
    assert http.get("/v1/jobs/job_over").json()["done"]
    assert results(http, "job_over") == [RESULT]


def test_what_0_2_0_has_not_finished_runs(http: httpx.Client) -> None:
    assert [gzip.decompress(made) for made in results(http, "job_running")] == [TEXT, TEXT]


def test_what_0_2_0_was_to_join_is_fetched_and_joined(http: httpx.Client) -> None:
    with zipfile.ZipFile(io.BytesIO(results(http, "job_joining")[-1])) as joined:
        content = sorted(joined.read(name) for name in joined.namelist())
    assert content == [b"page %d" % n for n in range(PAGES)]
