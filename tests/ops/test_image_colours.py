"""Colours, held grid by grid against another engine's; and transparency."""

import io
import struct
import zlib
from itertools import product

import pytest
from PIL import Image, ImageCms

from app.errors import ImageUnsupported
from tests.ops.image_cases import (
    close,
    encoded,
    half_clear,
    make,
    make_all,
    plain,
    png,
    png_chunk,
)
from tests.ops.image_profiles import ADOBE_RGB, DISPLAY_P3, cmyk_profile, grey_profile, rgb_profile

PATCH = 16
GRID = list(product((0, 64, 128, 192, 255), repeat=3))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def grid(colours, mode: str = "RGB", columns: int = 25) -> Image.Image:
    """Draw one patch for each colour."""
    rows = -(-len(colours) // columns)
    picture = Image.new(mode, (columns * PATCH, rows * PATCH))
    for number, colour in enumerate(colours):
        left, top = number % columns * PATCH, number // columns * PATCH
        picture.paste(colour, (left, top, left + PATCH, top + PATCH))
    return picture


def patches(picture: Image.Image, count: int, columns: int = 25) -> list[tuple[int, ...]]:
    """Read the middle of each patch; the picture may have been scaled."""
    size = picture.width / columns
    picture = picture.convert("RGB")
    return [
        picture.getpixel((int((n % columns + 0.5) * size), int((n // columns + 0.5) * size)))
        for n in range(count)
    ]


def worst(found, wanted) -> int:
    return max(
        abs(a - b)
        for one, two in zip(found, wanted, strict=True)
        for a, b in zip(one, two, strict=True)
    )


def by_lcms(picture: Image.Image, profile: bytes) -> Image.Image:
    """Convert as Little CMS does it for Pillow."""
    return ImageCms.profileToProfile(
        picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), SRGB, outputMode="RGB"
    )


# Kind, how to save, and how far off a colour may be.
EXACT = [
    ("PNG", {}, 0),
    ("TIFF", {}, 0),
    ("TIFF", {"compression": "tiff_lzw"}, 0),
    ("WEBP", {"lossless": True}, 0),
    ("JPEG", {"quality": 100, "subsampling": 0}, 3),
    ("TIFF", {"compression": "jpeg", "quality": 100}, 4),
    ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 4),
]


@pytest.mark.parametrize(("kind", "options", "within"), EXACT)
def test_every_kind_is_read_in_its_own_colours(make_work, kind, options, within):
    made = make(make_work, encoded(grid(GRID), kind, **options), format="png")
    assert worst(patches(made.picture, len(GRID)), GRID) <= within


@pytest.mark.parametrize(
    ("written", "params", "within"),
    [
        ("png", {}, 0),
        ("tiff", {}, 0),
        ("webp", {"lossless": True}, 0),
        ("avif", {"lossless": True}, 1),
        ("jpeg", {"quality": 100}, 4),
        ("avif", {"quality": 100}, 6),
        ("webp", {"quality": 100}, 40),  # 4:2:0
        ("gif", {"effort": 9}, 12),
    ],
)
def test_every_kind_is_written_in_the_right_colours(make_work, written, params, within):
    made = make(make_work, encoded(grid(GRID)), format=written, **params)
    assert worst(patches(made.picture, len(GRID)), GRID) <= within


@pytest.mark.parametrize(
    "profile", [rgb_profile(ADOBE_RGB), rgb_profile(DISPLAY_P3, 1.8)], ids=["adobe", "p3"]
)
@pytest.mark.parametrize(
    ("kind", "options", "within"),
    [
        ("PNG", {}, 2),
        ("TIFF", {}, 2),
        ("WEBP", {"lossless": True}, 2),
        ("JPEG", {"quality": 100, "subsampling": 0}, 6),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 16),
    ],
)
def test_a_wide_gamut_becomes_srgb(make_work, kind, options, within, profile):
    picture = grid(GRID)
    content = encoded(picture, kind, icc_profile=profile, **options)
    wanted = patches(by_lcms(picture, profile), len(GRID))
    assert worst(wanted, GRID) > 25
    cut = {"name": "cut", "crop": [0, 0, 400, 80]}
    variants = [{"name": "same"}, {"name": "half", "width": 200}]
    # Together they come out of one whole decode, alone a JPEG comes out of a smaller one.
    for chosen in ([*variants, cut], variants[1:]):
        made, _ = make_all(make_work, content, format="png", variants=chosen)
        for one in made.values():
            assert worst(patches(one.picture, len(GRID)), wanted) <= within
            assert "icc_profile" not in one.picture.info


@pytest.mark.parametrize("written", ["jpeg", "png", "webp", "avif", "tiff"])
def test_a_profile_that_is_kept_goes_with_colours_that_are_left(make_work, written):
    profile = rgb_profile(ADOBE_RGB)
    content = encoded(grid(GRID), icc_profile=profile)
    quality = {} if written in ("png", "tiff") else {"quality": 100}
    made = make(make_work, content, icc="keep", format=written, **quality)
    assert made.picture.info["icc_profile"] == profile
    assert worst(patches(made.picture, len(GRID)), GRID) <= (40 if quality else 0)
    assert b"SECRET" not in made.content


def test_sixteen_bits_with_a_profile_become_eight_in_srgb(make_work):
    profile = rgb_profile(ADOBE_RGB)
    picture = grid(GRID)
    rows = b"".join(
        b"\x00"
        + b"".join(
            struct.pack(">3H", *(value * 257 for value in picture.getpixel((x, y))))
            for x in range(picture.width)
        )
        for y in range(picture.height)
    )
    plain16 = png(*picture.size, depth=16, data=zlib.compress(rows))
    assert worst(patches(make(make_work, plain16).picture, len(GRID)), GRID) == 0
    iccp = png_chunk(b"iCCP", b"by hand\x00\x00" + zlib.compress(profile))
    made = make(make_work, plain16[:33] + iccp + plain16[33:])
    assert made.content[24] == 8
    wanted = patches(by_lcms(picture, profile), len(GRID))
    assert worst(patches(made.picture, len(GRID)), wanted) <= 2


INKS = list(product((0, 85, 170, 255), repeat=4))


@pytest.mark.parametrize("params", [{}, {"width": 200}, {"crop": "0,0,400,176"}])
@pytest.mark.parametrize(
    ("kind", "options", "within"),
    [("TIFF", {}, 3), ("JPEG", {"quality": 100, "subsampling": 0}, 9)],
)
def test_cmyk_goes_by_its_profile(make_work, kind, options, within, params):
    picture = grid(INKS, "CMYK")
    content = encoded(picture, kind, icc_profile=cmyk_profile(), **options)
    made = make(make_work, content, format="png", **params)
    assert made.picture.mode == "RGB"
    wanted = patches(by_lcms(picture, cmyk_profile()), len(INKS))
    assert worst(patches(made.picture, len(INKS)), wanted) <= within


@pytest.mark.parametrize(("kind", "options"), [("TIFF", {}), ("JPEG", {"quality": 100})])
@pytest.mark.parametrize("icc", ["srgb", "keep"])
def test_cmyk_without_a_profile_is_printed_as_usual(make_work, kind, options, icc):
    inks = [(255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255), (0, 0, 0, 0)]
    made = make(make_work, encoded(grid(inks, "CMYK"), kind, **options), format="png", icc=icc)
    cyan, magenta, yellow, black, paper = patches(made.picture, 5)
    assert cyan[0] < 80 < 140 < min(cyan[1:])
    assert magenta[1] < 80 < 100 < min(magenta[0], magenta[2])
    assert yellow[2] < 80 < 200 < min(yellow[:2])
    assert max(black) < 60
    assert min(paper) > 250
    assert "icc_profile" not in made.picture.info


@pytest.mark.parametrize("icc", ["srgb", "keep"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_grey_profile_is_obeyed(make_work, kind, icc):
    greys = list(range(0, 256, 5))
    picture = grid(greys, "L")
    profile = grey_profile(1.0)
    quality = {"quality": 100} if kind == "JPEG" else {}
    content = encoded(picture, kind, icc_profile=profile, **quality)
    made = make(make_work, content, format="png", icc=icc)
    wanted = picture if icc == "keep" else by_lcms(picture, profile)
    found = patches(made.picture, len(greys))
    # Neither engine is exact near black, where one step of a linear ramp is many of sRGB's.
    assert worst(found, patches(wanted, len(greys))) <= 5
    assert ("icc_profile" in made.picture.info) == (icc == "keep")


def test_a_damaged_colour_profile_does_not_spoil_the_picture(make_work):
    content = encoded(plain(40, 20), "PNG", icc_profile=b"not a profile" * 20)
    made = make(make_work, content)
    assert close(made.picture.getpixel((5, 5)), (200, 100, 50))


def test_a_profile_for_other_channels_does_not_spoil_the_picture(make_work):
    for profile in (cmyk_profile(), grey_profile(2.2)):
        made = make(make_work, encoded(plain(40, 20), "PNG", icc_profile=profile))
        assert close(made.picture.getpixel((5, 5)), (200, 100, 50))


@pytest.mark.parametrize(
    ("content", "colour"),
    [
        (encoded(plain(40, 20)), (200, 100, 50)),
        (encoded(plain(40, 20).quantize(4)), (200, 100, 50)),
        (encoded(plain(40, 20), "GIF"), (200, 100, 50)),
        (encoded(plain(40, 20).quantize(4), "TIFF"), (200, 100, 50)),
        (encoded(plain(40, 20, 100, "L")), (100, 100, 100)),
        (encoded(plain(40, 20, 100, "L"), "JPEG"), (100, 100, 100)),
        (encoded(plain(40, 20, 1, "1")), (255, 255, 255)),
        (encoded(plain(40, 20, 1, "1"), "TIFF", compression="group4"), (255, 255, 255)),
        (encoded(plain(40, 20, 0x6464, "I;16")), (100, 100, 100)),
        (encoded(plain(40, 20, 0x6464, "I;16"), "TIFF"), (100, 100, 100)),
        (encoded(plain(40, 20, (200, 100, 50, 255), "RGBA")), (200, 100, 50)),
        (encoded(plain(40, 20, (100, 255), "LA")), (100, 100, 100)),
    ],
    ids=[
        "rgb",
        "palette",
        "gif",
        "palette tiff",
        "grey",
        "grey jpeg",
        "bilevel",
        "fax",
        "grey16",
        "grey16 tiff",
        "opaque alpha",
        "grey alpha",
    ],
)
def test_colours_stay_what_they_are(make_work, content, colour):
    formats = ("jpeg", "png", "webp", "avif", "gif", "tiff")
    variants = [{"name": written, "format": written} for written in formats]
    made, _ = make_all(make_work, content, width=10, height=10, variants=variants)
    for written in formats:
        shown = made[written].picture
        assert shown.format == written.upper()
        assert close(shown.convert("RGB").getpixel((5, 2)), colour, 4), written


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
def test_a_tiff_of_bare_ycbcr_is_refused_and_not_shown_in_false_colours(make_work, compression):
    content = encoded(plain(40, 20).convert("YCbCr"), "TIFF", compression=compression)
    with pytest.raises(ImageUnsupported, match="YCbCr without JPEG"):
        make(make_work, content)


def test_a_tiff_of_ycbcr_in_jpeg_is_read(make_work):
    content = encoded(plain(40, 20).convert("YCbCr"), "TIFF", compression="jpeg")
    made = make(make_work, content, format="png")
    assert close(made.picture.getpixel((5, 5)), (200, 100, 50))


def test_grey_stays_one_channel(make_work):
    for kind in ("JPEG", "PNG"):
        made = make(make_work, encoded(plain(40, 20, 100, "L"), kind), width=20)
        assert made.picture.mode == "L"


# -- transparency --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "TIFF", "GIF"])
def test_transparency_is_kept_where_the_format_has_it(make_work, kind):
    formats = ("png", "webp", "avif", "tiff", "gif")
    variants = [{"name": written, "format": written} for written in formats]
    made, _ = make_all(make_work, encoded(half_clear(), kind), width=20, variants=variants)
    for written in formats:
        shown = made[written].picture.convert("RGBA")
        assert shown.getpixel((17, 5))[3] <= 2, written
        assert close(shown.getpixel((3, 5)), (200, 100, 50, 255), 8), written


@pytest.mark.parametrize("written", ["png", "tiff", "webp"])
def test_what_is_nearly_transparent_keeps_its_colour_when_only_converted(make_work, written):
    picture = plain(40, 20, (200, 100, 50, 3), "RGBA")
    made = make(make_work, encoded(picture), format=written, lossless=True)
    assert made.picture.tobytes() == picture.tobytes()


def test_transparency_does_not_bleed_into_its_edge(make_work):
    picture = Image.new("RGBA", (400, 200), (0, 0, 0, 0))
    picture.paste((255, 255, 255, 255), (0, 0, 205, 200))
    for params in ({"width": 20}, {"width": 20, "rotate": 0.1, "background": "#0000"}):
        made = make(make_work, encoded(picture), **params)
        edge = [made.picture.getpixel((x, 5)) for x in range(20)]
        assert all(pixel[0] > 250 for pixel in edge if pixel[3] > 20)


@pytest.mark.parametrize(
    ("params", "within"),
    [
        ({"format": "jpeg", "background": "#00ff00"}, 6),
        ({"format": "jpeg", "background": "#00ff0000"}, 6),
        ({"format": "png", "flatten": True, "background": "#0f0"}, 0),
        ({"format": "webp", "flatten": True, "background": "#0f0", "lossless": True}, 0),
        ({"format": "gif", "flatten": True, "background": "#0f0"}, 3),
    ],
)
def test_the_background_shows_through_where_there_is_no_transparency(make_work, params, within):
    made = make(make_work, encoded(half_clear()), **params)
    assert "A" not in made.picture.getbands()
    shown = made.picture.convert("RGB")
    assert close(shown.getpixel((35, 10)), (0, 255, 0), within)
    assert close(shown.getpixel((5, 10)), (200, 100, 50), within)


def test_what_is_half_transparent_is_mixed_with_the_background(make_work):
    content = encoded(plain(40, 20, (255, 0, 0, 128), "RGBA"))
    made = make(make_work, content, flatten=True, background="#0000ff")
    assert close(made.picture.getpixel((5, 5)), (128, 0, 127), 1)


def test_grey_with_transparency_is_flattened_in_colour(make_work):
    content = encoded(plain(40, 20, (100, 0), "LA"))
    made = make(make_work, content, format="jpeg", background="#ff0000")
    assert close(made.picture.convert("RGB").getpixel((5, 5)), (255, 0, 0))


def test_padding_is_opaque_and_the_pictures_own_transparency_stays(make_work):
    made = make(make_work, encoded(half_clear()), fit="contain", width=40, height=40)
    assert made.picture.getpixel((35, 2)) == (255, 255, 255, 255)
    assert made.picture.getpixel((35, 20))[3] == 0
