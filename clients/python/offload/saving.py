"""A file that is whole or not there: written under another name beside it, synced, renamed."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath

PART_SUFFIX = ".part"
MAX_NAME_BYTES = 255


def safe_parts(name: str) -> list[str]:
    """Give the folders and the name of what a service calls a file, as may be used in a path.

    A name comes from elsewhere: what climbs, is absolute or cannot be shown is left out.
    """
    parts = []
    for part in PurePosixPath(name.replace("\\", "/")).parts:
        plain = "".join(c for c in part if c.isprintable() and c != "/").strip()
        if plain.strip(".") and not PureWindowsPath(plain).drive:
            # A hidden file is as good as any; what is too long for a file system is not.
            parts.append(plain.encode()[-MAX_NAME_BYTES:].decode("utf-8", "ignore"))
    return parts or ["result"]


def target_of(path: str | os.PathLike[str], name: str) -> Path:
    """Give the path to save to: in a folder that is there, by the file's own name."""
    target = Path(path)
    return target / safe_parts(name)[-1] if target.is_dir() else target


class Saving:
    """One file on its way to its final name."""

    def __init__(self, target: Path, *, overwrite: bool) -> None:
        """Begin.

        Raises:
            FileExistsError: there is one, and it may not be overwritten.
            OSError: its folder is not there, or cannot be written in.
        """
        self.target = target
        self._overwrite = overwrite
        if not overwrite and os.path.lexists(target):
            raise FileExistsError(17, "There is a file of that name", str(target))
        if target.exists() and not target.is_file():
            raise OSError(errno.EINVAL, "It is no file, and is not replaced by one", str(target))
        # Its name does not grow with the final one's, which may be as long as it can be.
        self._part = target.with_name(f".offload-{secrets.token_hex(8)}{PART_SUFFIX}")
        self._file = self._part.open("xb")

    def write(self, piece: bytes) -> None:
        """Add a piece."""
        self._file.write(piece)

    def finish(self) -> None:
        """Have it on the disk under its final name, or raise and have nothing.

        Raises:
            FileExistsError: one of that name has come meanwhile, and may not be overwritten.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self._overwrite:
            self._part.replace(self.target)
        else:
            move_new(self._part, self.target)
        _sync_folder(self.target.parent)

    def drop(self) -> None:
        """Leave nothing behind, unless it is finished."""
        with suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)


def move_new(part: Path, target: Path) -> None:
    """Rename to a name that nobody has. Raises `FileExistsError`."""
    try:
        target.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: a moment in which another may come
        if os.path.lexists(target):
            raise FileExistsError(17, "There is a file of that name", str(target)) from None
        part.replace(target)
    else:
        part.unlink()


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every file system lets folders be synced
        number = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(number)
        finally:
            os.close(number)
