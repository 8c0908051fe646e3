"""A folder of 0.2.0 moves to PostgreSQL: row by row what it is once it is brought up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.errors import StorageError
from app.migrate import run, source
from app.migrate.source import LEFT_OUT, NODES, TABLES
from app.nodes.folder import BUCKET
from app.settings import Settings
from app.stores.schema import connect, migrate, version_of
from tests.contracts import schema_6
from tests.postgres import Server

pytestmark = pytest.mark.anyio

NOW_MS = 1_800_000_000_000
ODD = "a\0b\x01c\t\\N\n\u2028\N{PILE OF POO}"
KEYED = ("jobs", "items", "files", "deliveries", "bites", "chunks")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "before" / "offload.db"
    schema_6.written(path, NOW_MS)
    with closing(connect(path)) as db:
        db.execute("UPDATE items SET name = ?, progress_total = 1 << 62 WHERE pk = 1", [ODD])
        db.execute("INSERT INTO loose_blobs VALUES ('loose')")
    return path.parent


@pytest.fixture
def moved(postgres: Server, tmp_path: Path) -> Iterator[tuple[Settings, psycopg.Connection[Any]]]:
    url = postgres.url(postgres.new_database())
    with psycopg.connect(url, autocommit=True) as db:
        yield Settings(database_url=url, data_dir=tmp_path / "node"), db


async def moving(settings: Settings, folder: Path) -> run.Migrated:
    assert settings.database_url is not None
    return await run.migrate(settings, settings.database_url.get_secret_value(), folder)


def test_every_table_moves_or_is_left_out_for_a_reason() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db)
        query = (
            "SELECT name FROM pragma_table_list WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        )
        found = {name for [name] in db.execute(query)}
    assert found == {*TABLES, NODES, *LEFT_OUT}


@pytest.mark.parametrize("batch", [1, 7, 20_000])
async def test_an_older_folder_moves_as_it_would_be_opened(
    folder: Path,
    moved: tuple[Settings, psycopg.Connection[Any]],
    batch: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "BATCH_ROWS", batch)
    settings, there = moved
    told = await moving(settings, folder)
    with closing(connect(folder / "offload.db")) as here:
        assert version_of(here) == schema_6.SCHEMA
        migrate(here)
        assert told.rows == sum(len(rows_of(here, table)) for table in TABLES)
        assert told.missing == len(bodies_of(here))  # that folder has none
        for table in (*TABLES, NODES):
            expected = rows_of(here, table)
            names = ", ".join(expected[0].keys()) if expected else "*"
            found = there.execute(f"SELECT {names} FROM {table}".encode()).fetchall()
            assert sorted(map(repr, found)) == sorted(map(as_kept, expected)), table
    for table in KEYED:
        given = there.execute(f"SELECT nextval('{table}_pk_seq')".encode()).fetchall()
        assert given == [(source_key(folder, table) + 1,)], table


def rows_of(db: sqlite3.Connection, table: str) -> list[Any]:
    return db.execute(f"SELECT * FROM {table}").fetchall()


def bodies_of(db: sqlite3.Connection) -> set[str]:
    named = "SELECT blob FROM files UNION SELECT blob FROM items WHERE blob IS NOT NULL"
    return {key for [key] in db.execute(named)}


def as_kept(row: Any) -> str:
    """Spell a row as PostgreSQL gives it: its text holds no NUL."""
    escaped = (
        value.replace("\x01", "\x011").replace("\0", "\x010") if isinstance(value, str) else value
        for value in row
    )
    return repr(tuple(escaped))


def source_key(folder: Path, table: str) -> int:
    with source.opened(folder, folder / "work") as found:
        return found.last_key(table)


async def test_a_folder_that_was_used_with_a_bucket_has_to_be_moved_with_it(
    folder: Path, moved: tuple[Settings, psycopg.Connection[Any]]
) -> None:
    settings, there = moved
    (folder / BUCKET).write_text("name")
    with pytest.raises(StorageError, match="set OFFLOAD_STORAGE_URL to it"):
        await moving(settings, folder)
    assert there.execute("SELECT to_regclass('offload_migration')").fetchall() == [(None,)]
