"""What the demonstration holds results against."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zlib": zlib.decompress,
    "deflate-raw": lambda data: zlib.decompress(data, -zlib.MAX_WBITS),
    "zstd": zstd.decompress,
}
LOADERS = {
    "jpeg": "jpegload_buffer",
    "webp": "webpload_buffer",
    "avif": "heifload_buffer",
    "png": "pngload_buffer",
}


class DemoFailed(Exception):
    """Something is not as it should be; the text says what."""


def check(as_it_should_be: bool, otherwise: str) -> None:
    """Raise `DemoFailed` unless all is well."""
    if not as_it_should_be:
        raise DemoFailed(otherwise)


def check_picture(content: bytes, form: str, size_px: tuple[int, int], name: str) -> None:
    """Raise `DemoFailed` unless this is a picture of that format and size."""
    import pyvips

    picture = pyvips.Image.new_from_buffer(content, "")
    found = (picture.get("vips-loader"), picture.width, picture.height)
    check(found == (LOADERS[form], *size_px), f"{name} is {found}")
