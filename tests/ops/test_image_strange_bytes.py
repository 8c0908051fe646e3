"""What strangers write into pictures beside the pixels: turned, in any encoding, in messages."""

import io
import itertools
import random
import resource
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from app.errors import ImageError, ImageUnreadable, MemoryExceeded, OutputTooLarge, StorageFull
from app.ops.base import Limits, whole
from app.ops.image import ImageParams, convert
from app.ops.imaging.encoding import SUFFIX, Encoding, save
from app.ops.imaging.failures import translated, translating
from app.ops.imaging.vips import libvips
from app.ops.inspect import InspectParams, inspect
from app.ops.optimize import OptimizeParams, optimize
from tests.ops.image_cases import (
    close,
    corner_colours,
    corners,
    encoded,
    noise,
    plain,
    png_chunk,
)

PATIENT = Limits(time_s=600)

# -- turned --------------------------------------------------------------------------------------

TALL = (24, 1800)
"""Far more rows than libvips keeps of a file that it reads from top to bottom."""


def turned(kind: str, orientation: int, size=TALL) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(corners(*size), kind, exif=exif)


def opened(made) -> Image.Image:
    return Image.open(io.BytesIO(whole(made.outputs[0].content)))


def upright(content: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")


# A JPEG is turned without being decoded, an AVIF by boxes of its own; all others by one way: as it
# is, upside down, and both kinds of standing ones.
@pytest.mark.parametrize(
    ("kind", "orientation"),
    [
        *itertools.product(["JPEG", "AVIF"], range(1, 9)),
        *itertools.product(["PNG", "WEBP", "TIFF"], [1, 3, 6, 7]),
    ],
)
@pytest.mark.parametrize(
    ("operation", "params"),
    [
        (optimize, OptimizeParams(mode="lossless", formats=["keep", "png"])),
        (optimize, OptimizeParams(mode="lossy", formats=["keep", "png"])),
        (convert, ImageParams(format="png")),
        (convert, ImageParams(format="png", crop=(1, 1, 20, 20), rotate=180)),
        (inspect, InspectParams()),
    ],
    ids=["lossless", "lossy", "image", "crop", "inspect"],
)
def test_a_turned_picture_is_as_good_as_any(make_work, kind, orientation, operation, params):
    content = turned(kind, orientation)
    result = operation(make_work(content, f"a.{kind.lower()}", PATIENT), params)
    wanted = upright(content)
    if operation is inspect:
        told = result.facts["picture"]
        assert (told["readable"], told["verified"]) == (True, True)
        assert (told["width_px"], told["height_px"]) == wanted.size
        return
    made = upright(whole(result.outputs[0].content))
    if getattr(params, "crop", None):
        assert close(made.getpixel((10, 10)), wanted.getpixel((10, 10)), 8)
        return
    assert made.size == wanted.size
    for found, colour in zip(corner_colours(made), corner_colours(wanted), strict=True):
        assert close(found, colour, 12)


def test_an_animation_that_is_turned_is_left_alone(make_work):
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [noise(30, 20, seed) for seed in range(3)]
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], exif=exif)
    result = optimize(make_work(content, "a.webp"), OptimizeParams())
    assert result.facts["kept_original"]
    assert "turned" in result.facts["reason"]
    assert whole(result.outputs[0].content) == content


# -- written in any encoding ---------------------------------------------------------------------

AWKWARD = (
    b"\xa9 1999 Ren\xe9",
    b"a\x00b\x00",
    b"\xff\xfe\x80\x81",
    b"\xed\xa0\x80",
    b"",
    b"\x01\x1b[31m",
)


def _png(*chunks: tuple[bytes, bytes]) -> bytes:
    content = encoded(noise(16, 12))
    end = content.index(b"IDAT") - 4
    return content[:end] + b"".join(png_chunk(*one) for one in chunks) + content[end:]


