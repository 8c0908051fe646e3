"""Removing bytes, and keeping everybody from removing any while they are being backed up.

Whoever removes holds the lock of a folder shared, and only tries to; whoever backs up holds it
alone. So while a backup runs nothing is removed, and what could not be is a later look's.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

LOCK = "keep.lock"


class Removals:
    """The right to remove bytes of one folder, in one process."""

    def __init__(self, root: Path) -> None:
        """Name the folder; it has to be there at the first `allowed`."""
        self._path = root / LOCK
        self._file: TextIO | None = None
        # The lock belongs to the open file: a thread that lets go would do so for all of them.
        self._one_at_a_time = threading.Lock()

    @contextmanager
    def allowed(self) -> Iterator[bool]:
        """Tell whether bytes may be removed while the context is open."""
        with self._one_at_a_time:
            if self._file is None:
                self._file = self._path.open("a")
            try:
                fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the lock's file."""
        if self._file is not None:
            self._file.close()


@contextmanager
def nothing_removed(root: Path) -> Iterator[None]:
    """Have no process remove bytes of a folder while the context is open; waits for those at it."""
    with (root / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
