"""A folder of 0.2.0 opens: what was over is there, what was not runs to its end."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.errors import QueueFull, StorageError
from app.model.blobs import NamedBlob
from app.model.chunks import Done
from app.model.deliveries import DeliveryStatus
from app.model.jobs import Counts, JobStatus
from app.records import rows
from app.stores import schema
from app.stores.schema import connect, migrate, newest, version_of
from tests.contracts import schema_6
from tests.contracts.backends import SqliteBackend
from tests.contracts.records import Store
from tests.contracts.test_batches import FETCHED
from tests.contracts.test_job_store import blob, new_job

pytestmark = pytest.mark.anyio

UNFINISHED = 3 + 11 + 4 + 2 + 1 + 4


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    made = SqliteBackend(tmp_path)
    yield made
    await made.close()


@pytest.fixture
def older(records: SqliteBackend) -> SqliteBackend:
    schema_6.written(records.path, rows.to_ms(records.clock.now))
    return records


class Logged:
    """What a migration says, and what is done as it says it."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def info(self, event: str, **values: Any) -> None:
        self.lines.append({"event": event} | values)


async def counts(store: Store, job_id: str) -> tuple[JobStatus, Counts]:
    job = await store.get_job(job_id)
    assert job is not None
    return job.status, job.counts


async def test_what_was_over_is_as_it_was(older: SqliteBackend) -> None:
    store = await older.open()
    over = await store.get_job("job_over")
    assert over is not None
    assert (over.status, over.seq) == (JobStatus.PARTIAL, 7)
    assert over.counts == Counts(succeeded=1, failed=1)
    good, bad = (await store.list_items("job_over"))[0]
    assert (good.facts, good.attempt) == ({"image": {"width": 10}}, 1)
    assert [(file.name, file.blob.digest) for file in good.results] == [("out.out", "out")]
    assert bad.problem is not None
    assert (bad.problem.code, bad.attempt) == ("internal.operation", 2)
    for file_id in ("file_result", "file_kept"):
        assert await store.get_file(file_id) is not None
    assert not (await store.submit(new_job(idempotency_key="k", fingerprint="f"))).created
    version = await store.recall("job_over", b"key")
    assert version is not None
    assert (version.blob.key, version.blob.digest) == ("kept", "kept")
    sent = await store.outbox.get("msg_delivered")
    assert sent is not None
    assert (sent.status, sent.attempts[0].answer) == (DeliveryStatus.DELIVERED, "thanks")
    # Nothing that is named has become loose.
    assert await store.loose() == []
    retried = await store.retry("job_over")
    assert retried is not None
    assert retried.counts == Counts(queued=1, succeeded=1)


async def test_what_was_under_way_is_queued_again(older: SqliteBackend) -> None:
    store = await older.open(max_unfinished_items=UNFINISHED + 1)
    assert await counts(store, "job_running") == (
        JobStatus.RUNNING,
        Counts(queued=3, succeeded=1),
    )
    items, _ = await store.list_items("job_running")
    assert [item.started_at for item in items[1:]] == [None] * 3
    # The backlog is known, and so are those who wait behind it.
    store.check_backlog(1)
    with pytest.raises(QueueFull):
        store.check_backlog(2)
    claims = {(c.job_id, c.index): c.attempt for c in await store.claim("cpu", 100)}
    assert claims == {
        ("job_running", 1): 2,
        ("job_running", 2): 4,
        ("job_running", 3): 1,
        ("job_join_held", 1): 1,
        ("job_join_ready", 1): 1,
    }
    due = await store.outbox.due((), None)
    assert [p.id for p in await store.outbox.claim([route.key for route in due])][:1] == [
        "msg_sending"
    ]


