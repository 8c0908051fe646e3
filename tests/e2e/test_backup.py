"""`offload backup`, of a service at work; and what a start on the copy, or on ruins, comes to."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from blake3 import blake3

from app.backup import back_up
from app.blobs.base import BlobSettings
from app.blobs.disk import DiskBlobStore, object_path
from app.blobs.keeping import Removals, nothing_removed
from app.errors import StorageError
from app.model.blobs import BLAKE3_PREFIX, NamedBlob
from app.model.jobs import NewItem, NewJob, Step
from app.stores.sqlite import SqliteDatabase
from app.stores.sqlite_tx import STATEMENTS
from tests.api.answers import done
from tests.api.test_auth import serve
from tests.contracts.records import Store
from tests.service import Service

# The superuser may write what is read-only, unless that right is taken from it.
AS_EVERYBODY = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []


def offload_backup(data_dir: Path, target: Path) -> subprocess.CompletedProcess[str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("OFFLOAD_")}
    return subprocess.run(
        [sys.executable, "-m", "app", "backup", str(target)],
        env=own | {"OFFLOAD_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def referenced(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "offload.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [key for (key,) in db.execute(STATEMENTS["referenced_blobs"])]


def digests(folder: Path) -> dict[str, str]:
    with closing(sqlite3.connect(folder / "offload.db")) as db:
        items = "SELECT blob, digest FROM items WHERE blob IS NOT NULL"
        return dict(db.execute(f"SELECT blob, digest FROM files UNION {items}"))


def assert_whole(folder: Path) -> int:
    """Every record's bytes are there, and are what it says; gives how many there are."""
    keys, told = referenced(folder), digests(folder)
    for key in keys:
        content = object_path(folder / "blobs" / "objects", key).read_bytes()
        digest = (
            blake3(content).hexdigest()
            if told[key].startswith(BLAKE3_PREFIX)
            else hashlib.sha256(content).hexdigest()
        )
        assert told[key].removeprefix(BLAKE3_PREFIX) == digest
    return len(keys)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of a service that took jobs and removed some while it was made."""
    folder = tmp_path_factory.mktemp("backup")
    stop = threading.Event()
    with Service.started(folder / "data") as service:

        def keep_busy(number: int) -> None:
            chance = random.Random(number)
            with httpx.Client(base_url=service.url, timeout=60) as client:
                while not stop.is_set():
                    content = chance.randbytes(100_000)
                    job = done(client.post("/v1/compress?wait=30&tag=busy", content=content))
                    if chance.random() < 0.5:
                        client.delete(job["links"]["self"]).raise_for_status()

        with httpx.Client(base_url=service.url, timeout=60) as client:
            for number in range(20):
                content = random.Random(number).randbytes(100_000)  # no value: it is a file
                done(client.post("/v1/compress?wait=30&tag=before", content=content))
        busy = [threading.Thread(target=keep_busy, args=(number,)) for number in range(3)]
        for thread in busy:
            thread.start()
        made = offload_backup(service.data_dir, folder / "copy")
        stop.set()
        for thread in busy:
            thread.join()
        assert made.returncode == 0, made.stderr
        assert "Backed up" in made.stdout
        assert " 0 of them copied" in made.stdout
    return folder / "copy"


def test_a_copy_of_a_busy_service_is_whole(copy: Path) -> None:
    assert assert_whole(copy) >= 40


def test_a_service_on_the_copy_gives_what_the_first_one_had(copy: Path, tmp_path: Path) -> None:
    restored = tmp_path / "data"
    shutil.copytree(copy, restored)
    with (
        Service.started(restored) as service,
        httpx.Client(base_url=service.url, timeout=60) as client,
    ):
        jobs = client.get("/v1/jobs?tag=before&limit=200").raise_for_status().json()["jobs"]
        assert len(jobs) == 20
        for job in jobs:
            items = client.get(f"/v1/jobs/{job['id']}/items").json()["items"]
            [result] = items[0]["results"]
            answer = client.get(result["href"]).raise_for_status()
            assert len(answer.content) == result["size_bytes"]
        done(client.post("/v1/compress?wait=30", content=b"and it works"))


@pytest.mark.anyio
async def test_no_record_of_a_copy_is_without_its_bytes(tmp_path: Path) -> None:
    """Records and bytes come and go as fast as they can, with no grace, while it is made."""
    jobs = Store(SqliteDatabase(tmp_path / "data" / "offload.db"), 100_000)
    blobs = DiskBlobStore(tmp_path / "data" / "blobs", BlobSettings(min_free_bytes=0))
    await jobs.open()
    await blobs.open()
    stop = asyncio.Event()
    removed = 0

    async def chunks(content: bytes) -> AsyncIterator[bytes]:
        yield content

    async def come_and_go(number: int) -> None:
        nonlocal removed
        chance = random.Random(number)
        while not stop.is_set():
            blob = await blobs.put(chunks(chance.randbytes(200)), 1000)
            items = (NewItem(upload=NamedBlob(blob, "x.bin")),)
            new = NewJob("shop", (Step("compress"),), items, retention_s=60)
            job = (await jobs.submit(new)).job
            if chance.random() < 0.8:
                await jobs.delete_job(job.id)
                for key in await jobs.unreferenced([blob.key]):
                    removed += await blobs.delete(key)

    busy = [asyncio.create_task(come_and_go(number)) for number in range(8)]
    for number in range(5):
        target = tmp_path / f"copy{number}"
        made = await asyncio.to_thread(back_up, tmp_path / "data", target)
        assert made.missing == 0
        assert made.copied == 0
        await asyncio.to_thread(assert_whole, target)
    stop.set()
    await asyncio.gather(*busy)
    assert removed
    await jobs.close()
    await blobs.close()


def test_nothing_is_removed_while_a_backup_holds_the_folder(tmp_path: Path) -> None:
    removals, others = Removals(tmp_path), Removals(tmp_path)
    with nothing_removed(tmp_path), removals.allowed() as allowed:
        assert not allowed
    with removals.allowed() as allowed, others.allowed() as too:
        assert allowed
        assert too
    removals.close()
    others.close()


@pytest.fixture
def data_dir(tmp_path: Path, copy: Path) -> Path:
    """A data folder that no service runs on."""
    return Path(shutil.copytree(copy, tmp_path / "data"))


def test_what_cannot_be_linked_is_copied(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_disk(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", another_disk)
    made = back_up(data_dir, tmp_path / "copy")
    assert made.copied == made.files > 0
    assert assert_whole(tmp_path / "copy")


def test_a_target_that_is_not_empty_or_is_in_the_way_is_refused(
    data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    for target in (tmp_path / "full", data_dir / "blobs" / "copy", tmp_path / "full" / "precious"):
        refused = offload_backup(data_dir, target)
        assert refused.returncode == 3
        assert "Traceback" not in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["precious"]
    nothing = offload_backup(tmp_path / "nowhere", tmp_path / "copy")
    assert nothing.returncode == 3
    assert not (tmp_path / "nowhere").exists()


def test_bytes_that_the_service_has_lost_are_told(data_dir: Path, tmp_path: Path) -> None:
    object_path(data_dir / "blobs" / "objects", referenced(data_dir)[0]).unlink()
    made = offload_backup(data_dir, tmp_path / "copy")
    assert made.returncode == 1
    assert "1 files that records point at were missing" in made.stderr


# -- refused starts ------------------------------------------------------------------------------


def overwrite(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 9999")


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE somebody_elses (x)")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


RUINS = {
    "newer": (newer, "newer program"),
    "foreign": (foreign, "not a database of this program"),
    "not a database": (lambda path: path.write_bytes(b"hello" * 2000), "not a database"),
    "cut short": (lambda path: os.truncate(path, path.stat().st_size // 2), "cannot be used"),
    "cut to nothing": (lambda path: os.truncate(path, 0), "missing or empty"),
    "gone": (lambda path: path.unlink(), "missing or empty"),
    "a page overwritten": (lambda path: overwrite(path, 8192, b"\xff" * 4096), "cannot be used"),
    "a folder": (a_folder, "cannot be used"),
    "read-only": (lambda path: path.chmod(0o400), "cannot be used"),
}


@pytest.mark.parametrize("ruin", RUINS)
def test_a_start_on_ruins_is_refused_in_a_sentence_and_changes_nothing(
    ruin: str, data_dir: Path
) -> None:
    spoil, why = RUINS[ruin]
    path = data_dir / "offload.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    objects = sorted((data_dir / "blobs").rglob("*/*/*"))
    refused = serve(data_dir, *AS_EVERYBODY)
    assert refused.returncode == 3, refused.stderr
    assert why in refused.stderr
    assert "offload.db" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert (path.read_bytes() if path.is_file() else None) == before
    assert sorted((data_dir / "blobs").rglob("*/*/*")) == objects


def test_the_store_itself_refuses_them_too(data_dir: Path) -> None:
    newer(data_dir / "offload.db")
    with pytest.raises(StorageError, match="newer program"):
        back_up(data_dir, data_dir / "copy")
