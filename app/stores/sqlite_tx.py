"""A transaction on SQLite, and what SQLite's errors mean."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from app.errors import StorageError, StorageFull
from app.stores import statements
from app.stores.base import READY, Row

STATEMENTS = {
    name: re.sub(r"IN :(\w+)\[\]", r"IN (SELECT value FROM json_each(:\1))", statement.text)
    for name, statement in statements.load("sqlite").items()
}
"""By name, as SQLite takes them."""
_RETURNING = frozenset(name for name, text in STATEMENTS.items() if "RETURNING" in text)


class SqliteTx:
    """`Tx` on one connection."""

    __slots__ = ("_clock", "db", "told")

    def __init__(self, db: sqlite3.Connection, clock: Callable[[], int]) -> None:
        """Run on `db`; `clock` gives milliseconds since the epoch."""
        self.db = db
        self._clock = clock
        self.told: list[tuple[str, Any]] = []

    def run(self, statement: str, **values: Any) -> list[Any]:
        """See `Tx.run`."""
        return self.db.execute(STATEMENTS[statement], values).fetchall()

    def many(self, statement: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """See `Tx.many`."""
        text = STATEMENTS[statement]
        if statement in _RETURNING:
            return [found for row in rows for found in self.db.execute(text, row).fetchall()]
        if rows:
            self.db.executemany(text, rows)
        return []

    def array(self, values: Iterable[Any]) -> str:
        """See `Tx.array`."""
        return json.dumps(list(values))

    def send(self, chunks: Sequence[Row]) -> None:
        """See `Tx.send`: all nodes look at the table."""
        for lane in {chunk["lane"] for chunk in chunks}:
            self.tell(READY, lane)

    def tell(self, topic: str, value: Hashable) -> None:
        """See `Tx.tell`."""
        self.told.append((topic, value))

    def now(self) -> int:
        """See `Tx.now`."""
        return self._clock()


def translated(error: sqlite3.Error) -> StorageError:
    """Say in this service's words what SQLite could not do."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return StorageFull("The disk that records are kept on is full.", log_detail=str(error))
    return StorageError("The record could not be written or read.", log_detail=str(error))
