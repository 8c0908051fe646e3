"""Writes of a service that fail: the n-th of a kind, and as many behind it as asked.

A test has the service started by this module instead of by `app` (`program`), and says through a
small shared file what is to fail from when on. It looks like what a disk does: calls of `os` on
files of the data folder raise `OSError`, SQLite's statements what SQLite raises. Bytes that worker
processes write, and SQLite itself, are made to fail by a full disk: see `test_failing_writes.py`.
"""

from __future__ import annotations

import errno
import mmap
import os
import runpy
import sqlite3
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

KINDS = ("write", "sync", "name", "statement", "commit")
"""Bytes to a file, a file or folder to disk, a name in a folder, a row, a transaction."""
ERRORS = (errno.ENOSPC, errno.EIO)
OS_CALLS = {
    "write": ("write", "posix_fallocate"),
    "sync": ("fsync", "fdatasync"),
    "name": ("open", "replace", "rename", "link", "mkdir"),
}
WRITING = ("INSERT", "UPDATE", "DELETE", "REPLACE")
_FIELDS = struct.Struct(f"{4 + len(KINDS)}q")
"""The kind (its number, or -1), calls until the first that fails, how many fail, their errno; and
of each kind how many have failed."""


class Faults:
    """What is to fail, shared by a test and the service that it has started."""

    def __init__(self, path: Path) -> None:
        """Begin with nothing that fails, or with what is there already."""
        if not path.exists():
            path.write_bytes(_FIELDS.pack(-1, 0, 0, 0, *[0] * len(KINDS)))
        self._path = path
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _FIELDS.size)

    @property
    def program(self) -> tuple[str, ...]:
        """Arguments of Python that start the service so."""
        return ("-m", "tests.load.faults", str(self._path))

    def arm(self, kind: str, nth: int, count: int, number: int) -> None:
        """Let the n-th call of a kind from now, from 1, fail with an errno, and so many in all."""
        _, _, _, _, *hits = _FIELDS.unpack(self._shared)
        _FIELDS.pack_into(self._shared, 0, KINDS.index(kind), nth, count, number, *hits)

    def disarm(self) -> None:
        """Let everything work again."""
        _, _, _, _, *hits = _FIELDS.unpack(self._shared)
        _FIELDS.pack_into(self._shared, 0, -1, 0, 0, 0, *hits)

    def hits(self) -> dict[str, int]:
        """Tell how many calls of each kind have failed so far."""
        _, _, _, _, *hits = _FIELDS.unpack(self._shared)
        return dict(zip(KINDS, hits, strict=True))

    # -- in the service ----------------------------------------------------------------------

    def armed(self, kind: str) -> bool:
        """Tell whether calls of this kind are counted."""
        return struct.unpack_from("q", self._shared)[0] == KINDS.index(kind)

    def strike(self, kind: str) -> int:
        """Count a call; gives the errno that it fails with, 0 for none."""
        index, nth, count, number, *hits = _FIELDS.unpack(self._shared)
        if index != KINDS.index(kind) or count == 0:
            return 0
        if nth > 1:
            _FIELDS.pack_into(self._shared, 0, index, nth - 1, count, number, *hits)
            return 0
        hits[index] += 1
        _FIELDS.pack_into(self._shared, 0, index, 1, count - 1, number, *hits)
        return int(number)


def _install(faults: Faults, folder: str) -> None:
    for kind, names in OS_CALLS.items():
        for name in names:
            setattr(os, name, _failing(faults, folder, kind, getattr(os, name)))
    plain = sqlite3.connect

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            self._strike(sql)
            return super().execute(sql, *values)

        def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
            self._strike(sql)
            return super().executemany(sql, *values)

        def _strike(self, sql: str) -> None:
            word = _first_word(sql)
            kind = "commit" if word == "COMMIT" else "statement" if word in WRITING else None
            if kind and faults.armed(kind) and (number := faults.strike(kind)):
                full = number == errno.ENOSPC
                if full and self.in_transaction:
                    super().execute("ROLLBACK")  # SQLite does so by itself
                error = sqlite3.OperationalError(
                    "database or disk is full" if full else "disk I/O error"
                )
                error.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR
                raise error

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        return plain(*args, factory=Connection, **options)

    sqlite3.connect = connect  # type: ignore[assignment]


def _failing(
    faults: Faults, folder: str, kind: str, call: Callable[..., Any]
) -> Callable[..., Any]:
    def wrapped(target: Any, *args: Any, **options: Any) -> Any:
        # Opening what is there already writes nothing.
        writes = call.__name__ != "open" or (args and args[0] & os.O_CREAT)
        ours = writes and faults.armed(kind) and _path(target).startswith(folder)
        if ours and (number := faults.strike(kind)):
            raise OSError(number, os.strerror(number))
        return call(target, *args, **options)

    return wrapped


def _path(target: Any) -> str:
    link = Path(f"/proc/self/fd/{target}")
    return str(link.readlink()) if isinstance(target, int) else os.fspath(target)


def _first_word(sql: str) -> str:
    lines = (line for line in sql.splitlines() if line.strip() and not line.startswith("--"))
    return next(lines, "").split(maxsplit=1)[0].upper() if sql.strip() else ""


if __name__ == "__main__":
    _install(Faults(Path(sys.argv.pop(1))), os.environ["OFFLOAD_DATA_DIR"])
    runpy.run_module("app", run_name="__main__")
