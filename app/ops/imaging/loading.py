"""Opening a picture: its kind by content, its header against the budget, its pixels in sRGB."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.errors import ImageUnsupported, PixelsExceeded
from app.ops.base import Content, Limits, opened
from app.ops.imaging.encoding import MEDIA_TYPE, Format
from app.ops.imaging.failures import translating
from app.ops.imaging.foreign import ForeignKind, decoded, is_foreign, stand_in
from app.ops.imaging.gif import check_whole
from app.ops.imaging.tiff import stores_plain_ycbcr
from app.ops.imaging.vips import field_of, libvips
from app.ops.media_type import HEAD_BYTES, UNKNOWN, sniff

Kind = Format | ForeignKind
"""The formats that are read."""

MEDIA_TYPE_READ: dict[Kind, str] = {
    **{kind: media_type for kind, media_type in MEDIA_TYPE.items()},  # noqa: C416 - of wider keys
    "heic": "image/heic",
    "bmp": "image/bmp",
    "ico": "image/vnd.microsoft.icon",
}

_TAKEN = "JPEG, PNG, WebP, GIF, TIFF, AVIF, HEIC, BMP and ICO"
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
"""How long the second header may be: which version it is."""
_NOT_TAKEN = {
    "image/svg+xml": "SVG is not read: it is a program that draws, and may ask for other files.",
    "image/jxl": "JPEG XL is not read: no library for it is kept for this service's platforms.",
    "image/jp2": "JPEG 2000 is not read: no library for it here respects its colours.",
}

_ANIMATED: tuple[Kind, ...] = ("gif", "webp")

# "truncated" would let a cut uncompressed TIFF through as black rows, "warning" would refuse
# the stray bytes that many cameras leave in a JPEG.
_FAIL_ON = "error"


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture says of itself before it is decoded."""

    content: Content
    kind: Kind
    size: tuple[int, int]
    """Width and height in pixels as the picture is seen, that is upright."""
    frames: int
    """Frames of a GIF or WebP, pages of a TIFF, images of an AVIF; at least 1."""
    orientation: int
    """As EXIF has it, 1 to 8; 1 if the picture says nothing, or nonsense. The pixels of an AVIF
    or HEIC are turned by their decoders, so that these are always 1."""
    has_alpha: bool
    has_profile: bool
    """Whether it carries an ICC profile."""
    image: Any = field(repr=False)
    """The picture as libvips opened it: nothing decoded yet, all fields to be asked for."""

    @property
    def path(self) -> Path:
        """Where the file is, for what cannot take a value."""
        assert isinstance(self.content, Path)  # noqa: S101 - `optimize` is given files
        return self.content

    @property
    def animated(self) -> bool:
        """Whether the frames are meant to be shown one after the other."""
        return self.kind in _ANIMATED and self.frames > 1

    @property
    def written(self) -> Format:
        """The format that stands for the picture's own: one that is only read becomes another."""
        if self.kind == "heic":
            return "webp" if self.has_alpha else "jpeg"
        return "png" if self.kind == "bmp" or self.kind == "ico" else self.kind

    def check_budget(self, frames: int, limits: Limits) -> None:
        """Hold the picture's pixels, as many frames of it as will be decoded, against the limit.

        Raises:
            PixelsExceeded: it has more than `max_pixels`.
        """
        check_pixels(self.size, frames, limits)


def read_kind(content: Content) -> Kind:
    """Tell by its first bytes what kind of picture a file is.

    Raises:
        ImageUnsupported: it is none of those that are read here; the message has what it is.
    """
    with opened(content) as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return "tiff"
    if head[4:8] == b"ftyp" and b"avif" in _brands(head):
        return "avif"
    if head[4:8] == b"ftyp" and _HEIC_BRANDS & _brands(head):
        return "heic"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    if head.startswith(b"\0\0\1\0"):
        return "ico"
    raise ImageUnsupported(_what_it_is(head))


def _what_it_is(head: bytes) -> str:
    if head.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")):
        found = "image/jp2"
    else:
        found = sniff(head)
    what = "empty" if not head else "of no known kind" if found == UNKNOWN else found
    return f"The content is {what}. {_NOT_TAKEN.get(found, '')} Taken are {_TAKEN}.".replace(
        "  ", " "
    )


def _brands(head: bytes) -> set[bytes]:
    """Give the major and compatible brands of an ISO media file (ISO/IEC 14496-12, 4.3)."""
    end = min(int.from_bytes(head[:4]), len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}


def read_header(content: Content, limits: Limits | None = None) -> Header:
    """Open a picture without decoding it.

    Args:
        content: the file, whose name says nothing, or what is in it.
        limits: if given, one frame of the picture is held against `max_pixels`, as early as
            its size is known.

    Raises:
        ImageUnsupported: not a picture of a kind that is read here.
        ImageUnreadable: one of these, and cut or damaged in its header.
        PixelsExceeded: over `max_pixels`.
    """
    kind = read_kind(content)
    if limits is not None and kind == "png":
        _check_png(content, limits)
    if kind == "gif":
        check_whole(content)
    if kind == "tiff" and stores_plain_ycbcr(content):
        raise ImageUnsupported(
            "The content is a TIFF that keeps YCbCr without JPEG compression, which is not read."
        )
    with translating():
        header = _header(content, kind)
    if limits is not None:
        header.check_budget(1, limits)
    return header


