"""Spoiled pictures of every kind: only our errors come out, and no false success."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from app.errors import OffloadError
from app.ops.base import Limits, Source, Work, opened
from app.ops.image import ImageParams, convert
from app.ops.imaging.rights import _from_iptc, _from_xmp
from tests.fuzz.budget import mutated, rounds
from tests.memory import peak_kib
from tests.ops.image_cases import (
    RED,
    animation,
    corners,
    encoded,
    heic,
    noise,
    plain,
    png_chunk,
)
from tests.ops.image_profiles import rgb_profile

pytestmark = pytest.mark.fuzz

LIMITS = Limits(time_s=10, max_pixels=1_000_000)

EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x8298], EXIF[0x013B] = 6, "Owner", "Maker"
EXTRAS = {"exif": EXIF, "icc_profile": rgb_profile()}

SEEDS = {
    "jpeg": encoded(corners(90, 60), "JPEG", **EXTRAS),
    "progressive jpeg": encoded(noise(60, 40), "JPEG", progressive=True),
    "grey jpeg": encoded(noise(60, 40).convert("L"), "JPEG"),
    "cmyk jpeg": encoded(plain(40, 30, (9, 99, 200, 30), "CMYK"), "JPEG"),
    "png": encoded(corners(90, 60), "PNG", **EXTRAS),
    "palette png": encoded(corners(90, 60).quantize(8), "PNG"),
    "16-bit png": encoded(plain(40, 30, 0x6464, "I;16"), "PNG"),
    "webp": encoded(corners(90, 60), "WEBP", **EXTRAS),
    "lossless webp": encoded(noise(60, 40).convert("RGBA"), "WEBP", lossless=True),
    "moving webp": animation("WEBP", duration=[20, 30, 40]),
    "gif": encoded(corners(90, 60), "GIF"),
    "moving gif": animation("GIF", (RED, (1, 2, 3), (9, 8, 7), RED), duration=50),
    "tiff": encoded(corners(90, 60), "TIFF"),
    "lzw tiff": encoded(corners(90, 60), "TIFF", compression="tiff_lzw"),
    "jpeg tiff": encoded(corners(90, 60), "TIFF", compression="jpeg"),
    "fax tiff": encoded(noise(64, 40).convert("1"), "TIFF", compression="group4"),
    "avif": encoded(corners(90, 60), "AVIF", **EXTRAS),
    "moving avif": animation("AVIF", duration=50),
    "heic": heic(corners(90, 70), exif=EXIF.tobytes(), icc_profile=rgb_profile()),
    "tiled heic": heic(noise(200, 150), tile_size=64),
    "bmp": encoded(noise(60, 40), "BMP"),
    "palette bmp": encoded(corners(90, 60).quantize(8), "BMP"),
    "ico": encoded(corners(64, 64).convert("RGBA"), "ICO", sizes=[(16, 16), (64, 64)]),
    "old ico": encoded(corners(32, 32), "ICO", sizes=[(32, 32)], bitmap_format="bmp"),
}

ASKED = (
    {"format": "png", "width": 30},
    {"format": "webp", "crop": "0,0,8,8", "metadata": "copyright"},
    {"format": "jpeg", "fit": "cover", "width": 20, "height": 20, "gravity": "attention"},
    {"format": "auto", "rotate": 33, "metadata": "keep", "icc": "keep"},
    {"variants": [{"name": "a", "width": 9}, {"name": "b", "format": "png", "blur": 2}]},
)


def outcome(folder: Path, content: bytes, params: dict) -> str:
    """Run the operation; every result must be a picture that Pillow reads and as promised."""
    source, made = folder / "source", folder / "made"
    source.write_bytes(content)
    made.mkdir(exist_ok=True)
    work = Work((Source(source, "x", "application/octet-stream", len(content)),), made, LIMITS)
    refusal: OffloadError | None = None
    try:
        result = convert(work, ImageParams.model_validate(params))
    except OffloadError as error:
        refusal = error
    if refusal is not None:
        # Nothing that these small pictures can do is the service's fault.
        assert refusal.status < 500
        return refusal.code
    facts = result.facts.get("variants") or {"": result.facts}
    for output, told in zip(result.outputs, facts.values(), strict=True):
        with opened(output.content) as file, Image.open(file) as picture:
            picture.load()
            assert picture.size == (told["width_px"], told["height_px"])
            assert picture.format == told["format"].upper()
        if output.data is None:
            output.path.unlink()
    return "made"


@pytest.mark.parametrize("kind", SEEDS)
def test_a_seed_is_a_picture(tmp_path, kind):
    assert all(outcome(tmp_path, SEEDS[kind], params) == "made" for params in ASKED)


def test_spoiled_pictures_are_refused_or_shown(tmp_path):
    before, kinds = peak_kib(), list(SEEDS.values())
    found = {
        outcome(tmp_path, mutated(chance.choice(kinds), chance), chance.choice(ASKED))
        for chance in rounds(seed=6)
    }
    assert "image.unreadable" in found
    assert peak_kib() - before < 400_000


def test_heads_and_tails_of_different_kinds_are_refused_or_shown(tmp_path):
    kinds = list(SEEDS.values())
    for chance in rounds(seed=7):
        head, tail = chance.choice(kinds), chance.choice(kinds)
        content = head[: chance.randrange(len(head))] + tail[chance.randrange(len(tail)) :]
        outcome(tmp_path, content, chance.choice(ASKED))


def test_a_png_whose_pixels_were_touched_is_never_shown(tmp_path):
    # PNG has a checksum on everything, so that here every flip of a bit can be told.
    seed = encoded(noise(60, 40))
    first, last = seed.index(b"IDAT") - 4, seed.rindex(b"IEND") - 4
    for chance in rounds(seed=8):
        spoiled = bytearray(seed)
        spoiled[chance.randrange(first + 8, last)] ^= 1 << chance.randrange(8)
        assert outcome(tmp_path, bytes(spoiled), {"format": "png"}) == "image.unreadable"


def test_a_cut_picture_is_never_shown(tmp_path):
    whole = {
        name: content
        for name, content in SEEDS.items()
        # The last bytes of these hold no pixels: an index, padding, or nothing that is missed.
        if not any(kind in name for kind in ("tiff", "avif", "png", "bmp", "ico"))
    }
    for chance in rounds(seed=9):
        seed = chance.choice(list(whole.values()))
        keep = chance.randrange(len(seed) - 2)
        code = outcome(tmp_path, seed[:keep], chance.choice(ASKED))
        assert code in ("image.unreadable", "image.unsupported")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    width=st.integers(0, 2**32 - 1),
    height=st.integers(0, 2**32 - 1),
    depth=st.integers(0, 17),
    colour=st.integers(0, 7),
    interlace=st.integers(0, 2),
    pixels=st.binary(max_size=400),
)
def test_any_png_header_is_refused_or_shown(
    tmp_path_factory, width, height, depth, colour, interlace, pixels
):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    content = (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(pixels))
        + png_chunk(b"IEND", b"")
    )
    outcome(tmp_path_factory.mktemp("png"), content, {"format": "png"})


BOXES = (b"ispe", b"iloc", b"iinf", b"ipma", b"pixi", b"meta", b"iref", b"idat", b"irot", b"colr")


@pytest.mark.parametrize("kind", ["avif", "heic", "tiled heic"])
def test_boxes_in_any_disorder_are_refused_or_shown(tmp_path, kind):
    seed = SEEDS[kind]
    for chance in rounds(seed=10):
        spoiled = bytearray(seed)
        for _ in range(chance.randrange(1, 4)):
            name = chance.choice((*BOXES, b"av1C", b"hvcC"))
            at = seed.find(name)
            if at >= 0:
                place = at + chance.randrange(-4, 20)
                spoiled[place : place + 4] = chance.choice(
                    (bytes(4), b"\xff" * 4, b"\x00\x00\x00\x01", chance.randbytes(4))
                )
        outcome(tmp_path, bytes(spoiled), ASKED[0])


def test_statements_about_rights_never_raise():
    packet = b'<x xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:rights>A</dc:rights></x>'
    block = b"8BIM\x04\x04\x00\x00\x00\x00\x00\x0c\x1c\x02\x74\x00\x03Own\x1c\x02\x50\x00\x01M"
    assert _from_xmp(packet).notice == "A"
    assert (_from_iptc(block).notice, _from_iptc(block).creator) == ("Own", "M")
    for chance in rounds(seed=11):
        _from_xmp(mutated(packet, chance))
        _from_iptc(mutated(block, chance))