def _jpeg(marker: int, body: bytes) -> bytes:
    content = encoded(noise(16, 12), "JPEG", quality=97)
    return content[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + content[2:]


def _exif(text: bytes) -> bytes:
    """Build a TIFF with Copyright and an own tag of this text."""
    text = text.ljust(5, b"\x00")
    at = 8 + 2 + 2 * 12 + 4
    entries = b"".join(struct.pack(">HHII", tag, 2, len(text), at) for tag in (0x8298, 0xC001))
    return b"MM\x00\x2a" + struct.pack(">IH", 8, 2) + entries + bytes(4) + text


def _profile(name: bytes) -> bytes:
    desc = b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name + bytes(1 + 78)
    head = bytearray(128)
    head[12:16], head[16:20], head[20:24], head[36:40] = b"mntr", b"RGB ", b"XYZ ", b"acsp"
    tags = struct.pack(">I4sII", 1, b"desc", 144, len(desc))
    head[:4] = struct.pack(">I", 144 + len(desc))
    return bytes(head) + tags + desc


def _gif(text: bytes) -> bytes:
    content = encoded(noise(16, 12), "GIF")
    comment = b"\x21\xfe" + bytes([len(text)]) + text + b"\x00" if text else b""
    return content[:-1] + comment + content[-1:]


def _xmp(text: bytes) -> bytes:
    return (
        b'<x xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:rights>' + text + b"</dc:rights></x>"
    )


WITH_TEXT = {
    "png keyword": lambda text: _png((b"tEXt", b"Auteur" + text[:40] + b"\x00me")),
    "png text": lambda text: _png((b"tEXt", b"Comment\x00" + text)),
    "png itxt": lambda text: _png((b"iTXt", b"Title\x00\x00\x00fr\x00" + text + b"\x00" + text)),
    "png ztxt": lambda text: _png(
        (b"zTXt", b"Note" + text[:9].replace(b"\x00", b"") + b"\x00\x00" + zlib.compress(text))
    ),
    "png xmp": lambda text: _png((b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + _xmp(text))),
    "png exif": lambda text: _png((b"eXIf", _exif(text))),
    "png profile": lambda text: _png(
        (
            b"iCCP",
            b"n" + text[:40].replace(b"\x00", b"") + b"\x00\x00" + zlib.compress(_profile(text)),
        )
    ),
    "jpeg comment": lambda text: _jpeg(0xFE, text),
    "jpeg exif": lambda text: _jpeg(0xE1, b"Exif\x00\x00" + _exif(text)),
    "jpeg xmp": lambda text: _jpeg(0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + _xmp(text)),
    "jpeg iptc": lambda text: _jpeg(
        0xED,
        b"Photoshop 3.0\x008BIM\x04\x04\x00\x00"
        + struct.pack(">IBBBH", 5 + len(text), 0x1C, 2, 116, len(text))
        + text
        + bytes(len(text) % 2 + 1),
    ),
    "jpeg profile": lambda text: _jpeg(0xE2, b"ICC_PROFILE\x00\x01\x01" + _profile(text)),
    "gif comment": _gif,
}


@pytest.mark.parametrize("place", WITH_TEXT)
def test_no_encoding_of_metadata_is_a_reason_to_fail(make_work, place):
    for text in AWKWARD:
        content = WITH_TEXT[place](text)
        told = inspect(make_work(content), InspectParams()).facts["picture"]
        assert (told["readable"], told["verified"]) == (True, True)
        for metadata in ("strip", "copyright", "keep"):
            made = convert(make_work(content), ImageParams(metadata=metadata))
            assert opened(made).size == (16, 12)
            if metadata != "strip" or text == AWKWARD[0]:  # a process each
                _is_optimized(make_work(content, "a", PATIENT), "lossless", metadata)
        # Looks for a quality, at ten times the time: with the one that keeps most.
        _is_optimized(make_work(content, "a", PATIENT), "lossy", "keep")


def _is_optimized(work, mode, metadata):
    made = optimize(work, OptimizeParams(mode=mode, formats=["keep"], metadata=metadata))
    assert opened(made).size == (16, 12)


def test_a_copyright_in_latin_1_is_read_as_that(make_work):
    content = WITH_TEXT["jpeg exif"](b"\xa9 1999 Ren\xe9")
    made = convert(make_work(content), ImageParams(metadata="copyright", format="jpeg"))
    # In XMP, where it is written so that no reader takes it for another encoding.
    assert b"&#169; 1999 Ren&#233;" in whole(made.outputs[0].content)


@pytest.mark.parametrize("offset", [2**63 - 1, 2**63, 2**64 - 1])
def test_an_offset_of_a_bigtiff_may_be_any_number(make_work, offset):
    content = struct.pack("<2sHHHQ", b"II", 43, 8, 0, offset)
    told = inspect(make_work(content), InspectParams()).facts["picture"]
    assert told["readable"] is False
    with pytest.raises(ImageUnreadable):
        convert(make_work(content), ImageParams(metadata="copyright"))
    # The same far place, of a text.
    value = struct.pack("<HHQQ", 0x8298, 2, 99, offset)
    content = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, 1) + value + bytes(8)
    with pytest.raises(ImageUnreadable):
        convert(make_work(content), ImageParams(metadata="copyright"))


