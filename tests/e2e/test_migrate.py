"""`offload migrate`: a data folder, killed at work, becomes a database and a bucket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import obstore
import psycopg
import pytest

from app.blobs.disk import object_path
from app.blobs.objects import NAME
from app.errors import StorageError
from app.migrate import run
from app.nodes.folder import BUCKET, check_with_postgres, hold
from app.settings import Settings
from app.stores.schema import connect, newest
from tests.api.answers import done
from tests.conftest import LOOPBACK
from tests.e2e.test_backup import referenced
from tests.e2e.test_bucket import env as bucket
from tests.postgres import Server, running
from tests.s3 import bucket_of, shared_s3, storage
from tests.service import Service

KEY = {"Idempotency-Key": "once"}
SMALL = b"small " * 500
LARGE = random.Random(8).randbytes(300_000)
LARGER = random.Random(9).randbytes(6 << 20)
WAITING = 20
SECRET = "whsec_" + base64.b64encode(b"migrate " * 4).decode()
ENV = {"OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK, "OFFLOAD_WEBHOOKS_SECRETS": SECRET}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with running() as server:
        yield server


@dataclass
class Before:
    """A folder whose service was killed, and what its clients knew."""

    folder: Path
    documents: dict[str, Any] = field(default_factory=dict)
    """By path, what was answered: status, ETag, content."""
    waiting: list[str] = field(default_factory=list)
    """Jobs that were not done."""
    told: str = ""
    """The job of which an event is to be sent."""


@dataclass
class Other:
    """A server that takes events, and answers all else once it may."""

    url: str = ""
    came: queue.Queue[Any] = field(default_factory=queue.Queue)
    asked: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)


@pytest.fixture(scope="module")
def other() -> Iterator[Other]:
    found = Other()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.set()
            found.may_answer.wait(60)
            with suppress(OSError):
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def do_POST(self) -> None:
            found.came.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.url = f"http://127.0.0.1:{server.server_port}"
        yield found
        server.shutdown()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, other: Other, origin: str) -> Before:
    """Jobs that are done, one that runs when the service is killed, and some that only wait."""
    found = Before(tmp_path_factory.mktemp("before") / "data")
    with (
        Service.started(found.folder, ENV) as service,
        httpx.Client(base_url=service.url, timeout=60) as http,
    ):
        first = http.post("/v1/compress?wait=30&tag=first", content=SMALL)
        finished = [done(first)]
        finished += [
            done(http.post("/v1/compress?wait=30&tag=t", content=content))
            for content in (LARGE, LARGER)
        ]
        finished.append(done(http.post("/v1/compress?wait=30", content=SMALL, headers=KEY)))
        finished.append(done(http.post("/v1/fetch?wait=30", json={"urls": [f"{origin}/text"] * 2})))
        kept = http.post("/v1/files", content=LARGE, params={"filename": "kept.bin"}).json()
        running = http.post("/v1/fetch", json={"urls": [f"{other.url}/held"]}).json()
        found.waiting.append(running["id"])
        assert other.asked.wait(20)
        service.kill()
    with (
        Service.started(found.folder, ENV | {"OFFLOAD_ROLES": "api"}) as service,
        httpx.Client(base_url=service.url, timeout=60) as http,
    ):
        submit(http, found, f"{other.url}/hook", origin)
        paths = [f"/v1/files/{kept['id']}", f"/v1/files/{kept['id']}/content"]
        for job in finished:
            own = f"/v1/jobs/{job['id']}"
            paths += [own, f"{own}/items", f"{own}/events"]
            paths += [r["href"] for item in job["items"] for r in item["results"]]
        found.documents = {path: answered(http, path) for path in paths}
        service.kill()
    return found


def submit(http: httpx.Client, found: Before, hook: str, origin: str) -> None:
    """Give a service that does no work some jobs, and cancel one."""
    many = [("files", (f"{n}.txt", b"%d" % n * 99)) for n in range(WAITING)]
    found.waiting.append(http.post("/v1/compress?format=gzip", files=many).json()["id"])
    urls = {"urls": [f"{origin}/{n}" for n in range(WAITING)], "concurrency": 2}
    found.waiting.append(http.post("/v1/fetch", json=urls).json()["id"])
    found.waiting.append(http.post("/v1/compress?format=gzip", content=LARGE).json()["id"])
    told = {"urls": [f"{origin}/1"], "webhook": {"url": hook, "events": ["job.canceled"]}}
    job = http.post("/v1/fetch", json=told).json()
    http.post(job["links"]["cancel"]).raise_for_status()
    found.told = job["id"]


def answered(http: httpx.Client, path: str) -> Any:
    answer = http.get(path)
    assert answer.status_code == 200, answer.text
    content = answer.text.replace(str(http.base_url).rstrip("/"), "")
    if "/content" in path:
        content = hashlib.sha256(answer.content).hexdigest()
    return answer.headers.get("ETag"), content


def target(postgres: Server, node: Path, *, in_bucket: bool = True) -> dict[str, str]:
    """Name a new deployment in variables."""
    database = postgres.new_database()
    env = {"OFFLOAD_DATABASE_URL": postgres.url(database), "OFFLOAD_DATA_DIR": str(node)}
    if in_bucket:
        env |= bucket(shared_s3(), f"s3://tests/{database}-{os.getpid()}")
    return ENV | env


def python(env: Mapping[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("OFFLOAD_")}
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        env=own | dict(env),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def migrate(env: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    return python(env, "app", "migrate", "--from", folder)


def refused(env: Mapping[str, str], folder: Path, why: str) -> None:
    """Have it refused, in this process: to start one is a second of work."""
    with pytest.raises(StorageError, match=why):
        migrated(env, folder)


def migrated(env: Mapping[str, str], folder: Path) -> run.Migrated:
    with patch.dict(os.environ, env):
        return asyncio.run(run.migrate(Settings(), env["OFFLOAD_DATABASE_URL"], folder))


def state(folder: Path) -> dict[str, str]:
    """Give all that a folder holds, but for locks and what SQLite needs to read a database."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "lock" not in path.name and path.suffix != ".db-shm"
    }


