"""Smaller files of exactly the same pixels: recoded JPEG and PNG, and the proof that they are."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.errors import DeadlineExceeded, ImageError
from app.ops.imaging.encoding import Keep, save_with
from app.ops.imaging.failures import translating
from app.ops.imaging.loading import Header, Kind, load, orientation_of
from app.ops.imaging.rights import Rights, with_rights_only
from app.ops.imaging.vips import libvips

# Each frame with the colours that it has, and of each only what differs from the one before. With
# less effort, colours are merged that are nearly the same.
_EXACT_GIF: dict[str, Any] = {
    "effort": 7,
    "dither": 0.0,
    "interframe_maxerror": 0.0,
    "interpalette_maxerror": 0.0,
    "keep_duplicate_frames": True,
}

_PROGRAM = Path(__file__).with_name("recode.py")

_SOI = b"\xff\xd8"
_APP0, _APP1, _APP2, _SOS, _EOI = 0xE0, 0xE1, 0xE2, 0xDA, 0xD9
_ICC = b"ICC_PROFILE\x00"


def recode(
    kind: Kind,
    source: Path,
    target: Path,
    *,
    keep_all: bool,
    level: int,
    time_s: float,
) -> bool:
    """Write a JPEG or PNG anew with the same pixels, better coded.

    Args:
        kind: of both files, `jpeg` or `png`.
        source: a whole, undamaged file: it has been decoded before.
        target: the file to write.
        keep_all: whether all metadata goes with it. If not, a PNG keeps what says how its
            colours are to be seen; a JPEG keeps nothing, see `restore_looks`.
        level: of oxipng, for a PNG.
        time_s: longest time to take.

    Returns:
        Whether there is a result; not if the coder does not take the file.

    Raises:
        DeadlineExceeded: the time ran out.
    """
    markers = "all" if keep_all else "strip"
    program = [sys.executable, "-I", str(_PROGRAM)]
    command = [*program, kind, markers, str(level), str(source), str(target)]
    try:
        # Both paths are of our own naming; nothing in the command comes from a client.
        done = subprocess.run(  # noqa: S603
            command, timeout=time_s, check=False, stdin=subprocess.DEVNULL, capture_output=True
        )
    except subprocess.TimeoutExpired as error:
        raise DeadlineExceeded("The work took longer than an item may take.") from error
    return done.returncode == 0 and target.is_file()


def rewrite(kind: Kind, picture: Any, target: Path, keep: tuple[Keep, ...]) -> None:
    """Write a GIF or TIFF anew with the same pixels.

    The caller sees to it that they are: a GIF of more than 256 colours a frame loses some.

    Args:
        kind: of the file, `gif` or `tiff`.
        picture: all of it, from `as_stored`.
        target: the file to write.
        keep: which of the picture's fields are written as metadata.

    Raises:
        MemoryExceeded, OutputTooLarge, StorageFull: as their names say.
    """
    if kind == "gif":
        save_with(picture, target, "gif", keep, **_EXACT_GIF)
    else:
        predictor = "horizontal" if picture.format in ("uchar", "ushort") else "none"
        save_with(picture, target, "tiff", keep, compression="deflate", predictor=predictor)


def restore_looks(target: Path, header: Header, rights: Rights) -> None:
    """Give a JPEG without metadata back what it would look different without, and its rights.

    That is the APP2 segments of its colour profile (ICC.1, annex B.4) and an EXIF block with the
    orientation, if the picture is turned.

    Args:
        target: the file, to be changed.
        header: of the picture that it was made from.
        rights: statements to write; falsy if there are none.
    """
    found = [
        segment
        for marker, segment in _segments(header.path.read_bytes())
        if marker == _APP2 and segment[4:].startswith(_ICC)
    ]
    if rights:
        found = _stating(rights, header.orientation) + found
    elif header.orientation != 1:
        found.insert(0, _orientation(header.orientation))
    content = target.read_bytes()
    # JFIF wants its own segment to be the first.
    at = len(_SOI)
    for marker, segment in _segments(content):
        if marker != _APP0:
            break
        at += len(segment)
    target.write_bytes(b"".join((content[:at], *found, content[at:])))


def _stating(rights: Rights, orientation: int) -> list[bytes]:
    """Build EXIF and XMP segments, by having libvips write them into another JPEG."""
    pyvips = libvips()
    picture = with_rights_only(pyvips.Image.black(1, 1), rights)
    picture.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    content = bytes(picture.jpegsave_buffer(keep="exif|xmp"))
    return [segment for marker, segment in _segments(content) if marker == _APP1]


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Go through a JPEG's marker segments, whole, up to its first scan."""
    at = len(_SOI)
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker in (_SOS, _EOI):
            return
        if marker == 0xFF:
            # Any number of these may fill up before a marker.
            at += 1
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4])
        yield marker, content[at:end]
        at = end


def _orientation(value: int) -> bytes:
    """Build an APP1 segment: EXIF, big-endian, one directory, one SHORT."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, value, 0)
    exif = b"Exif\x00\x00MM\x00\x2a" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    return struct.pack(">BBH", 0xFF, _APP1, len(exif) + 2) + exif


def as_stored(path: Path, kind: Kind, frames: int = 1) -> Any:
    """Decode a picture whole, into memory: upright, in its own colours and depth.

    Raises:
        ImageUnreadable: cut or damaged.
        MemoryExceeded: as its name says.
    """
    with translating():
        picture = load(path, kind, frames).copy_memory()
        # Only now: what turns a picture reads it from another side than the file begins at.
        return picture if orientation_of(picture) == 1 else picture.autorot().copy_memory()


def same_pixels(first: Any, path: Path, kind: Kind, frames: int = 1) -> bool:
    """Tell whether a file decodes to exactly these pixels: every channel, every frame.

    Grey and RGB of the same value are the same, and so are opaque alpha and none.
    """
    try:
        second = as_stored(path, kind, frames)
        with translating():
            if (first.width, first.height) != (second.width, second.height):
                return False
            first, second = _comparable(first), _comparable(second)
            if first.format != second.format or first.bands != second.bands:
                return False
            return bool((first - second).abs().max() == 0)
    except ImageError:
        return False


def _comparable(picture: Any) -> Any:
    """Bring a picture to RGBA where that changes no value."""
    if picture.interpretation not in ("b-w", "grey16", "srgb", "rgb16"):
        return picture
    deep = picture.format == "ushort"
    if not picture.hasalpha():
        picture = picture.bandjoin(65535 if deep else 255)
    if picture.bands == 2:
        grey, alpha = picture.bandsplit()
        picture = grey.bandjoin([grey, grey, alpha])
    return picture
