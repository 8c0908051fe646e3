"""The whole service with its records in PostgreSQL."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.postgres import Server, running
from tests.service import Service

LARGE = random.Random(3).randbytes(3 << 20)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with running() as server:
        yield server


def env_of(server: Server, database: str, **more: str) -> dict[str, str]:
    return {"OFFLOAD_DATABASE_URL": server.url(database), "OFFLOAD_POOL_WORKERS": "1"} | more


def compressed(http: httpx.Client, *contents: bytes) -> str:
    """Submit files to be compressed; gives the job's id."""
    files = [("files", (f"{n}.txt", content)) for n, content in enumerate(contents)]
    answer = http.post("/v1/compress?format=gzip", files=files)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def results(http: httpx.Client, job_id: str) -> list[bytes]:
    """Wait for a job, and give what its items have become."""
    job = http.get(f"/v1/jobs/{job_id}", params={"wait": 30}).json()
    assert job["status"] == "succeeded", job
    items = http.get(f"/v1/jobs/{job_id}/items").json()["items"]
    return [http.get(item["results"][0]["href"]).content for item in items]


def test_jobs_are_done_and_are_there_after_the_service_and_the_server_were_killed(
    postgres: Server, tmp_path: Path
) -> None:
    env = env_of(postgres, postgres.new_database())
    small = [b"text " * n for n in range(1, 20)]
    service = Service(tmp_path / "data", env)
    with httpx.Client(base_url=service.url, timeout=60) as http:
        first = compressed(http, *small, LARGE)
        assert [gzip.decompress(r) for r in results(http, first)] == [*small, LARGE]
        postgres.stop("immediate")
        postgres.start()
        second = compressed(http, *small)
        assert http.get("/readyz").json()["checks"]["records"] == "ok"
    service.kill()
    with (
        Service.started(tmp_path / "data", env) as service,
        httpx.Client(base_url=service.url, timeout=60) as http,
    ):
        assert [gzip.decompress(r) for r in results(http, first)] == [*small, LARGE]
        assert [gzip.decompress(r) for r in results(http, second)] == small


def refused(data_dir: Path, env: dict[str, str]) -> str:
    """Start a service that must not start; gives what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        env={"OFFLOAD_PORT": "0", "OFFLOAD_DATA_DIR": str(data_dir), "PATH": ""} | env,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_folder_and_a_database_that_are_not_each_others_are_refused(
    postgres: Server, tmp_path: Path
) -> None:
    env = env_of(postgres, postgres.new_database())
    with Service.started(tmp_path / "data", env):
        pass
    assert "does not belong to" in refused(tmp_path / "other", env)
    with (
        Service.started(tmp_path / "data", env) as service,
        httpx.Client(base_url=service.url, timeout=60) as http,
    ):
        results(http, compressed(http, LARGE))
    assert "does not belong to" in refused(
        tmp_path / "data", env_of(postgres, postgres.new_database())
    )
    with Service.started(tmp_path / "sqlite"):
        pass
    assert "records of its own" in refused(tmp_path / "sqlite", env)


def test_a_database_that_cannot_be_used_is_told_in_a_sentence_without_its_password(
    postgres: Server, tmp_path: Path
) -> None:
    for bad in (
        "postgresql://offload:secret@127.0.0.1:1/none",
        postgres.url("none"),
        "mysql://offload:secret@127.0.0.1/none",
        "postgresql://offload:secret@127.0.0.1/none?nonsense=1",
    ):
        said = refused(tmp_path / "data", {"OFFLOAD_DATABASE_URL": bad})
        assert "OFFLOAD_DATABASE_URL" in said
        assert "secret" not in said
