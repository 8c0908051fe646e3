"""The SQLite database as a file: how it is opened, its schema, its statements."""

from __future__ import annotations

import re
import sqlite3
from importlib import resources
from pathlib import Path
from typing import Any


def _load_statements() -> dict[str, str]:
    statements: dict[str, str] = {}
    for file in resources.files("app.jobs.sql").iterdir():
        if file.name.endswith(".sql") and not file.name[0].isdigit():
            parts = re.split(r"^-- name: (\w+)\n", file.read_text("utf-8"), flags=re.MULTILINE)
            statements |= dict(zip(parts[1::2], parts[2::2], strict=True))
    return statements


STATEMENTS = _load_statements()
"""By name: those of the files in `sql/` that have no number."""


def run(db: sqlite3.Connection, statement: str, **values: Any) -> list[sqlite3.Row]:
    """Run a statement by its name; gives the rows that it selects or returns."""
    return db.execute(STATEMENTS[statement], values).fetchall()


def migrate(db: sqlite3.Connection) -> None:
    """Bring the schema up to date: numbered files, forward only, each in one transaction."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    folder = resources.files("app.jobs.sql")
    for name in sorted(f.name for f in folder.iterdir() if re.match(r"\d{4}_", f.name)):
        number = int(name[:4])
        if number > version:
            script = folder.joinpath(name).read_text("utf-8")
            db.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


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