def assert_the_same(http: httpx.Client, before: Before) -> None:
    for path, known in before.documents.items():
        assert answered(http, path) == known, path
    again = http.post("/v1/compress", content=SMALL, headers=KEY)
    assert f"/v1/jobs/{again.json()['id']}" in before.documents


@contextmanager
def deployed(env: Mapping[str, str]) -> Iterator[httpx.Client]:
    with (
        Service.started(Path(env["OFFLOAD_DATA_DIR"]), env) as service,
        httpx.Client(base_url=service.url, timeout=60) as http,
    ):
        yield http


@pytest.mark.timeout(300)  # ten processes and more, on a busy machine
def test_a_folder_goes_on_elsewhere_however_often_the_move_is_killed(
    before: Before, postgres: Server, tmp_path: Path, other: Other
) -> None:
    untouched = state(before.folder)
    env = target(postgres, tmp_path / "node")
    moved = python(env, "tests.e2e.killed_migrations", before.folder)
    assert moved.returncode == 0, moved.stderr
    kills = json.loads(moved.stdout.splitlines()[-1])
    assert len(kills) >= 8, kills
    assert state(before.folder) == untouched
    # And once more, when there is nothing left to do.
    again = migrate(env, before.folder)
    assert (again.returncode, "had been moved" in again.stdout) == (0, True), again.stderr
    assert again.stderr == ""
    with_its_bucket(env, postgres, before, tmp_path)
    with deployed(env) as http:
        assert_the_same(http, before)
        other.may_answer.set()
        for job in before.waiting:
            done(http.get(f"/v1/jobs/{job}?wait=50"))
        assert other.came.get(timeout=30)["data"]["job_id"] == before.told
        assert len(http.get("/v1/jobs?limit=100").json()["jobs"]) == 5 + len(before.waiting) + 1
        assert state(before.folder) == untouched
        # New keys follow the old ones.
        done(http.post("/v1/compress?wait=30", content=LARGE))
    refused(env, damaged_copy(before, tmp_path), "records of its own")


