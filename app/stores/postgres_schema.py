"""The PostgreSQL database as it must be: its schema, checked and brought up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, cast

import psycopg
from psycopg import conninfo

from app.errors import StorageError
from app.stores.statements import migrations

MIGRATING = 0x0FF10AD
"""The advisory lock of whoever brings the schema up to date: the others wait."""
MIGRATION = "offload_migration"
"""The table in which `offload migrate` notes how far it is."""

OLDEST = 15
"""The oldest major version of PostgreSQL that this program is tested with."""


@cache
def newest() -> int:
    """Give the version that this program works with."""
    return max(migrations("postgres"))


def bring_up_to_date(
    db: psycopg.Connection[Any],
    install: Callable[[psycopg.Connection[Any]], None] | None = None,
) -> None:
    """Check the database, and make or migrate its schema: all in one transaction.

    `install` is called in it too.

    Who starts beside others waits for them, and finds nothing left to do.

    Raises:
        StorageError: a newer program has written it, or another one altogether, or it is not one
            for Unicode, or of too old a server, or records are still being moved there; said in a
            sentence for the operator.
        psycopg.Error: it cannot be read or written to.
    """
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATING])
        version = _checked(db)
        if version < newest():
            # Who writes has read the version: all of them end first, and the next see the new one.
            db.execute("LOCK TABLE offload_schema IN ACCESS EXCLUSIVE MODE")
        for number, file in migrations("postgres").items():
            if number > version:
                db.execute(cast("Any", file.read_text("utf-8")))
                db.execute("UPDATE offload_schema SET version = %s", [number])
        if install is not None:
            install(db)


@contextmanager
def usable(url: str) -> Iterator[Callable[[str, bool], bool]]:
    """Bring a database up to date before anything starts on it; gives what `tie` does with it.

    Raises:
        StorageError: it cannot be reached, does not let this program in, or is not one of its own;
            said in a sentence for the operator.
    """
    try:
        with psycopg.connect(conninfo.make_conninfo(url, connect_timeout=5)) as db:
            bring_up_to_date(db)
            yield partial(tie, db)
    except psycopg.Error as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise StorageError(
            f"The database of OFFLOAD_DATABASE_URL cannot be used: {said[0]}"
        ) from error


def tie(db: psycopg.Connection[Any], folder: str, is_new: bool) -> bool:
    """Tie the database to the folder that has its large bytes; False if it is another one's.

    `is_new`: there are no bytes in it, so it may be given to a database that has no folder yet.
    """
    with db.transaction():
        [[known]] = db.execute("SELECT folder FROM offload_schema FOR UPDATE").fetchall()
        if known is None and is_new:
            db.execute("UPDATE offload_schema SET folder = %s", [folder])
            return True
        return bool(known == folder)


def _checked(db: psycopg.Connection[Any]) -> int:
    """Give the version of a database that can be used; 0: it is empty."""
    name = db.info.dbname
    if db.info.server_version < OLDEST * 10_000:
        old = db.info.parameter_status("server_version")
        raise StorageError(
            f"The server of OFFLOAD_DATABASE_URL is PostgreSQL {old}; {OLDEST} is the oldest "
            "version that this program works with."
        )
    if db.info.parameter_status("server_encoding") != "UTF8":
        raise StorageError(f"The database {name} is not encoded in UTF-8; make one that is.")
    found = db.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    tables = {table for [table] in found}
    if "offload_schema" not in tables:
        if tables & {"jobs", "items", "files"}:
            raise StorageError(f"The database {name} has tables of another program.")
        db.execute(
            "CREATE TABLE offload_schema AS SELECT 0::bigint AS version, NULL::text AS folder"
        )
    [[version]] = db.execute("SELECT version FROM offload_schema").fetchall()
    if version > newest():
        raise StorageError(
            f"The database {name} was written by a newer program (schema {version}, this one knows "
            f"{newest()}): start that one, or restore a backup made before the upgrade."
        )
    if MIGRATION in tables and db.execute("SELECT FROM offload_migration WHERE NOT ended").rowcount:
        raise StorageError(
            f"Not all records have been moved into the database {name} yet: run `offload migrate` "
            "again, to its end."
        )
    return int(version)
