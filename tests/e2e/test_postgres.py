"""The whole service with its records in PostgreSQL."""

from __future__ import annotations

import gzip
import random
import re
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.errors import StorageError
from app.nodes.folder import check_with_postgres
from tests.postgres import Server, running
from tests.service import Service, refused, served_within

SECRET, WRONG = "hunter2", "hunter3"
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


@pytest.fixture(scope="module")
def guarded(postgres: Server) -> str:
    """Give the name of a role that has to give a password, which is SECRET."""
    postgres.execute(f"CREATE ROLE guarded LOGIN PASSWORD '{SECRET}'")
    rules = postgres.folder / "data" / "pg_hba.conf"
    rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
    postgres.execute("SELECT pg_reload_conf()")
    return "guarded"


def test_a_database_that_cannot_be_used_is_told_in_a_sentence_without_its_password(
    postgres: Server, guarded: str, tmp_path: Path
) -> None:
    url = postgres.url(postgres.new_database())
    for bad, said in {
        f"postgresql://offload:{SECRET}@127.0.0.1:1/none": "connection refused",
        f"postgresql://offload:{SECRET}@not-there.invalid/none": "resolve host",
        postgres.url("none"): "does not exist",
        url.replace("postgres@", f"{guarded}:{WRONG}@"): "password authentication failed",
        url.replace("postgres@", f"{guarded}:{SECRET}@"): "permission denied",
    }.items():
        with pytest.raises(StorageError, match=f"(?i)OFFLOAD_DATABASE_URL.*{said}") as told:
            check_with_postgres(tmp_path / "data", ["work"], bad, bucket=False)
        assert "\n" not in told.value.detail
        assert not {SECRET, WRONG} & set(re.split(r"\W", told.value.detail))
    wrong = {"OFFLOAD_DATABASE_URL": url.replace("postgres@", f"{guarded}:{WRONG}@")}
    assert "password" in refused(tmp_path / "data", wrong, WRONG)


@pytest.mark.parametrize(
    "bad",
    [
        f"mysql://offload:{SECRET}@127.0.0.1/none",
        f"postgresql://offload:{SECRET}@127.0.0.1/none?nonsense=1",
        f"postgresql://offload:{SECRET}%@127.0.0.1/none",
        f"postgresql://offload:and@{SECRET}@127.0.0.1/none",
        f"postgresql://offload:{SECRET}/and@127.0.0.1/none",
        f"postgresql://offload:and/{SECRET}@127.0.0.1/none",
    ],
)
def test_a_url_that_is_none_is_not_shown(bad: str, tmp_path: Path) -> None:
    told = served_within(tmp_path, {"OFFLOAD_DATABASE_URL": bad})
    assert told.exit_code == 2
    assert "OFFLOAD_DATABASE_URL: " in told.stderr
    assert SECRET not in told.stderr


def test_a_newer_database_and_an_older_server_are_refused(postgres: Server, tmp_path: Path) -> None:
    database = postgres.new_database()
    with Service.started(tmp_path / "data", env_of(postgres, database)):
        pass
    postgres.execute("UPDATE offload_schema SET version = 1000", database)
    with pytest.raises(StorageError, match="newer program"):
        check_with_postgres(tmp_path / "data", ["work"], postgres.url(database), bucket=False)
    with (
        said_to_be(postgres, b"14.9") as url,
        pytest.raises(StorageError, match=r"is PostgreSQL 14\.9; 15 is the oldest"),
    ):
        check_with_postgres(tmp_path / "other", ["work"], url, bucket=False)


@contextmanager
def said_to_be(server: Server, version: bytes) -> Iterator[str]:
    """Give a URL at which the server says that it has this version."""
    [[own]] = server.execute("SHOW server_version")
    begun = b"server_version\0"
    told, instead = begun + own.encode(), begun + version.ljust(len(own))
    door = socket.create_server(("127.0.0.1", 0))

    def relay() -> None:
        client, _ = door.accept()
        with client, socket.socket(socket.AF_UNIX) as there:
            there.connect(str(server.folder / ".s.PGSQL.5432"))
            while ready := select.select([client, there], [], [], 20)[0]:
                source, target = (client, there) if client in ready else (there, client)
                if not (data := source.recv(1 << 16)):
                    return
                target.sendall(data.replace(told, instead))

    between = threading.Thread(target=relay, daemon=True)
    between.start()
    with door:
        port = door.getsockname()[1]
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
    between.join(20)
