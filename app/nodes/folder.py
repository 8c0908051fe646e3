"""A data folder: what is in it, and which processes may use it at once."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterable, Iterator
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
def hold(data_dir: Path, roles: Iterable[str]) -> Iterator[Held]:
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
                for name in ("lock", *(f"lock.{role}" for role in sorted(roles)))
            ]
        except OSError as error:
            raise StorageError(f"OFFLOAD_DATA_DIR {data_dir} cannot be used: {error}.") from error
        whole, *own = locks
        if not all(_taken(lock, fcntl.LOCK_EX) for lock in own) or not _entered(whole, data_dir):
            raise StorageError(
                f"Another service runs on OFFLOAD_DATA_DIR {data_dir}; give this one its own."
            )
        yield Held(whole)


def _entered(lock: IO[str], data_dir: Path) -> bool:
    """Lock the whole folder: shared, or alone where the database is not up to date."""
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        if _taken(lock, fcntl.LOCK_EX):
            return True
        if _taken(lock, fcntl.LOCK_SH) and is_up_to_date(data_dir / DATABASE):
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
