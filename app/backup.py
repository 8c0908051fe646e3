"""A copy of everything that a service has stored, made while it runs.

Nothing is removed from the store meanwhile (`app/blobs/keeping.py`). The database comes first, as
it is at one moment (SQLite's online backup); then all bytes that are there. A record is written
after its bytes, so the bytes of every record of that moment were there before it, and still are.
What came later is in the copy too, and no record of the copy names it: the service that is started
on the copy removes it like any other orphan.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from app.blobs.disk import object_path, sync_folder
from app.blobs.keeping import nothing_removed
from app.errors import StorageError
from app.nodes.folder import BLOBS, BUCKET, DATABASE, OBJECTS
from app.stores import schema
from app.stores.sqlite_tx import STATEMENTS

_PARTIAL = ".partial"
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)
"""Another disk, or a file system that has no links, or no more of them for this file."""


@dataclass(slots=True)
class BackedUp:
    """What a backup consists of."""

    files: int = 0
    size_bytes: int = 0
    copied: int = 0
    """Of the files: those that could not be linked."""
    missing: int = 0
    """Files of which the service itself has no bytes any more."""


def back_up(data_dir: Path, target: Path, *, bytes_too: bool = True) -> BackedUp:
    """Copy a data folder, in use or not, into a folder that is empty or is made.

    Without `bytes_too`, for which there is a bucket, only the records.

    The database gets its name last: a folder without one is no backup, whatever is in it.

    Raises:
        StorageError: the data folder has no usable database, the target is not empty or lies among
            the bytes, or a disk failed.
    """
    try:
        _prepare(data_dir, target)
        done = BackedUp()
        partial = target / (DATABASE + _PARTIAL)
        with nothing_removed(data_dir / BLOBS):
            _copy_database(data_dir / DATABASE, partial)
            if bytes_too:
                _take_objects(data_dir / OBJECTS, target / OBJECTS, done)
            elif (data_dir / BUCKET).exists():
                shutil.copy2(data_dir / BUCKET, target / BUCKET)
        if bytes_too:
            done.missing = _missing(partial, target / OBJECTS)
        partial.rename(target / DATABASE)
        sync_folder(target)
    except OSError as error:
        raise StorageError(f"The backup failed: {error}.") from error
    except sqlite3.Error as error:
        raise StorageError(f"The database could not be copied: {error}.") from error
    return done


def _prepare(data_dir: Path, target: Path) -> None:
    if not (data_dir / DATABASE).is_file():
        raise StorageError(f"OFFLOAD_DATA_DIR {data_dir} has no database; there is nothing to do.")
    if target.resolve().is_relative_to((data_dir / BLOBS).resolve()):
        raise StorageError(f"{target} is among the bytes that are to be backed up.")
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise StorageError(f"{target} is not empty; name a new folder.")


def _copy_database(source: Path, target: Path) -> None:
    """Copy it in one step: in WAL mode that keeps no writer waiting."""
    with closing(schema.connect(source, read_only=True)) as reading:
        schema.check(reading, source)
        with closing(sqlite3.connect(target, isolation_level=None)) as writing:
            writing.execute("PRAGMA synchronous = FULL")
            reading.backup(writing)
            [[found]] = writing.execute("PRAGMA quick_check(1)").fetchall()
    if found != "ok":
        raise StorageError(f"The database is damaged: {found}.")


def _take_objects(source: Path, target: Path, done: BackedUp) -> None:
    for folder in sorted(source.iterdir()):
        own = target / folder.name
        own.mkdir(parents=True)
        with os.scandir(folder) as entries:
            for entry in entries:
                done.size_bytes += entry.stat().st_size
                done.files += 1
                done.copied += _take(Path(entry.path), own / entry.name)
        sync_folder(own)
    sync_folder(target)


def _take(source: Path, target: Path) -> bool:
    """Link a file, or copy it, durably, where that is not possible; tells if it was copied."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        return False
    shutil.copy2(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return True


def _missing(copy: Path, objects: Path) -> int:
    with closing(schema.connect(copy, read_only=True)) as db:
        keys = (row["blob"] for row in db.execute(STATEMENTS["referenced_blobs"]))
        return sum(not object_path(objects, key).exists() for key in keys)
