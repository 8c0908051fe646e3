"""The statements of the records: one name each, all valid, the hot ones on their indexes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app import stores
from app.stores import statements
from app.stores.schema import connect, migrate
from app.stores.sqlite_tx import STATEMENTS

FOUND = statements.load("sqlite")
HOT = [name for name, statement in FOUND.items() if statement.indexes]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    with closing(connect(tmp_path_factory.mktemp("statements") / "offload.db")) as made:
        migrate(made)
        yield made


def explained(db: sqlite3.Connection, name: str, how: str) -> list[str]:
    values = dict.fromkeys(re.findall(r"(?<!:):(\w+)", STATEMENTS[name]))
    return [str(row[3]) for row in db.execute(f"{how} {STATEMENTS[name]}", values)]


@pytest.mark.parametrize("name", sorted(FOUND))
def test_a_statement_fits_the_schema(db: sqlite3.Connection, name: str) -> None:
    explained(db, name, "EXPLAIN")


def test_every_statement_is_used() -> None:
    texts = [path.read_text() for path in (Path(stores.__file__).parent.parent).rglob("*.py")]
    unused = [name for name in FOUND if not any(f'"{name}"' in text for text in texts)]
    assert unused == []


@pytest.mark.parametrize("name", HOT)
def test_a_hot_statement_leans_on_its_indexes(db: sqlite3.Connection, name: str) -> None:
    plan = explained(db, name, "EXPLAIN QUERY PLAN")
    used = " ".join(plan)
    assert [index for index in FOUND[name].indexes if not re.search(rf"\b{index}\b", used)] == []
    scanned = [
        line
        for line in plan
        if line.startswith("SCAN") and not re.search("json_each|clients|CONSTANT ROW", line)
    ]
    assert scanned == []


@pytest.mark.parametrize(
    ("name", "index"),
    {
        "waiting_by_client": "chunks_ready",
        "under_way": "chunks_taken",
        "deliveries_waiting": "deliveries_due",
        "deliveries_sent_now": "deliveries_sending",
        "deliveries_given_up": "deliveries_dead",
        "latest_dead": "deliveries_dead",
    }.items(),
)
def test_a_look_reads_the_first_entries_of_an_index(
    db: sqlite3.Connection, name: str, index: str
) -> None:
    plan = explained(db, name, "EXPLAIN QUERY PLAN")
    assert any(re.search(rf"\b{index}\b", line) for line in plan)
    assert "LIMIT" in STATEMENTS[name]
    tables = {"chunks", "jobs", "items", "deliveries"}
    assert not [line for line in plan if line.removeprefix("SCAN ") in tables]


def test_what_is_hot_is_said_to_be() -> None:
    chunks = {"ready_chunks", "take_chunk", "chunk_items", "held_chunks", "drop_chunks"}
    others = {"lock_jobs", "put_job", "insert_item", "live_items", "end_item", "results_of"}
    assert chunks | others | {"due", "take", "sending", "seqs", "get_file"} <= set(HOT)


def test_two_statements_of_one_name_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, name in (("common", "one"), ("sqlite", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.sql").write_text(f"-- name: {name}\nSELECT 1;\n")
    (tmp_path / "sqlite" / "0001_first.sql").write_text("-- name: one\nSELECT 1;\n")
    monkeypatch.setattr(statements, "SQL", tmp_path)
    assert set(statements.load("sqlite")) == {"one", "two"}
    (tmp_path / "sqlite" / "b.sql").write_text("-- name: one\n-- index: x, y\nSELECT 2;\n")
    with pytest.raises(ValueError, match="'one'"):
        statements.load("sqlite")
