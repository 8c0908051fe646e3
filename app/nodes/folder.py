"""A data folder: what is in it, and which processes may use it at once."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.errors import StorageError
from app.stores.schema import is_up_to_date, refuse_unusable

DATABASE = "offload.db"
BLOBS = "blobs"
OBJECTS = Path(BLOBS, "objects")
"""What there is in a data folder."""
LOCK = "lock"
TIED = "database"
"""In a folder of which the records are in PostgreSQL: the name that the two have in common."""
BUCKET = "bucket"
"""In a folder of which the large bytes are in a bucket: the name that the two have in common."""
PATIENCE_S = 5.0
"""For another process that starts at the same time and brings the database up to date."""
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Held:
    """A folder in use."""

    lock: IO[str]

    def share(self) -> None:
        """The database is up to date: let others that know this version in."""
        fcntl.flock(self.lock, fcntl.LOCK_SH)


@contextmanager
def hold(
    data_dir: Path,
    roles: Iterable[str],
    up_to_date: Callable[[Path], bool] = lambda data_dir: is_up_to_date(data_dir / DATABASE),
) -> Iterator[Held]:
    """Use a data folder in some roles, each of which one process at a time has.

    While the database has an older version than this program's, nobody else may use it: who knew
    only that one would go on with what is there no more. Services before 0.3 let nobody in.

    Raises:
        StorageError: the folder cannot be used, or another service uses it; with a sentence for
            the operator.
    """
    with ExitStack() as stack:
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            locks = [
                stack.enter_context((data_dir / name).open("w"))
                for name in (LOCK, *(f"{LOCK}.{role}" for role in sorted(roles)))
            ]
        except OSError as error:
            raise StorageError(f"OFFLOAD_DATA_DIR {data_dir} cannot be used: {error}.") from error
        whole, *own = locks
        if not all(_taken(lock, fcntl.LOCK_EX) for lock in own) or not _entered(
            whole, lambda: up_to_date(data_dir)
        ):
            raise StorageError(
                f"Another service runs on OFFLOAD_DATA_DIR {data_dir}; give this one its own."
            )
        yield Held(whole)


@contextmanager
def unused(data_dir: Path) -> Iterator[None]:
    """Keep every service from a data folder while the context is open.

    Raises:
        StorageError: one uses it, or the folder cannot be used; with a sentence for the operator.
    """
    try:
        lock = (data_dir / LOCK).open("w")
    except OSError as error:
        raise StorageError(f"{data_dir} cannot be used: {error}.") from error
    with lock:
        if not _taken(lock, fcntl.LOCK_EX):
            raise StorageError(f"A service runs on {data_dir}; stop it first.")
        yield


def _entered(lock: IO[str], up_to_date: Callable[[], bool]) -> bool:
    """Lock the whole folder: shared, or alone where the database is not up to date."""
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        if _taken(lock, fcntl.LOCK_EX):
            return True
        if _taken(lock, fcntl.LOCK_SH) and up_to_date():
            return True
        if time.monotonic() > give_up_at:
            return False
        fcntl.flock(lock, fcntl.LOCK_UN)
        time.sleep(_LOOK_EVERY_S)


def _taken(lock: IO[str], how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def check_data_dir(data_dir: Path, roles: Iterable[str]) -> None:
    """See before a start that the data folder can be used.

    Raises:
        StorageError: it cannot, or another service uses it; with a sentence for the operator.
    """
    with hold(data_dir, roles):
        path = data_dir / DATABASE
        if path.exists() and path.stat().st_size:
            refuse_unusable(path)
        elif next((data_dir / OBJECTS).glob("*/*"), None):
            # Taken for new, it would have all of them removed as orphans.
            raise StorageError(
                f"OFFLOAD_DATA_DIR {data_dir} has stored bytes, and its database {DATABASE} is "
                "missing or empty. Restore a backup, or remove the bytes too to start anew."
            )


def check_with_postgres(data_dir: Path, roles: Iterable[str], url: str, *, bucket: bool) -> None:
    """See before a start that the data folder can be used with this database for its records.

    With a `bucket` the folder has nothing to keep, and belongs to no database.

    Raises:
        StorageError: it cannot, or another service uses it; with a sentence for the operator.
    """
    from app.stores.postgres_schema import usable

    check_without_records(data_dir)
    with hold(data_dir, roles, up_to_date=lambda _: True), usable(url) as tied:
        if not bucket:
            tie(data_dir, tied)


def check_without_records(data_dir: Path) -> None:
    """See that a data folder can be used where the records are elsewhere.

    Raises:
        StorageError: it has records of its own; with a sentence for the operator.
    """
    if (data_dir / DATABASE).exists():
        raise StorageError(
            f"OFFLOAD_DATA_DIR {data_dir} has records of its own in {DATABASE}; with "
            "OFFLOAD_DATABASE_URL give the service another folder."
        )


def check_with_records(data_dir: Path) -> None:
    """See that a folder has records.

    Raises:
        StorageError: it has none; with a sentence for the operator.
    """
    path = data_dir / DATABASE
    if not path.is_file() or not path.stat().st_size:
        raise StorageError(f"{data_dir} has no database {DATABASE}; there is nothing to do.")


def tie(data_dir: Path, tied: Callable[[str, bool], bool]) -> None:
    """Tie a folder and the database that has its records to each other, for good.

    `tied` ties the database to the folder of a name, unless it is tied to another; it is told
    whether the folder has no bytes yet.

    With another database, all bytes of the folder would be removed as orphans; with another folder,
    all bytes that the records name would be missing.

    Raises:
        StorageError: one of them is tied to another; with a sentence for the operator.
    """
    file = data_dir / TIED
    if not file.exists():
        _write_whole(file, secrets.token_hex(16))
    is_new = not next((data_dir / OBJECTS).glob("*/*"), None)
    if not tied(file.read_text("utf-8"), is_new):
        raise StorageError(
            f"The database of OFFLOAD_DATABASE_URL does not belong to OFFLOAD_DATA_DIR {data_dir}: "
            "use the folder that it was first used with, or an empty database and an empty folder."
        )


def tie_bucket(data_dir: Path, name: str, is_new: bool) -> bool:
    """Tie the records of a folder to the bucket of a name; False if they are another one's.

    `is_new`: nobody can have tied anything to it, so it may be given to records that have none yet.
    """
    file = data_dir / BUCKET
    if is_new and not file.exists():
        _write_whole(file, name)
    return file.exists() and file.read_text("utf-8") == name


def check_without_bucket(data_dir: Path) -> None:
    """See that the large bytes of a folder's records are in it.

    Raises:
        StorageError: they are in a bucket; with a sentence for the operator.
    """
    if (data_dir / BUCKET).exists():
        raise StorageError(
            f"The records in OFFLOAD_DATA_DIR {data_dir} have their large bytes in a bucket; set "
            "OFFLOAD_STORAGE_URL to it."
        )


def _write_whole(file: Path, text: str) -> None:
    """Write a file, or none: half a name would tie something to nothing."""
    new = file.with_suffix(".new")
    try:
        with new.open("w") as written:
            written.write(text)
            written.flush()
            os.fsync(written.fileno())
        new.replace(file)
    except OSError as error:
        raise StorageError(f"OFFLOAD_DATA_DIR {file.parent} cannot be used: {error}.") from error
