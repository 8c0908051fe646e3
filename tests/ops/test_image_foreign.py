"""HEIC, BMP and ICO: formats that are only read, and not by libvips."""

import io
import struct
import sys

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from app.errors import ImageUnreadable, ImageUnsupported, PixelsExceeded
from app.ops.base import Limits
from app.ops.imaging import foreign
from app.ops.inspect import InspectParams, inspect
from app.ops.optimize import OptimizeParams, optimize
from tests.ops.image_cases import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    close,
    corner_colours,
    corners,
    encoded,
    heic,
    make,
    plain,
)
from tests.ops.image_profiles import rgb_profile

CORNERS = [RED, GREEN, BLUE, YELLOW]
COPYRIGHT, ORIENTATION = 0x8298, 0x0112


def shows_corners(picture: Image.Image) -> bool:
    found = corner_colours(picture, inset=8)
    return all(close(a, b, 12) for a, b in zip(found, CORNERS, strict=True))


# -- HEIC ----------------------------------------------------------------------------------------


def phone_photo(orientation: int = 6) -> bytes:
    """Stored lying, as a phone does: the container and EXIF both say how to turn it."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[COPYRIGHT] = orientation, "Owner"
    return heic(_turned_back(corners(120, 160), orientation), exif=exif.tobytes())


def _turned_back(picture: Image.Image, orientation: int) -> Image.Image:
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
    back |= {8: Image.Transpose.ROTATE_270, 1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT}
    return picture if back[orientation] is None else picture.transpose(back[orientation])


@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("metadata", ["strip", "keep", "copyright"])
def test_a_phone_photo_is_turned_once(make_work, orientation, metadata):
    made = make(make_work, phone_photo(orientation), metadata=metadata)
    assert made.facts["format"] == "jpeg"
    assert (made.facts["source_width_px"], made.facts["source_height_px"]) == (120, 160)
    # As a viewer shows it, who obeys what EXIF says.
    assert shows_corners(ImageOps.exif_transpose(made.picture))
    exif = made.picture.getexif()
    assert exif.get(COPYRIGHT) == (None if metadata == "strip" else "Owner")


def test_a_picture_of_tiles_is_put_together(make_work):
    made = make(make_work, heic(corners(300, 200), tile_size=64), format="png")
    assert made.picture.size == (300, 200)
    assert shows_corners(made.picture)


def test_of_a_burst_the_primary_picture_is_taken(make_work):
    burst = heic(plain(64, 64, RED), corners(80, 60), plain(64, 64, BLUE), primary_index=1)
    made = make(make_work, burst, format="png")
    assert made.facts["frames"] == 3
    assert shows_corners(made.picture)


def test_thumbnails_and_other_pictures_within_are_passed_by(make_work):
    held = pillow_heif.HeifFile()
    picture = held.add_from_pillow(corners(320, 240))
    picture.info["thumbnails"] = [64]
    file = io.BytesIO()
    held.save(file)
    made = make(make_work, file.getvalue(), format="png")
    assert made.picture.size == (320, 240)
    assert made.facts["frames"] == 1


def test_alpha_stays(make_work):
    picture = corners(64, 64).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 32, 64))
    made = make(make_work, heic(picture))
    assert made.facts["format"] == "webp"
    assert made.picture.getpixel((10, 10))[3] == 0
    assert made.picture.getpixel((50, 10))[3] == 255


@pytest.mark.parametrize(("mode", "bands"), [("RGB;16", 3), ("RGBA;16", 4), ("I;16", 1)])
def test_ten_bits_become_eight(make_work, mode, bands):
    samples = np.full((64, 64, bands), 0xC800, dtype="uint16")
    file = io.BytesIO()
    pillow_heif.from_bytes(mode, (64, 64), samples.tobytes()).save(file, quality=-1)
    made = make(make_work, file.getvalue(), format="png")
    values = made.picture.convert("RGB").getpixel((32, 32))
    assert close(values, (200, 200, 200), 2)


def test_colours_go_to_srgb_by_the_profile(make_work):
    swapped = rgb_profile()
    with_profile = make(make_work, heic(plain(64, 64, RED), icc_profile=swapped), format="png")
    jpeg = encoded(plain(64, 64, RED), "JPEG", icc_profile=swapped, quality=98)
    expected = make(make_work, jpeg, format="png").picture.getpixel((32, 32))
    assert not close(expected, RED, 12)
    assert close(with_profile.picture.getpixel((32, 32)), expected, 8)


@pytest.mark.parametrize("options", [{}, {"tile_size": 64}], ids=["whole", "tiles"])
def test_a_cut_heic_is_unreadable(make_work, options):
    content = heic(corners(200, 150), **options)
    for keep in (40, 200, 500, len(content) // 2, len(content) - 200, len(content) - 1):
        with pytest.raises(ImageUnreadable):
            make(make_work, content[:keep], format="png")


def test_what_cameras_hang_behind_a_heic_is_nobodys_concern(make_work):
    content = heic(corners(200, 150))
    for behind in (b"\x00\x00\x00\x10mpvd" + bytes(8), bytes(100), b"SEFT" * 50):
        assert shows_corners(make(make_work, content + behind, format="png").picture)


def test_a_heic_that_is_too_large_is_not_decoded(make_work, monkeypatch):
    content = heic(corners(64, 64))
    huge = content.replace(
        b"ispe" + struct.pack(">III", 0, 64, 64), b"ispe" + struct.pack(">III", 0, 20_000, 20_000)
    )
    assert huge != content
    monkeypatch.setattr(foreign, "decoded", None)
    with pytest.raises(PixelsExceeded):
        make(make_work, huge, format="png")


def test_a_heic_whose_sizes_differ_is_no_surprise(make_work):
    content = heic(corners(64, 64))
    for width, height in ((1, 1), (32, 64), (900, 900)):
        lying = content.replace(
            b"ispe" + struct.pack(">III", 0, 64, 64),
            b"ispe" + struct.pack(">III", 0, width, height),
        )
        try:
            made = make(make_work, lying, format="png")
        except ImageUnreadable:
            continue
        assert made.picture.size == (width, height)


def test_without_the_library_a_heic_is_refused_with_what_to_do(make_work, monkeypatch):
    foreign._pillow_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageUnsupported, match="README"):
        make(make_work, heic_content)
    foreign._pillow_heif.cache_clear()


heic_content = heic(plain(64, 64))


# -- BMP -----------------------------------------------------------------------------------------


def bitmap(bits: int, pixels: bytes, size=(2, 2), compression=0, more=b"", flip=False) -> bytes:
    """Write a BMP by hand: `more` stands between header and pixels."""
    offset = 14 + 40 + len(more)
    height = -size[1] if flip else size[1]
    header = struct.pack(
        "<IiiHHIIiiII", 40, size[0], height, 1, bits, compression, len(pixels), 0, 0, 0, 0
    )
    return (
        struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset) + header + more + pixels
    )


PALETTE = struct.pack("<4I", 0xDC1E1E, 0x1EB41E, 0x2828DC, 0xE6DC28) + bytes(4 * 252)
TOP_DOWN = b"".join(bytes([b, g, r, 0]) for r, g, b in (RED, GREEN, BLUE, YELLOW))

BITMAPS = {
    "24 bits": encoded(corners(2, 2), "BMP"),
    "top down": bitmap(32, TOP_DOWN, flip=True),
    "8 bits": bitmap(8, bytes([2, 3, 0, 0, 0, 1, 0, 0]), more=PALETTE),
    "rle": bitmap(
        8, bytes([1, 2, 1, 3, 0, 0, 1, 0, 1, 1, 0, 0, 0, 1]), compression=1, more=PALETTE
    ),
    "4 bits": bitmap(4, bytes([0x23, 0, 0, 0, 0x01, 0, 0, 0]), more=PALETTE[:64]),
}


@pytest.mark.parametrize("kind", BITMAPS)
def test_bitmaps_of_every_sort_are_read(make_work, kind):
    made = make(make_work, BITMAPS[kind])
    assert made.facts["format"] == "png"
    picture = made.picture.convert("RGB")
    found = [picture.getpixel(at) for at in ((0, 0), (1, 0), (0, 1), (1, 1))]
    assert all(close(a, b, 4) for a, b in zip(found, CORNERS, strict=True)), found


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_a_bitmap_looks_as_it_did(make_work, mode):
    picture = corners(60, 40).quantize(8) if mode == "P" else corners(60, 40).convert(mode)
    made = make(make_work, encoded(picture, "BMP"), format="png")
    assert shows_corners(made.picture) == (mode not in ("1", "L"))
    assert made.picture.convert("L").getpixel((9, 9)) == picture.convert("L").getpixel((9, 9))


def test_a_bitmap_is_made_smaller_and_padded_as_any_picture(make_work):
    asked = {"width": 30, "height": 30, "fit": "contain", "format": "jpeg"}
    made = make(make_work, encoded(corners(60, 40), "BMP"), **asked)
    assert made.picture.size == (30, 30)


# -- ICO -----------------------------------------------------------------------------------------


def icon(**options) -> bytes:
    small, large = plain(16, 16, (*BLUE, 255), "RGBA"), corners(64, 64).convert("RGBA")
    large.putpixel((0, 0), (0, 0, 0, 0))
    return encoded(large, "ICO", sizes=[(16, 16), (64, 64)], append_images=[small], **options)


@pytest.mark.parametrize("inside", ["png", "bmp"])
def test_of_an_icon_the_largest_picture_is_taken(make_work, inside):
    made = make(make_work, icon(bitmap_format=inside))
    assert (made.facts["format"], made.picture.size) == ("png", (64, 64))
    assert shows_corners(made.picture)
    assert made.picture.getpixel((0, 0))[3] == 0
    assert made.picture.getpixel((9, 9))[3] == 255


def test_of_two_of_a_size_the_one_with_more_colours_is_taken(make_work):
    large = corners(32, 32).convert("RGBA")
    few = plain(32, 32, BLUE).quantize(16)
    content = encoded(few, "ICO", sizes=[(32, 32)], append_images=[large], bitmap_format="bmp")
    assert shows_corners(make(make_work, content, format="png").picture)


def test_an_icon_whose_alpha_hides_all_of_it_is_shown(make_work):
    clear = corners(32, 32).convert("RGBA")
    clear.putalpha(0)
    content = encoded(clear, "ICO", sizes=[(32, 32)], bitmap_format="bmp")
    assert shows_corners(make(make_work, content, format="png").picture)


def test_an_icon_is_measured_by_what_is_in_it(make_work):
    huge = encoded(plain(1, 1), "PNG").replace(
        struct.pack(">II", 1, 1), struct.pack(">II", 9999, 9999)
    )
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(huge), 22)
    with pytest.raises((PixelsExceeded, ImageUnreadable)):
        make(make_work, struct.pack("<HHH", 0, 1, 1) + entry + huge)
    inner = struct.pack("<IiiHHIIiiII", 40, 30_000, 60_000, 1, 32, 0, 0, 0, 0, 0, 0)
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    with pytest.raises(PixelsExceeded):
        make(make_work, struct.pack("<HHH", 0, 1, 1) + entry + inner)


# -- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [*BITMAPS.values(), icon(), icon(bitmap_format="bmp")])
def test_a_cut_file_is_unreadable(make_work, content):
    # The last bytes of a row or of an icon are filling.
    for keep in (20, 30, 50, len(content) // 2, len(content) * 7 // 8):
        with pytest.raises((ImageUnreadable, ImageUnsupported)):
            make(make_work, content[:keep], format="png")


def test_a_bitmap_that_is_too_large_is_not_decoded(make_work):
    with pytest.raises(PixelsExceeded):
        make(make_work, bitmap(24, bytes(100), (30_000, 30_000)))
    for size in ((2**31 - 1, 2**31 - 1), (-1, 5), (0, 5)):
        with pytest.raises(ImageUnreadable):
            make(make_work, bitmap(24, bytes(100), size))


@pytest.mark.parametrize(
    ("content", "kind", "size", "bits", "alpha"),
    [
        (phone_photo(), "heic", (120, 160), 8, False),
        (encoded(corners(60, 40), "BMP"), "bmp", (60, 40), 8, False),
        (icon(), "ico", (64, 64), 8, True),
    ],
    ids=["heic", "bmp", "ico"],
)
def test_inspect_tells_of_it(make_work, content, kind, size, bits, alpha):
    told = inspect(make_work(content), InspectParams()).facts["picture"]
    assert (told["readable"], told["verified"], told["format"]) == (True, True, kind)
    assert (told["width_px"], told["height_px"], told["alpha"]) == (*size, alpha)
    assert (told["bits_per_channel"], told["orientation"]) == (bits, 1)
    assert told["metadata"]["exif"] == (kind == "heic")


def test_inspect_tells_what_is_wrong_with_it(make_work):
    told = inspect(make_work(heic_content[:-9]), InspectParams()).facts["picture"]
    assert told["readable"] is False
    huge = bitmap(24, bytes(100), (30_000, 30_000))
    told = inspect(make_work(huge), InspectParams()).facts["picture"]
    assert (told["verified"], told["width_px"]) == (False, 30_000)


@pytest.mark.parametrize("content", [phone_photo(), encoded(corners(200, 100), "BMP"), icon()])
def test_optimize_takes_it_and_gives_no_more_than_it_got(make_work, content):
    work = make_work(content, limits=Limits(time_s=20))
    result = optimize(work, OptimizeParams(formats=("jpeg", "webp")))
    [output] = result.outputs
    assert output.path.stat().st_size <= len(content)
    assert output.media_type.startswith("image/")
