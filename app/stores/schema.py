"""The SQLite database as a file: how it is opened, checked and brought up to date."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import structlog

from app.errors import StorageError
from app.stores.sqlite_tx import STATEMENTS
from app.stores.statements import migrations

log = structlog.get_logger(__name__)

CHECKED_BYTES = 64 << 20
"""As large a database is read through at a start: some tenths of a second."""
BITE_ROWS = 50_000
"""Rows that a large migration copies before it says how far it is."""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the database as this service needs it: WAL, and every commit on disk."""
    db = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=10, cached_statements=256
    )
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        # NORMAL would survive a killed process, FULL also survives the power cut.
        db.execute("PRAGMA synchronous = FULL")
        # Fewer of the pages that all jobs change are written home: a tenth less for each job.
        db.execute("PRAGMA wal_autocheckpoint = 4000")
        db.execute("PRAGMA foreign_keys = ON")
        if read_only:
            db.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        db.close()
        raise
    return db


def version_of(db: sqlite3.Connection) -> int:
    """Give the schema's version: the number of the last migration that it has."""
    [[version]] = db.execute("PRAGMA user_version").fetchall()
    return int(version)


def newest() -> int:
    """Give the version that this program works with."""
    return max(migrations("sqlite"))


def migrate(db: sqlite3.Connection) -> None:
    """Bring the schema up to date: numbered files, forward only, each in one transaction.

    A line `-- in bites: table, column, ...` copies so many rows of `<table>_before` into `<table>`
    at a time, and says how far it is.
    """
    for number, file in migrations("sqlite").items():
        if number > version_of(db):
            db.execute("BEGIN IMMEDIATE")
            try:
                if number > version_of(db):  # nobody else was quicker
                    for part in file.read_text("utf-8").split("-- in bites: "):
                        _run_part(db, number, part)
                    db.execute(f"PRAGMA user_version = {number}")
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise


def _run_part(db: sqlite3.Connection, number: int, part: str) -> None:
    first, _, rest = part.partition("\n")
    if part.startswith("--") or not rest:
        rest = part
    else:
        table, *columns = (name.strip() for name in first.split(","))
        _copy(db, number, table, ", ".join(columns))
    for statement in _statements(rest):
        db.execute(statement)


def _copy(db: sqlite3.Connection, number: int, table: str, columns: str) -> None:
    [[last]] = db.execute(f"SELECT coalesce(max(pk), 0) FROM {table}_before").fetchall()  # noqa: S608 - our own files' names
    copy = (
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}_before "  # noqa: S608
        "WHERE pk > ? AND pk <= ?"
    )
    for start in range(0, last, BITE_ROWS):
        db.execute(copy, (start, start + BITE_ROWS))
        if last > BITE_ROWS:
            percent = round(100 * min(1.0, (start + BITE_ROWS) / last))
            log.info("migrating", schema=number, table=table, rows=last, percent=percent)


def _statements(script: str) -> list[str]:
    """Part a script: not by `executescript`, which would commit what came before."""
    statements, collected = [], ""
    for line in script.splitlines(keepends=True):
        collected += line
        if sqlite3.complete_statement(collected):
            statements.append(collected)
            collected = ""
    return statements


def is_up_to_date(path: Path) -> bool:
    """Tell whether a database is there with nothing that this program would migrate."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            return version_of(db) >= newest()
    except sqlite3.Error:
        return False


def check(db: sqlite3.Connection, path: Path) -> None:
    """See that a database is one that this program can use.

    Raises:
        StorageError: a newer program has written it, or another one altogether; said in a sentence
            for the operator.
        sqlite3.Error: it cannot be read.
    """
    # In this order: another process may be making them.
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    version = version_of(db)
    if version > newest():
        raise StorageError(
            f"{path} was written by a newer program (schema {version}, this one knows "
            f"{newest()}): start that one, or restore a backup made before the upgrade."
        )
    if tables and not (version and {"jobs", "items", "files"} <= tables):
        raise StorageError(f"{path} is not a database of this program.")


def refuse_unusable(path: Path) -> None:
    """Say before anything starts on a database that it cannot be used, and why.

    Up to `CHECKED_BYTES` all of it is read; of a larger one, what its schema takes.

    Raises:
        StorageError: see `check`; or it is damaged, or not to be written to.
    """
    try:
        # Not by `connect`: what belongs to another program is not to be switched to WAL.
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            check(db, path)
            if path.stat().st_size <= CHECKED_BYTES:
                [[found]] = db.execute("PRAGMA quick_check(1)").fetchall()
                if found != "ok":
                    raise sqlite3.DatabaseError(found)
            db.execute(STATEMENTS["write_probe"])
    except sqlite3.Error as error:
        said = str(error).replace("\n", " ")
        raise StorageError(
            f"The database {path} cannot be used: {said}. docs/operating.md says how to restore "
            "a backup."
        ) from error
