"""What libvips says when it fails, in this service's own errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import (
    DeadlineExceeded,
    ImageUnreadable,
    MemoryExceeded,
    OffloadError,
    OutputTooLarge,
    StorageFull,
)
from app.ops.imaging.vips import libvips

# Warnings of libjpeg, after which it goes on with grey or garbage. libvips only counts them, so
# that being strict about all would refuse the stray bytes that many cameras leave before a marker.
_DAMAGE = (
    "premature end",
    "bad Huffman code",
    "bad arithmetic code",
    "instead of RST",
    "Inconsistent progression",
)


@contextmanager
def translating() -> Iterator[None]:
    """Raise libvips' errors from within as errors of this service.

    Raises:
        ImageUnreadable: the picture was at fault; also if libvips was content with damage.
        DeadlineExceeded: a `Watch` stopped the work.
        MemoryExceeded, OutputTooLarge, StorageFull: the machine, or a limit, was.
    """
    pyvips = libvips()
    pyvips.vips_lib.vips_error_clear()
    try:
        yield
    except pyvips.Error as error:
        raise translated(str(error)) from error
    # What was said without failing is left there.
    said = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer()).decode(errors="replace")
    if any(words in said for words in _DAMAGE):
        raise _unreadable(said)


def translated(text: str) -> OffloadError:
    """Find out from libvips' messages, all it leaves, whether picture or machine was at fault."""
    if "killed for image" in text:
        return DeadlineExceeded("The work took longer than an item may take.", log_detail=text)
    if os.strerror(errno.EFBIG) in text:
        return OutputTooLarge("The result is larger than one item may produce.", log_detail=text)
    if os.strerror(errno.ENOSPC) in text or os.strerror(errno.EDQUOT) in text:
        return StorageFull("The service has no space left for the result.", log_detail=text)
    # The last two are libwebp's: it has no other reason left to fail on a picture that fits it.
    starved = (
        "out of memory",
        "Failed to allocate",
        "Memory allocation error",
        "Insufficient memory",
        os.strerror(errno.ENOMEM),
        "picture memory error",
        "webpsave: unable to encode",
    )
    if any(words in text for words in starved):
        return MemoryExceeded("The picture needs more memory than is allowed.", log_detail=text)
    return _unreadable(text)


def _unreadable(text: str) -> ImageUnreadable:
    return ImageUnreadable("The picture is cut short or damaged.", log_detail=text)
