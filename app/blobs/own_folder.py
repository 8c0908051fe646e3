"""A folder for what one process has in hand, below one that several share: it goes with it."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


class OwnFolder:
    """Held by a lock that the kernel lets go when the process ends, however it does.

    Whoever opens one later removes those that nobody holds any more.
    """

    def __init__(self, parent: Path) -> None:
        """Name where it is to be."""
        self._parent = parent
        self._lock: TextIO | None = None
        self.path = parent

    def open(self) -> None:
        """Make it, empty, and remove what dead processes have left."""
        self._parent.mkdir(parents=True, exist_ok=True)
        with _alone(self._parent):
            for lock in self._parent.glob("*.lock"):
                _remove_if_dead(lock)
            self.path = self._parent / secrets.token_hex(8)
            self._lock = self.path.with_suffix(".lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self.path.mkdir()

    def close(self) -> None:
        """Remove it with all its content."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.with_suffix(".lock").unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Leave it as it is, to be removed by whoever opens one next."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _remove_if_dead(lock: Path) -> None:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder's own lock: nobody makes one, or looks for the dead, meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
