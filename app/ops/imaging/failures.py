"""What libvips says when it fails, in this service's own errors."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from app.errors import ImageUnreadable, MemoryExceeded, OffloadError
from app.ops.imaging.vips import libvips
from app.ops.space import no_room

# libvips gives no codes, only text in which there may be anything that the file has in it: who
# wrote the file must not be able to choose the error. So nothing is read out of it that can be
# asked of the kernel or of a `Watch`. What is left are two tables of what the libraries say, word
# by word; the worst that a file can do with them is to be called damaged, or too large.

# Warnings of libjpeg, after which it goes on with grey or garbage. libvips only counts them, so
# that being strict about all would refuse the stray bytes that many cameras leave before a marker.
_DAMAGE = (
    b"premature end",
    b"bad Huffman code",
    b"bad arithmetic code",
    b"instead of RST",
    b"Inconsistent progression",
)

# The last two are libwebp's: it has no other reason left to fail on a picture that fits it.
_STARVED = (
    b"out of memory",
    b"Failed to allocate",
    b"Memory allocation error",
    b"Insufficient memory",
    os.strerror(errno.ENOMEM).encode(),
    b"picture memory error",
    b"webpsave: unable to encode",
)

_PROBE_BYTES = 1 << 16
"""More than libvips writes at a time."""


_messages = threading.RLock()


@contextmanager
def translating() -> Iterator[None]:
    """Raise libvips' errors from within as errors of this service.

    One thread at a time: libvips has one place for what it says, for all of a process.

    Raises:
        ImageUnreadable: the picture was at fault, also if libvips was content with damage; or a
            `Watch` stopped the work, which that has to tell.
        MemoryExceeded: there was too little.
    """
    pyvips = libvips()
    with _messages:
        pyvips.vips_lib.vips_error_clear()
        try:
            yield
        except pyvips.Error as error:
            raise translated(str(error).encode(errors="surrogateescape")) from error
        # What was said without failing is left there.
        said = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer())
    if any(words in said for words in _DAMAGE):
        raise unreadable(said.decode(errors="backslashreplace"))


def translated(said: bytes) -> OffloadError:
    """Tell want of memory from a damaged picture, by what libvips says, in any encoding."""
    readable = said.decode(errors="backslashreplace")
    if any(words in said for words in _STARVED):
        return MemoryExceeded("The picture needs more memory than is allowed.", log_detail=readable)
    return unreadable(readable)


@contextmanager
def writing(path: Path) -> Iterator[Any]:
    """Give a target of libvips' to write a new file into, and say why if that fails.

    Raises:
        OutputTooLarge, StorageFull: the kernel takes no more bytes for this file.
        ImageUnreadable, MemoryExceeded: as `translating`.
    """
    with path.open("w+b", buffering=0) as file:
        try:
            with translating():
                yield libvips().Target.new_to_descriptor(file.fileno())
        except (ImageUnreadable, MemoryExceeded) as error:
            _check_room(file, error.log_detail)
            raise


def _check_room(file: BinaryIO | Any, said: str) -> None:
    """Write on, which shows whether writing is what failed."""
    try:
        file.seek(0, os.SEEK_END)
        left = memoryview(bytes(_PROBE_BYTES))
        while left:
            # What fits is written, and only the next call fails.
            left = left[file.write(left) :]
    except OSError as error:
        refused = no_room(error, said)
        if refused is None:
            raise
        raise refused from error


def unreadable(said: str) -> ImageUnreadable:
    """Give the error of a picture that is at fault; what was found goes to the log."""
    return ImageUnreadable("The picture is cut short or damaged.", log_detail=said)
