"""The SQLite database as a file: how it is opened, its schema, its statements."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from app.errors import StorageError


def _load_statements() -> dict[str, str]:
    statements: dict[str, str] = {}
    for file in resources.files("app.jobs.sql").iterdir():
        if file.name.endswith(".sql") and not file.name[0].isdigit():
            parts = re.split(r"^-- name: (\w+)\n", file.read_text("utf-8"), flags=re.MULTILINE)
            statements |= dict(zip(parts[1::2], parts[2::2], strict=True))
    return statements


STATEMENTS = _load_statements()
"""By name: those of the files in `sql/` that have no number."""
CHECKED_BYTES = 64 << 20
"""As large a database is read through at a start: some tenths of a second."""


def run(db: sqlite3.Connection, statement: str, **values: Any) -> list[sqlite3.Row]:
    """Run a statement by its name; gives the rows that it selects or returns."""
    return db.execute(STATEMENTS[statement], values).fetchall()


def migrate(db: sqlite3.Connection) -> None:
    """Bring the schema up to date: numbered files, forward only, each in one transaction."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    for number, file in _migrations().items():
        if number > version:
            script = file.read_text("utf-8")
            db.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


def check(db: sqlite3.Connection, path: Path) -> None:
    """See that a database is one that this program can use.

    Raises:
        StorageError: a newer program has written it, or another one altogether; said in a sentence
            for the operator.
        sqlite3.Error: it cannot be read.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    newest = max(_migrations())
    if version > newest:
        raise StorageError(
            f"{path} was written by a newer program (schema {version}, this one knows {newest}): "
            "start that one, or restore a backup made before the upgrade."
        )
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
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


def _migrations() -> dict[int, Traversable]:
    files = sorted(resources.files("app.jobs.sql").iterdir(), key=lambda file: file.name)
    return {int(file.name[:4]): file for file in files if re.match(r"\d{4}_", file.name)}


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the database as this service needs it: WAL, and every commit on disk."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        # NORMAL would survive a killed process, FULL also survives the power cut.
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        if read_only:
            db.execute("PRAGMA query_only = ON")
    except sqlite3.Error:
        db.close()
        raise
    return db
