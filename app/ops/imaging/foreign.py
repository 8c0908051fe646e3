"""Formats that are only read, by other libraries than libvips: HEIC, BMP and ICO.

The wheel of libvips has no decoder of HEVC, which HEIC is coded with, and none of Windows' formats
that was made for files from strangers. libheif with libde265 (pillow-heif) and Pillow are fuzzed as
libvips is. Their pictures come whole into memory and go on as libvips'.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any, Literal, TypeGuard, get_args

from app.errors import ImageUnreadable, ImageUnsupported, OffloadError
from app.ops.base import Content, opened, whole
from app.ops.imaging.failures import unreadable
from app.ops.imaging.vips import libvips

ForeignKind = Literal["heic", "bmp", "ico"]
FOREIGN: tuple[ForeignKind, ...] = get_args(ForeignKind)

_INTERPRETATION = {1: "b-w", 2: "b-w", 3: "srgb", 4: "srgb"}
_LONGEST_PX = 10_000_000
"""Libvips' own limit of a side."""
_PNG = b"\x89PNG\r\n\x1a\n"


def is_foreign(kind: str) -> TypeGuard[ForeignKind]:
    """Tell whether a format is one of those that are read here."""
    return kind in FOREIGN


@dataclass(frozen=True, slots=True)
class Foreign:
    """An opened picture: its header read, none of its pixels decoded."""

    size: tuple[int, int]
    """Width and height in pixels, as they are decoded."""
    bands: int
    """1 to 4: grey or RGB, with or without alpha."""
    decode: Callable[[], bytes]
    """Gives the pixels, 8 bits a channel, row by row."""
    bits: int = 8
    """Of a channel as it is stored."""
    frames: int = 1
    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""


def stand_in(content: Content, kind: ForeignKind) -> Any:
    """Give a black picture that has everything of a file but its pixels.

    Raises:
        ImageUnsupported: a HEIC, without the library for it.
        ImageUnreadable: cut or damaged in its header.
    """
    opened = _opened(content, kind)
    return _with_fields(libvips().Image.black(*opened.size, bands=opened.bands), opened)


def decoded(content: Content, kind: ForeignKind) -> Any:
    """Decode the largest picture of a file, or the one that it calls its first, into memory.

    Upright, if it is a HEIC: its decoder turns it, whatever EXIF says of the same turn.

    Raises:
        ImageUnreadable: cut or damaged.
        MemoryError: as its name says.
    """
    opened = _opened(content, kind)
    with _judging():
        pixels = opened.decode()
    image = libvips().Image.new_from_memory(pixels, *opened.size, opened.bands, "uchar")
    return _with_fields(image, opened)


def _opened(content: Content, kind: ForeignKind) -> Foreign:
    with _judging():
        opened = {"heic": _heic, "bmp": _bmp, "ico": _ico}[kind](content)
        if not all(1 <= side <= _LONGEST_PX for side in opened.size):
            raise unreadable(f"a size of {opened.size}")
        return opened


@contextmanager
def _judging() -> Iterator[None]:
    """Whatever these libraries raise on a file, the file was at fault; memory is another matter."""
    try:
        yield
    except (OffloadError, MemoryError, ImportError):
        raise
    except Exception as error:
        raise unreadable(f"{type(error).__name__}: {error}") from error


def _with_fields(image: Any, opened: Foreign) -> Any:
    pyvips = libvips()
    image = image.copy(interpretation=_INTERPRETATION[opened.bands])
    blobs = {"icc-profile-data": opened.icc, "exif-data": opened.exif, "xmp-data": opened.xmp}
    for name, blob in blobs.items():
        if blob:
            image.set_type(pyvips.GValue.blob_type, name, blob)
    # libvips reads EXIF when it is set. The pixels are upright, and must not be turned twice.
    for name in ("orientation", "exif-ifd0-Orientation"):
        image.remove(name)
    image.set_type(pyvips.GValue.gint_type, "bits-per-sample", opened.bits)
    if opened.frames > 1:
        image.set_type(pyvips.GValue.gint_type, "n-pages", opened.frames)
    return image


# -- HEIC ----------------------------------------------------------------------------------------


_MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "RGBa": 4, "I;16": 1}


def _heic(content: Content) -> Foreign:
    """Open a HEIC: of a burst the picture that it calls primary, no depth or gain map."""
    _check_media_data(content)
    file = _pillow_heif().open_heif(whole(content))
    image = file[file.primary_index]
    info = image.info
    return Foreign(
        size=image.size,
        bands=_MODES[image.mode],
        decode=lambda: _heic_pixels(image),
        bits=info["bit_depth"],
        frames=len(file),
        icc=info.get("icc_profile") or b"",
        exif=info.get("exif") or b"",
        xmp=info.get("xmp") or b"",
    )


def _heic_pixels(image: Any) -> bytes:
    size = image.size
    pixels: bytes = image.data
    if image.size != size:
        # What it says of its size in its header is what was held against the limits.
        raise unreadable("two sizes")
    if image.mode == "I;16":
        # Grey of more than 8 bits is not brought down to 8 as colours are.
        return bytes(pixels)[1::2]
    if image.mode == "RGBa":
        plain = libvips().Image.new_from_memory(pixels, *size, 4, "uchar")
        return bytes(plain.unpremultiply().cast("uchar").write_to_memory())
    return pixels


@cache
def _pillow_heif() -> Any:
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageUnsupported(
            "The content is a HEIC, which this installation does not read: its operator can add "
            "that, see README."
        ) from error
    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.options.THUMBNAILS = False
    pillow_heif.options.DEPTH_IMAGES = False
    pillow_heif.options.AUX_IMAGES = False
    return pillow_heif


def _check_media_data(content: Content) -> None:
    """See that the box with the coded pixels is whole: of a cut one libheif decodes what is there.

    Boxes: ISO/IEC 14496-12, 4.2. What cameras hang behind them is nobody's concern.
    """
    at = 0
    with opened(content) as file:
        size_bytes = file.seek(0, os.SEEK_END)
        while at + 8 <= size_bytes:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4])
            if length == 1:
                length = int.from_bytes(head[8:16])
            elif length == 0:
                return
            if head[4:8] in (b"mdat", b"meta") and at + length > size_bytes:
                raise ImageUnreadable("The picture is cut short.", log_detail=f"at {at}")
            if length < 8:
                return
            at += length


# -- Windows' formats ----------------------------------------------------------------------------


def _bmp(content: Content) -> Foreign:
    return _of_pillow(_pillow().BmpImagePlugin.BmpImageFile(BytesIO(whole(content))))


def _ico(content: Content) -> Foreign:
    """Open the largest picture of an icon, and of these the one with most colours."""
    pillow = _pillow()
    data = whole(content)
    icon = pillow.IcoImagePlugin.IcoFile(BytesIO(data))
    order = [(entry.square, entry.color_depth) for entry in icon.entry]
    number = order.index(max(order))
    entry = icon.entry[number]
    inner = BytesIO(data[entry.offset : entry.offset + entry.size])
    if inner.getvalue().startswith(_PNG):
        return _of_pillow(pillow.PngImagePlugin.PngImageFile(inner))
    # The directory says a size that the picture need not have. It is twice as high as it looks:
    # below it stands a mask.
    width, height = pillow.BmpImagePlugin.DibImageFile(inner).size
    return Foreign((width, height // 2), 4, lambda: _icon_pixels(icon.frame(number)))


def _icon_pixels(image: Any) -> bytes:
    if image.getchannel("A").getextrema() == (0, 0):
        # Of 32 bits a pixel by a program that knew nothing of alpha.
        image.putalpha(255)
    return bytes(image.tobytes())


def _of_pillow(image: Any) -> Foreign:
    coloured = "RGBA" if image.has_transparency_data else "RGB"
    mode = "L" if image.mode in ("1", "L") else coloured
    return Foreign(image.size, _MODES[mode], lambda: image.convert(mode).tobytes())


@cache
def _pillow() -> Any:
    """Give Pillow, without its own idea of how large a picture may be: there is a limit here."""
    import PIL.BmpImagePlugin
    import PIL.IcoImagePlugin
    import PIL.PngImagePlugin

    PIL.Image.MAX_IMAGE_PIXELS = None
    return PIL