# -- messages ------------------------------------------------------------------------------------

CHOSEN = (
    b"killed for image",
    b"File too large",
    b"No space left on device",
    b"Disk quota exceeded",
    b"\xff\xfe\x80",
    b"caf\xe9 \xed\xa0\x80",
)


@pytest.mark.parametrize("words", CHOSEN)
def test_no_words_in_a_message_make_it_the_fault_of_the_service(words):
    # A file that is not there: libvips says its name.
    with pytest.raises(ImageUnreadable) as refusal, translating():
        libvips().Source.new_from_file(b"/nowhere/" + words)
    refusal.value.log_detail.encode()
    assert words.decode(errors="backslashreplace") in refusal.value.log_detail


def test_a_warning_in_any_encoding_is_no_error_of_its_own(capfd):
    pyvips = libvips()
    pyvips._log_handler_callback(
        pyvips.ffi.new("char[]", b"VIPS"),
        1 << 4,
        pyvips.ffi.new("char[]", b"caf\xe9"),
        pyvips.ffi.NULL,
    )
    assert "Traceback" not in capfd.readouterr().err


def test_any_message_is_read(make_work):
    chance = random.Random(9)
    for _ in range(300):
        refused = translated(chance.randbytes(40))
        assert isinstance(refused, ImageUnreadable | MemoryExceeded)
        refused.log_detail.encode()


def test_names_of_an_avif_in_no_encoding_are_refused_or_shown(make_work):
    content = encoded(plain(40, 30), "AVIF")
    names = (
        b"av01",
        b"pitm",
        b"ipma",
        b"ispe",
        b"av1C",
        b"pixi",
        b"colr",
        b"hdlr",
        b"avif",
        b"mif1",
    )
    chance = random.Random(5)
    for _ in range(60):
        spoiled = content
        for name in chance.sample(names, 2):
            at = spoiled.rfind(name)
            spoiled = (
                spoiled[:at] + bytes(chance.randrange(128, 256) for _ in name) + spoiled[at + 4 :]
            )
        spoiled = content[:12] + spoiled[12:]
        with suppress(ImageError):
            convert(make_work(spoiled), ImageParams(format="png"))
        inspect(make_work(spoiled), InspectParams())


# -- no room to write ----------------------------------------------------------------------------


@pytest.fixture
def small_files():
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _picture():
    return libvips().Image.new_from_memory(
        random.Random(1).randbytes(120_000), 200, 200, 3, "uchar"
    )


@pytest.mark.parametrize("name", SUFFIX)
def test_the_kernel_says_that_a_file_is_too_large(tmp_path, small_files, name):
    with pytest.raises(OutputTooLarge):
        save(_picture().copy(interpretation="srgb"), tmp_path / "a", Encoding(name))


@pytest.mark.parametrize("name", SUFFIX)
def test_the_kernel_says_that_the_disk_is_full(name):
    with pytest.raises(StorageFull):
        save(_picture().copy(interpretation="srgb"), Path("/dev/full"), Encoding(name))
