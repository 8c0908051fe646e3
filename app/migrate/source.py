"""What is moved: a data folder that no service uses, read from a copy of its database.

The folder itself stays as it is. A copy can be brought up to date where the folder is an older
version's, and its digest is the folder's name: one that has changed has another.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from blake3 import blake3

from app.blobs.disk import object_path
from app.errors import StorageError
from app.model.blobs import Blob
from app.nodes.folder import DATABASE, OBJECTS
from app.stores import schema

TABLES = (
    "jobs", "items", "files", "small", "idempotency_keys", "versions", "deliveries", "attempts",
    "bites", "clients", "chunks", "loose_blobs",
)  # fmt: skip
"""In such an order that no row names one that is not there yet."""
NODES = "nodes"
"""Comes last: those who see them bury them, and have done again what they had under way."""
LEFT_OUT = ("chores", "tally")
"""Leases of a minute, and what an hour was like."""
# Each once, in an order that is always the same. What the records hold themselves comes with them.
_BODIES = """
CREATE TABLE bodies AS
SELECT blob AS key, max(size_bytes) AS size_bytes, min(media_type) AS media_type,
       min(digest) AS digest
FROM (SELECT blob, size_bytes, media_type, digest FROM files
      UNION ALL
      SELECT blob, size_bytes, media_type, digest FROM items WHERE blob IS NOT NULL)
WHERE blob NOT IN (SELECT key FROM small)
GROUP BY blob ORDER BY blob
"""
_PIECE_BYTES = 1 << 20
_FETCHED_ROWS = 200

Values = tuple[object, ...]


class Source:
    """A data folder, and the copy of its database."""

    def __init__(self, folder: Path, db: sqlite3.Connection, digest: str) -> None:
        """Take a copy that is up to date; `digest` names the folder as it is now."""
        self.folder = folder
        self.digest = digest
        self._db = db

    def count(self, table: str) -> int:
        """Count the rows of a table, or the `bodies`."""
        [[n]] = self._db.execute(f"SELECT count(*) FROM {table}")  # noqa: S608 - our own names
        return int(n)

    def columns(self, table: str) -> list[str]:
        """Name the columns of a table."""
        return [name for _, name, *_ in self._db.execute(f"PRAGMA table_info({table})")]

    def rows(self, table: str, skip: int) -> Iterator[Values]:
        """Give the rows of a table after the first so many, always in the same order."""
        found = self._db.execute(
            f"SELECT {', '.join(self.columns(table))} FROM {table} "  # noqa: S608
            f"ORDER BY {self._order(table)} LIMIT -1 OFFSET ?",
            [skip],
        )
        found.row_factory = None
        while some := found.fetchmany(_FETCHED_ROWS):
            yield from some

    def bodies(self, skip: int = 0) -> Iterator[Blob]:
        """Give the large bodies that records name, after the first so many."""
        for key, size_bytes, media_type, digest in self.rows("bodies", skip):
            yield Blob(str(key), int(str(size_bytes)), str(media_type), str(digest))

    def path(self, blob: Blob) -> Path:
        """Give where the folder has a body, if it has it."""
        return object_path(self.folder / OBJECTS, blob.key)

    def last_key(self, table: str) -> int:
        """Give the highest key that a table has given to a row; 0 for none."""
        [[last]] = self._db.execute(f"SELECT coalesce(max(pk), 0) FROM {table}")  # noqa: S608
        ever = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", [table])
        return max([int(last), *(int(seq) for [seq] in ever)])

    def _order(self, table: str) -> str:
        """Say in what order a table's rows lie, so that reading on is no search."""
        found = self._db.execute("SELECT wr FROM pragma_table_list WHERE name = ?", [table])
        if not found.fetchone()[0]:
            return "rowid"
        keys = [(at, name) for _, name, *_, at in self._db.execute(f"PRAGMA table_info({table})")]
        return ", ".join(name for at, name in sorted(keys) if at)


@contextmanager
def opened(folder: Path, work: Path) -> Iterator[Source]:
    """Copy a folder's database to `work`, which goes afterwards, and bring the copy up to date.

    Raises:
        StorageError: the folder has no database that this program can use, or there is no room for
            the copy; with a sentence for the operator.
    """
    path = folder / DATABASE
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            with closing(_copied(path, work / DATABASE)) as db:
                digest = _digest(work / DATABASE)
                schema.migrate(db)
                db.execute(_BODIES)
                yield Source(folder, db, digest)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be moved: {error}.") from error
    except sqlite3.Error as error:
        raise StorageError(f"The database {path} cannot be read: {error}.") from error


def _copied(path: Path, copy: Path) -> sqlite3.Connection:
    # Read-only: one that closes a database otherwise tidies up in it.
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as reading:
        schema.check(reading, path)
        with closing(sqlite3.connect(copy, isolation_level=None)) as writing:
            writing.execute("PRAGMA synchronous = OFF")
            reading.backup(writing)
            [[found]] = writing.execute("PRAGMA quick_check(1)").fetchall()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            writing.execute("PRAGMA journal_mode = DELETE")
    db = schema.connect(copy)
    db.execute("PRAGMA synchronous = OFF")
    return db


def _digest(path: Path) -> str:
    hashed = blake3()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            hashed.update(piece)
    return str(hashed.hexdigest())