def _check_png(content: Content, limits: Limits) -> None:
    """Hold the size in IHDR against the limit: libvips wants to see pixel data before it tells."""
    with opened(content) as file:
        head = file.read(24)
    if head[12:16] == b"IHDR" and len(head) == 24:
        check_pixels((int.from_bytes(head[16:20]), int.from_bytes(head[20:24])), 1, limits)


def _header(content: Content, kind: Kind) -> Header:
    image = stand_in(content, kind) if is_foreign(kind) else load(content, kind)
    orientation = orientation_of(image) if kind != "avif" else 1
    size = (image.width, image.height)
    return Header(
        content=content,
        kind=kind,
        size=size if orientation < 5 else (size[1], size[0]),
        frames=max(1, field_of(image, "n-pages", 1)),
        orientation=orientation,
        has_alpha=bool(image.hasalpha()),
        has_profile=bool(image.get_typeof("icc-profile-data")),
        image=image,
    )


def orientation_of(image: Any) -> int:
    """Give the orientation as EXIF has it, 1 to 8; 1 if there is none, or nonsense."""
    value: int = field_of(image, "orientation", 1)
    return value if 1 <= value <= 8 else 1


def check_pixels(size: tuple[int, int], frames: int, limits: Limits, *, made: bool = False) -> None:
    """Hold a picture that came in, or one to be made, against the limit.

    Raises:
        PixelsExceeded: it has more than `max_pixels`, all frames together.
    """
    pixels = size[0] * size[1] * frames
    if pixels > limits.max_pixels:
        what, done = ("result would have", "made") if made else ("picture has", "taken")
        times = f" in {frames} frames" if frames > 1 else ""
        raise PixelsExceeded(
            f"The {what} {size[0]} by {size[1]}{times} = {pixels:,} pixels; "
            f"at most {limits.max_pixels:,} are {done}.",
            pixels=pixels,
            max_pixels=limits.max_pixels,
        )


def load(content: Content, kind: Kind, frames: int = 1, **options: Any) -> Any:
    """Open a picture as it is stored: not turned, in its own colours, to be read top to bottom.

    Nothing is decoded until pixels are asked for; only then is damage further down noticed. All is
    decoded at once of what libvips does not read.

    Args:
        content: the file, or what is in it.
        kind: what `read_kind` called it.
        frames: how many of a GIF, WebP or TIFF, one below the other; -1 for all.
        options: of libvips' loader: `shrink` of JPEG, `scale` of WebP.
    """
    if is_foreign(kind):
        return decoded(content, kind)
    pyvips = libvips()
    loader = getattr(pyvips.Image, f"{'heif' if kind == 'avif' else kind}load_source")
    # A source, not a file name: libvips would read options from brackets in a name.
    if isinstance(content, bytes):
        source = pyvips.Source.new_from_memory(content)
    else:
        source = pyvips.Source.new_from_file(os.fspath(content))
    if frames != 1:
        options["n"] = frames
    return loader(source, access="sequential", fail_on=_FAIL_ON, **options)


def upright_srgb(header: Header) -> Any:
    """Decode the first frame whole, into memory: upright, 8-bit sRGB or grey, alpha kept.

    Raises:
        ImageUnreadable: cut or damaged.
        MemoryExceeded: as its name says.
    """
    with translating():
        picture = resized(load(header.content, header.kind), header, header.size)
        return picture.copy_memory()


def resized(picture: Any, header: Header, size: tuple[int, int], *, to_srgb: bool = True) -> Any:
    """Scale a picture, loaded or cut out of a loaded one, to exactly `size`.

    Alpha is multiplied in for it and out again, and colours go to sRGB by the picture's profile
    when it has become small.

    Args:
        picture: in the header's colours; if it has an orientation, that is applied first.
        header: of the file it comes from.
        size: width and height in pixels, upright.
        to_srgb: False leaves the colours in the space of the picture's own profile.

    Returns:
        8 bits a channel, sRGB or grey, upright.
    """
    converts = to_srgb and header.has_profile
    if (picture.width, picture.height) == size and header.orientation == 1 and not converts:
        # Alpha need not go in and out, at a cost in time and in what is nearly transparent.
        return eight_bit(picture)
    options: dict[str, Any] = {}
    if converts:
        # Without a profile the loaders' sRGB, grey or usual CMYK is right already, and asking
        # for a profile all the same takes 0.3 s a megapixel.
        options["output_profile"] = "srgb"
    picture = picture.thumbnail_image(size[0], height=size[1], size="force", **options)
    return eight_bit(picture)


_PLAIN = {("b-w", 1), ("b-w", 2), ("srgb", 3), ("srgb", 4)}
"""What needs no further step, as nearly every picture: each step costs a small one noticeably."""


def eight_bit(picture: Any) -> Any:
    """Bring any picture to 8-bit sRGB or grey, with or without alpha, and nothing behind it."""
    if picture.format == "uchar" and (picture.interpretation, picture.bands) in _PLAIN:
        return picture
    grey = picture.interpretation in ("b-w", "grey16")
    picture = picture.colourspace("b-w" if grey else "srgb")
    # TIFF may have further channels behind the alpha.
    most = 2 if grey else 4
    if picture.bands > most:
        picture = picture.extract_band(0, n=most)
    return picture.cast("uchar")
