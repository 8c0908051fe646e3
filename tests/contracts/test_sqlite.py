"""What the SQLite store promises beyond the contract: group commit, durability, its schema."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from app.errors import NotFound, QueueFull, StorageError, StorageFull
from app.model.jobs import Job, NewItem
from app.model.marks import Marks
from app.records import intake
from app.stores.schema import connect, migrate
from app.stores.sqlite_tx import SqliteTx
from app.stores.statements import migrations
from tests.contracts.backends import SqliteBackend, files_end_at, pragma
from tests.contracts.records import Store
from tests.contracts.test_job_store import job_now, new_job, settle, submitted

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_item_a_chunk")]


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    made = SqliteBackend(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def store(records: SqliteBackend) -> Store:
    return await records.open()


@asynccontextmanager
async def one_group(store: Store) -> AsyncIterator[None]:
    """Have all calls that are begun in the context commit together."""
    held, gate = threading.Event(), threading.Event()

    def hold(_: SqliteTx) -> None:
        held.set()
        gate.wait()

    holding = asyncio.create_task(store.db.write(hold))
    await asyncio.to_thread(held.wait)
    try:
        yield
        await settle()
    finally:
        gate.set()
        await holding


async def test_an_acknowledged_write_is_on_the_disk(store: Store) -> None:
    assert await pragma(store, "journal_mode") == "wal"
    assert await pragma(store, "synchronous") == 2  # FULL
    assert await pragma(store, "foreign_keys") == 1


async def test_readers_cannot_write(store: Store) -> None:
    with pytest.raises(StorageError):
        await store.db.read(lambda tx: tx.run("delete_job", job_pk=1))


async def test_a_call_that_fails_does_not_undo_its_neighbours(store: Store) -> None:
    unknown = new_job(NewItem(file_id="file_unknown"))
    async with one_group(store):
        calls = [
            asyncio.create_task(store.submit(new)) for new in (new_job(), unknown, new_job()) * 3
        ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(one, NotFound) for one in outcomes] == [False, True, False] * 3
    assert len((await store.list_jobs("shop"))[0]) == 6


async def test_calls_of_one_group_share_a_commit(store: Store) -> None:
    commits: list[str] = []
    await store.db.write(lambda tx: tx.db.set_trace_callback(commits.append))
    async with one_group(store):
        calls = [asyncio.create_task(submitted(store)) for _ in range(40)]
    await asyncio.gather(*calls)
    await store.db.write(lambda tx: tx.db.set_trace_callback(None))
    # The call that set the trace, the one that held the group up, and the group.
    assert commits.count("COMMIT") == 3


async def test_short_calls_share_commits_a_few_at_a_time(store: Store) -> None:
    commits: list[str] = []
    await store.db.write(lambda tx: tx.db.set_trace_callback(commits.append))
    async with one_group(store):
        calls = [
            asyncio.create_task(store.db.note(intake.submit, new_job(), 99)) for _ in range(40)
        ]
    made = await asyncio.gather(*calls)
    await store.db.write(lambda tx: tx.db.set_trace_callback(None))
    assert len({one.job.id for one in made}) == 40
    # The call that set the trace, the one that held the group up, and 16, 16 and 8.
    assert commits.count("COMMIT") == 5


async def test_a_short_call_that_fails_does_not_undo_its_neighbours(store: Store) -> None:
    unknown = new_job(NewItem(file_id="file_unknown"))
    async with one_group(store):
        calls = [
            asyncio.create_task(store.db.note(intake.submit, new, 99))
            for new in (new_job(), unknown, new_job()) * 3
        ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(one, NotFound) for one in outcomes] == [False, True, False] * 3
    assert len((await store.list_jobs("shop"))[0]) == 6


async def test_a_listener_that_fails_holds_no_write_up(store: Store) -> None:
    def failing(_: object) -> None:
        raise RuntimeError("A bug.")

    store.db.listen(failing)
    for _ in range(2):
        assert (await store.submit(new_job())).created
        assert (await store.db.note(intake.submit, new_job(), 99)).created


async def test_the_loop_does_not_wait_for_another_process_that_writes(
    records: SqliteBackend, store: Store
) -> None:
    other = connect(records.path)
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        submitting = asyncio.create_task(store.db.note(intake.submit, new_job(), 99))
        await settle()  # which would take the ten seconds of SQLite's patience
        assert not submitting.done()
        other.execute("COMMIT")
        assert (await submitting).created


async def test_what_does_not_fit_on_the_disk_does_not_undo_its_neighbours(
    records: SqliteBackend, store: Store
) -> None:
    large = new_job(marks=Marks(metadata={"text": "x" * 1_000_000}))
    job = await submitted(store)
    async with records.full(store):
        async with one_group(store):
            calls = [asyncio.create_task(store.submit(large))]
            calls += [asyncio.create_task(store.claim("cpu", 1))]
            calls += [asyncio.create_task(store.submit(large))]
        refused, claims, too = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(refused, StorageFull)
    assert isinstance(too, StorageFull)
    assert isinstance(claims, list)
    assert [claim.job_id for claim in claims] == [job.id]
    assert await store.claim("cpu", 1) == []


async def test_a_group_too_large_for_the_disk_is_written_call_by_call(
    records: SqliteBackend, store: Store
) -> None:
    large = new_job(marks=Marks(metadata={"text": "x" * 1_000_000}))
    job = await submitted(store)
    log = records.path.with_name("offload.db-wal")
    with files_end_at(log.stat().st_size + 300_000):
        async with one_group(store):
            calls = [asyncio.create_task(store.submit(large))]
            calls += [asyncio.create_task(store.claim("cpu", 1))]
            calls += [asyncio.create_task(store.submit(large))]
        refused, claims, too = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(refused, StorageError)
    assert isinstance(too, StorageError)
    assert isinstance(claims, list)
    assert [claim.job_id for claim in claims] == [job.id]
    assert (await store.list_jobs("shop"))[0] == [await job_now(store, job)]


async def test_a_disk_that_takes_no_more_is_reported_and_nothing_is_half_written(
    records: SqliteBackend, store: Store
) -> None:
    job = await submitted(store)
    log = records.path.with_name("offload.db-wal")
    with files_end_at(log.stat().st_size):
        made = await asyncio.gather(*(submitted(store) for _ in range(5)), return_exceptions=True)
        assert {type(one) for one in made} <= {StorageError, StorageFull}
        with pytest.raises(StorageError):
            await store.check_writable()
        assert await job_now(store, job) == job
        assert (await store.list_jobs("shop"))[0] == [job]
    await store.check_writable()
    assert isinstance(await submitted(store), Job)
    store.check_backlog(store.most - 2)
    with pytest.raises(QueueFull):
        store.check_backlog(store.most - 1)


async def test_the_schema_is_made_once_and_brought_forward(tmp_path: Path) -> None:
    def schema(db: sqlite3.Connection) -> list[tuple[str, ...]]:
        return [tuple(row) for row in db.execute("SELECT name, sql FROM sqlite_schema")]

    db = connect(tmp_path / "offload.db")
    try:
        migrate(db)
        made = schema(db)
        version = db.execute("PRAGMA user_version").fetchone()[0]
        assert version >= 1
        assert {"jobs", "items", "files", "idempotency_keys"} <= {name for name, _ in made}
        migrate(db)
        assert schema(db) == made
        assert db.execute("PRAGMA user_version").fetchone()[0] == version
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    finally:
        db.close()


async def test_closing_leaves_one_file_with_everything_in_it(records: SqliteBackend) -> None:
    store = await records.open()
    job = await submitted(store)
    await asyncio.gather(*(job_now(store, job) for _ in range(20)))
    await store.close()
    assert [path.name for path in records.path.parent.iterdir()] == ["offload.db"]


async def test_a_call_of_a_closed_store_is_refused(records: SqliteBackend) -> None:
    store = await records.open()
    await store.close()
    with pytest.raises(StorageError):
        await submitted(store)


@pytest.mark.parametrize("obstacle", ["file", "garbage"])
async def test_a_place_that_cannot_be_used_is_a_storage_error(
    tmp_path: Path, obstacle: str
) -> None:
    if obstacle == "file":
        (tmp_path / "records").write_text("in the way")
    else:
        (tmp_path / "records").mkdir()
        (tmp_path / "records" / "offload.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageError) as refusal:
        await SqliteBackend(tmp_path).open()
    assert refusal.type is StorageError


async def test_what_an_earlier_version_wrote_that_is_no_json_is_told_as_json(
    store: Store, records: SqliteBackend
) -> None:
    made = await submitted(store)
    with closing(sqlite3.connect(records.path)) as db:
        db.execute("UPDATE jobs SET metadata = ?", ('{"a": [NaN, -Infinity, 1]}',))
        db.commit()
    assert (await job_now(store, made)).marks.metadata == {"a": [None, None, 1]}


async def test_nothing_is_written_down_that_is_no_json(store: Store) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        await store.submit(new_job(marks=Marks(metadata={"a": float("nan")})))


async def test_the_digests_of_an_older_folder_are_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "offload.db"
    older = [file for number, file in migrations("sqlite").items() if number <= 6]
    with closing(connect(path)) as db:
        for file in older:
            db.executescript(file.read_text("utf-8"))
        db.executescript("""
            PRAGMA user_version = 6;
            INSERT INTO files VALUES (1, 'file_1', 'shop', 'aa', 'n', 'x/y', 1, NULL, NULL, NULL,
                                      1, NULL);
            INSERT INTO jobs (pk, id, client, status, seq, steps, metadata, queued, retention_ms,
                              created_ms) VALUES (1, 'job_1', 'shop', 'queued', 1, '[]', '{}', 2,
                                                  1, 1);
            INSERT INTO items (job_pk, idx, status, seq, lane, priority, name, blob)
            VALUES (1, 0, 'queued', 1, 'cpu', 0, 'n', 'b3-bb'),
                   (1, 1, 'queued', 1, 'io', 0, '', NULL);
            INSERT INTO versions VALUES ('shop', x'00', 'cc', 'x/y', 1, '{}', 1);
        """)
        migrate(db)
        told = [
            db.execute(f"SELECT blob, digest FROM {table}").fetchall()
            for table in ("files", "items", "versions")
        ]
        assert [[tuple(row) for row in rows] for rows in told] == [
            [("aa", "aa")],
            [("b3-bb", "b3-bb"), (None, None)],
            [("cc", "cc")],
        ]
        assert db.execute("SELECT * FROM loose_blobs").fetchall() == []
