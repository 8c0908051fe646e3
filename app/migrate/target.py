"""Where records go: a PostgreSQL database that has none of its own, and that no node uses.

How far it is stands in the database, and changes in the transaction that writes the rows: whatever
happens to the process, who goes on finds each row written once, or not at all. Until it is at its
end no service starts on the database (`stores/postgres_schema.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg.sql import SQL, Identifier

from app.errors import StorageError
from app.migrate.source import NODES, TABLES, Values
from app.stores import postgres_schema
from app.stores.postgres_link import DEFAULTS
from app.stores.postgres_schema import MIGRATING, MIGRATION
from app.stores.postgres_tx import adapt

COUNTED = (*TABLES, NODES)


@dataclass(frozen=True, slots=True)
class Place:
    """How far a migration is."""

    source: str
    """The folder's digest."""
    schema: int
    """The version of the program that began it."""
    part: str
    """What is being moved: `bodies`, or a table; all before it has been."""
    done: int
    """Of that part."""
    missing: int
    """Bodies that the folder itself had no longer, or not as they were stored."""
    ended: bool


class Target:
    """A connection to the database that records are moved to."""

    def __init__(self, url: str) -> None:
        """Connect. Raises `psycopg.Error`."""
        said: dict[str, Any] = {**DEFAULTS, **conninfo.conninfo_to_dict(url)}
        self._db: psycopg.Connection[Any] = psycopg.connect(**said, autocommit=True)
        adapt(self._db.adapters)

    def close(self) -> None:
        """Leave the database."""
        self._db.close()

    def place(self) -> Place | None:
        """Give how far a migration into this database is; None if none has begun.

        An empty database is made ready for one.

        Raises:
            StorageError: it cannot take one, or one has begun with another version's program.
        """
        if self._there(MIGRATION):
            [found] = self._db.execute(
                "SELECT source, schema, part, done, missing, ended FROM offload_migration"
            )
            place = Place(*found)
            if not place.ended and place.schema != postgres_schema.newest():
                raise StorageError(
                    "Another version of this program has begun to move records into the database "
                    "of OFFLOAD_DATABASE_URL; have that one go on."
                )
            return place
        postgres_schema.bring_up_to_date(self._db)
        self._check_empty()
        return None

    def tie(self, folder: str, is_new: bool) -> bool:
        """Tie the database to its bytes: see `postgres_schema.tie`."""
        return postgres_schema.tie(self._db, folder, is_new)

    def begin(self, source: str, part: str) -> Place:
        """Begin with a part. Raises as `place` does: somebody may have been quicker."""
        place = Place(source, postgres_schema.newest(), part, 0, 0, ended=False)
        with self._db.transaction():
            # Who starts a node waits, and then finds that it must not.
            self._db.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATING])
            if self._there(MIGRATION):
                raise _moved_by_another()
            self._check_empty()
            self._db.execute(
                "CREATE TABLE offload_migration (source text NOT NULL, schema bigint NOT NULL, "
                "part text NOT NULL, done bigint NOT NULL, missing bigint NOT NULL, "
                "ended boolean NOT NULL)"
            )
            self._db.execute(
                "INSERT INTO offload_migration VALUES (%s, %s, %s, 0, 0, false)",
                [place.source, place.schema, place.part],
            )
        return place

    def copy(self, place: Place, columns: Sequence[str], rows: Sequence[Values]) -> Place:
        """Write more rows of the place's table; gives the place behind them."""
        with self._db.transaction():
            self._check_unused()
            self._copy(place.part, columns, rows)
            return self._moved(place, replace(place, done=place.done + len(rows)))

    def advance(self, place: Place, to: Place) -> Place:
        """Note that it is further."""
        with self._db.transaction():
            return self._moved(place, to)

    def end(
        self,
        place: Place,
        nodes: tuple[Sequence[str], Sequence[Values]],
        keys: Mapping[str, int],
        counts: Mapping[str, int],
    ) -> Place:
        """Write the nodes, have new keys follow the old ones, and let services start.

        Args:
            place: where it is: all else has been written.
            nodes: the columns and the rows of those that the folder knows.
            keys: by table, the highest key that was ever given.
            counts: by table, how many rows there must be.
        """
        with self._db.transaction():
            self._check_unused()
            self._copy(NODES, *nodes)
            for table, last in keys.items():
                self._db.execute(
                    "SELECT setval(pg_get_serial_sequence(%s, 'pk'), greatest(%s, 1), %s)",
                    [table, last, last > 0],
                )
            for table, expected in counts.items():
                self._check_count(table, expected)
            # The first plans are to know of so many rows.
            self._db.execute(SQL("ANALYZE {}").format(SQL(", ").join(map(Identifier, COUNTED))))
            return self._moved(place, replace(place, ended=True))

    # -- in a transaction ----------------------------------------------------------------------

    def _copy(self, table: str, columns: Sequence[str], rows: Iterable[Values]) -> None:
        names = SQL(", ").join(map(Identifier, columns))
        statement = SQL("COPY {} ({}) FROM STDIN").format(Identifier(table), names)
        with self._db.cursor().copy(statement) as copying:
            for row in rows:
                copying.write_row(row)

    def _moved(self, place: Place, to: Place) -> Place:
        done = self._db.execute(
            "UPDATE offload_migration SET part = %s, done = %s, missing = %s, ended = %s "
            "WHERE source = %s AND part = %s AND done = %s AND NOT ended",
            [to.part, to.done, to.missing, to.ended, place.source, place.part, place.done],
        )
        if not done.rowcount:
            raise _moved_by_another()
        return to

    def _check_empty(self) -> None:
        for table in COUNTED:
            if self._some(table):
                raise StorageError(
                    "The database of OFFLOAD_DATABASE_URL has records of its own; name an empty "
                    "one." if table != NODES else _IN_USE
                )  # fmt: skip

    def _check_unused(self) -> None:
        if self._some(NODES):
            raise StorageError(_IN_USE)

    def _check_count(self, table: str, expected: int) -> None:
        [[n]] = self._db.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table)))
        if n != expected:
            raise StorageError(
                f"{table} has {n} rows in the database of OFFLOAD_DATABASE_URL, and {expected} in "
                "the folder: something else writes there. Begin anew, with an empty database."
            )

    def _some(self, table: str) -> bool:
        query = SQL("SELECT EXISTS (SELECT FROM {})").format(Identifier(table))
        [[found]] = self._db.execute(query)
        return bool(found)

    def _there(self, table: str) -> bool:
        [[found]] = self._db.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
        return bool(found)


_IN_USE = (
    "A node uses the database of OFFLOAD_DATABASE_URL, or was killed there: stop it; after one "
    "that was killed, start and stop another."
)


def _moved_by_another() -> StorageError:
    return StorageError(
        "Another process moves records into the database of OFFLOAD_DATABASE_URL; let it end."
    )