def with_its_bucket(
    env: Mapping[str, str], postgres: Server, before: Before, tmp_path: Path
) -> None:
    """Move a folder whose bytes are in the bucket already, and not one that has its own."""
    elsewhere = target(postgres, tmp_path / "another")
    kept = env | {name: elsewhere[name] for name in ("OFFLOAD_DATABASE_URL", "OFFLOAD_DATA_DIR")}
    refused(kept, before.folder, "does not belong to OFFLOAD_STORAGE_URL")
    used = Path(shutil.copytree(before.folder, tmp_path / "with-a-bucket"))
    shutil.rmtree(used / "blobs" / "objects")
    (used / BUCKET).write_text("of another bucket")
    refused(kept, used, "does not belong to OFFLOAD_STORAGE_URL")
    there = bucket_of(storage(shared_s3(), env["OFFLOAD_STORAGE_URL"]))
    name = obstore.get(there, NAME).bytes()
    (used / BUCKET).write_bytes(bytes(name))
    told = migrated(kept, used)
    assert (told.bodies, told.missing) == (len(referenced(used)), 0)


def damaged_copy(before: Before, tmp_path: Path) -> Path:
    """Copy the folder, and damage one of its bodies, and lose another."""
    copy = Path(shutil.copytree(before.folder, tmp_path / "copy"))
    keys = sorted(referenced(copy))
    first, second = (object_path(copy / "blobs" / "objects", key) for key in keys[:2])
    first.write_bytes(first.read_bytes()[:-1] + b"?")
    second.unlink()
    with closing(connect(copy / "offload.db")) as db:
        db.execute("UPDATE jobs SET tag = 'copy'")
    return copy


def test_without_a_bucket_bytes_go_to_the_folder_of_the_service(
    before: Before, postgres: Server, tmp_path: Path
) -> None:
    env = target(postgres, tmp_path / "node", in_bucket=False)
    migrated(env, before.folder)
    with deployed(env) as http:
        assert_the_same(http, before)


def test_bodies_that_the_folder_has_lost_are_told(
    before: Before, postgres: Server, tmp_path: Path
) -> None:
    env = target(postgres, tmp_path / "node", in_bucket=False)
    moved = migrate(env, damaged_copy(before, tmp_path))
    assert moved.returncode == 1
    assert re.search(r"migrating +done=(\d+) of=\1 part=items per_s=\d+ percent=100", moved.stderr)
    assert "2 bodies that records name are missing or damaged" in moved.stderr
    stored = [path.name for path in (tmp_path / "node/blobs/objects").glob("*/*")]
    assert len(stored) == len(referenced(before.folder)) - 2


def test_what_cannot_be_moved_is_refused_in_a_sentence(
    before: Before, postgres: Server, tmp_path: Path
) -> None:
    env = target(postgres, tmp_path / "node", in_bucket=False)
    refused(env, tmp_path / "nowhere", "has no database")
    copy = Path(shutil.copytree(before.folder, tmp_path / "used"))
    with hold(copy, ["api"]):
        refused(env, copy, "A service runs on")
    with closing(connect(copy / "offload.db")) as db:
        db.execute(f"PRAGMA user_version = {newest() + 1}")
    refused(env, copy, "newer program")
    with hold(tmp_path / "node", ["work"]):
        refused(env, before.folder, "Another service runs on OFFLOAD_DATA_DIR")
    with psycopg.connect(env["OFFLOAD_DATABASE_URL"]) as records:
        records.execute("INSERT INTO nodes VALUES ('n', 'api', 1, 1)")
    refused(env, before.folder, "A node uses")
    unset = {name: value for name, value in env.items() if "DATABASE" not in name}
    assert migrate(unset, before.folder).returncode == 2
    away = env | {"OFFLOAD_DATABASE_URL": "postgresql://nobody@/none?host=/nowhere"}
    told = migrate(away, before.folder)
    assert (told.returncode, len(told.stderr.splitlines())) == (3, 1), told.stderr
    assert "could not be used" in told.stderr


def test_no_service_starts_on_half_of_it(before: Before, postgres: Server, tmp_path: Path) -> None:
    env = target(postgres, tmp_path / "node", in_bucket=False)
    migrated(env, before.folder)
    with psycopg.connect(env["OFFLOAD_DATABASE_URL"]) as db:
        db.execute("UPDATE offload_migration SET ended = false")
    url = env["OFFLOAD_DATABASE_URL"]
    with pytest.raises(StorageError, match="run `offload migrate` again"):
        check_with_postgres(tmp_path / "node", ["api", "work"], url, bucket=False)
    refused(env, damaged_copy(before, tmp_path), "Another folder than this is being moved")
