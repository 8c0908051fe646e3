"""Whether a GIF is whole: libvips shows those frames of a cut one that it has."""

from __future__ import annotations

from typing import BinaryIO

from app.ops.base import Content, opened
from app.ops.imaging.failures import unreadable

_EXTENSION, _PICTURE, _TRAILER = b"\x21", b"\x2c", b"\x3b"


def check_whole(content: Content) -> None:
    """Walk the blocks of a GIF up to its trailer (GIF89a, section 27); nothing is decoded.

    A block of no known kind ends the walk: the loader will have its own word on it.

    Raises:
        ImageUnreadable: the file ends before the trailer.
    """
    with opened(content) as file:
        if not _has_trailer(file):
            raise unreadable("a GIF without its trailer")


def _has_trailer(file: BinaryIO) -> bool:
    head = file.read(13)
    if len(head) < 13:
        return False
    _skip_colours(file, head[10])
    while True:
        introducer = file.read(1)
        if introducer == _EXTENSION:
            file.seek(1, 1)
        elif introducer == _PICTURE:
            descriptor = file.read(9)
            if len(descriptor) < 9:
                return False
            _skip_colours(file, descriptor[8])
            # The size of a code.
            file.seek(1, 1)
        elif introducer != b"\x00":
            return introducer != b""
        if introducer != b"\x00" and not _skip_blocks(file):
            return False


def _skip_colours(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 << (flags & 7) + 1, 1)


def _skip_blocks(file: BinaryIO) -> bool:
    """Go behind a run of sub-blocks; tell whether it ends."""
    while size := file.read(1):
        if size == b"\x00":
            return True
        file.seek(size[0], 1)
    return False
