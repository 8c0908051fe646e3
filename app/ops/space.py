"""The free space of the data disk, and the floor under it: what uploads and results both obey."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from app.errors import OutputTooLarge, StorageFull

SETTING = "OFFLOAD_BLOBS_MIN_FREE_BYTES"


def free_bytes(folder: Path | str) -> int:
    """Give what the disk of `folder` has free for this process. Raises `OSError`."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def no_room(error: OSError, said: str) -> OutputTooLarge | StorageFull | None:
    """Say why the kernel takes no more bytes of a result; None if that is not what failed.

    Args:
        error: of a write.
        said: for the operator.
    """
    if error.errno == errno.EFBIG:
        return OutputTooLarge("The result is larger than one item may produce.", log_detail=said)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("The service has no space left for the result.", log_detail=said)
    return None


def check_space(folder: Path | str, min_free_bytes: int, size_bytes: int = 0) -> int:
    """See that so many bytes may be written without going below the floor.

    It takes microseconds, and reserves nothing: ask again before each piece.

    Args:
        folder: on the disk.
        min_free_bytes: the floor.
        size_bytes: what is to be written now.

    Returns:
        How many may be written, `size_bytes` among them.

    Raises:
        StorageFull: fewer may; says how much is free, is kept free and would have to be free.
        OSError: nobody can tell.
    """
    found_bytes = free_bytes(folder)
    needed_bytes = min_free_bytes + size_bytes
    if found_bytes < needed_bytes:
        more = f" and {size_bytes} are to be written" if size_bytes else ""
        raise StorageFull(
            f"The data disk has {found_bytes} bytes free; {SETTING} keeps {min_free_bytes}{more}.",
            free_bytes=found_bytes,
            min_free_bytes=min_free_bytes,
            needed_bytes=needed_bytes,
        )
    return found_bytes - min_free_bytes