async def test_what_was_unfinished_runs_to_its_end(older: SqliteBackend) -> None:
    store = await older.open()
    while await store.purge():
        pass
    hands: list[int] = []
    while claims := [*await store.claim("io", 100), *await store.claim("cpu", 100)]:
        hands.append(sum(claim.job_id == "job_paced" for claim in claims))
        for claim in claims:
            result = FETCHED if claim.url else Done((NamedBlob(blob("r"), "r"),), {})
            assert await store.finish(claim, result)
        if len(claims) == 1 and claims[0].index == 2:
            assert len(claims[0].inputs) == 2
    assert max(hands) == 2
    for job_id, succeeded in (
        ("job_running", 4),
        ("job_paced", 12),
        ("job_twins", 6),
        ("job_join_held", 3),
        ("job_join_ready", 2),
    ):
        expected = (JobStatus.SUCCEEDED, Counts(succeeded=succeeded))
        assert await counts(store, job_id) == expected, job_id
    twins, _ = await store.list_items("job_twins")
    assert [file.name for item in twins[2:] for file in item.results] == ["x", "x", "x", "mine"]
    assert await counts(store, "job_canceling") == (JobStatus.CANCELED, Counts(canceled=5))
    with closing(sqlite3.connect(older.path)) as db:
        for table in ("chunks", "bites"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        assert db.execute("SELECT sum(unfinished) FROM clients").fetchone() == (0,)


async def test_what_was_going_is_gone(older: SqliteBackend) -> None:
    store = await older.open()
    due = {p.id for p in await _taken(store)}
    # Of what its client has deleted nothing is told, of what has expired it is.
    assert due == {"msg_sending", "msg_b"}
    while await store.purge():
        pass
    with closing(sqlite3.connect(older.path)) as db:
        left = db.execute("SELECT id FROM jobs WHERE id NOT LIKE 'job_%'").fetchall()
        told = db.execute("SELECT id FROM deliveries WHERE job_id IN ('job_a', 'job_b')").fetchall()
        orphans = "SELECT count(*) FROM items WHERE job_pk NOT IN (SELECT pk FROM jobs)"
        assert (left, db.execute(orphans).fetchone()) == ([], (0,))
        assert told == [("msg_b",)]
    assert await store.loose() == ["a"]


async def _taken(store: Store) -> list[Any]:
    due = await store.outbox.due((), None)
    return await store.outbox.claim([route.key for route in due])


def test_a_large_one_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Logged()
    monkeypatch.setattr(schema, "log", said)
    monkeypatch.setattr(schema, "BITE_ROWS", 10)
    for name, items in (("small", 10), ("large", 35)):
        schema_6.many(tmp_path / name / "offload.db", 1, items)
        with closing(connect(tmp_path / name / "offload.db")) as db:
            migrate(db)
            assert db.execute("SELECT count(*), max(idx) FROM items").fetchone()[:] == (
                items,
                items - 1,
            )
    assert {(line["event"], line["table"], line["rows"]) for line in said.lines} == {
        ("migrating", "items", 35)
    }
    assert [line["percent"] for line in said.lines] == [29, 57, 86, 100]


def test_one_that_is_killed_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, copy = tmp_path / "records", tmp_path / "copy"
    schema_6.many(folder / "offload.db", 1, 35)

    class Killed(Logged):
        def info(self, event: str, **values: Any) -> None:
            if values["percent"] == 57:
                shutil.copytree(folder, copy)  # what the disk holds in this moment
                raise KeyboardInterrupt

    monkeypatch.setattr(schema, "BITE_ROWS", 10)
    monkeypatch.setattr(schema, "log", Killed())
    with closing(connect(folder / "offload.db")) as db, pytest.raises(KeyboardInterrupt):
        migrate(db)
    monkeypatch.setattr(schema, "log", Logged())
    for path in (folder / "offload.db", copy / "offload.db"):
        with closing(connect(path)) as db:
            assert schema_6.SCHEMA <= version_of(db) < newest()
            migrate(db)
            assert version_of(db) == newest()
            assert db.execute("SELECT count(*) FROM items").fetchone()[0] == 35
            assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []


async def test_an_older_program_refuses_what_a_newer_one_has_written(
    records: SqliteBackend,
) -> None:
    await records.open()
    await records.close()
    with closing(connect(records.path)) as db:
        db.execute(f"PRAGMA user_version = {newest() + 1}")
    with pytest.raises(StorageError, match="newer program"):
        await records.open()
    with closing(connect(records.path)) as db:
        assert version_of(db) == newest() + 1
