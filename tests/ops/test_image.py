"""Sizes, fits, and where things are in the result."""

import math
from itertools import pairwise

import pytest
from PIL import Image, ImageChops, ImageFilter, ImageStat
from pydantic import ValidationError

from app.errors import InvalidParameter
from app.ops.image import ImageParams
from tests.contact_sheet import STORED
from tests.ops.image_cases import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    close,
    corner_colours,
    corners,
    encoded,
    half_clear,
    make,
    noise,
    plain,
)

# -- sizes ---------------------------------------------------------------------------------------

FITS = [
    # inside: the largest that fits, never larger than the source.
    ((400, 300), {"width": 100, "height": 100}, (100, 75)),
    ((300, 400), {"width": 100, "height": 100}, (75, 100)),
    ((400, 300), {"width": 100}, (100, 75)),
    ((400, 300), {"height": 100}, (133, 100)),
    ((40, 30), {"width": 100, "height": 100}, (40, 30)),
    ((40, 30), {"width": 100, "height": 100, "enlarge": True}, (100, 75)),
    ((40, 30), {"width": 100, "enlarge": True}, (100, 75)),
    ((400, 300), {}, (400, 300)),
    ((1000, 2), {"width": 10}, (10, 1)),
    # outside: the smallest that covers, nothing cut.
    ((400, 300), {"fit": "outside", "width": 100, "height": 100}, (133, 100)),
    ((300, 400), {"fit": "outside", "width": 100, "height": 100}, (100, 133)),
    ((40, 30), {"fit": "outside", "width": 100, "height": 100}, (40, 30)),
    ((40, 30), {"fit": "outside", "width": 100, "height": 99, "enlarge": True}, (132, 99)),
    # cover: exactly the box, unless that would take enlarging.
    ((400, 300), {"fit": "cover", "width": 100, "height": 100}, (100, 100)),
    ((401, 299), {"fit": "cover", "width": 77, "height": 99}, (77, 99)),
    ((400, 50), {"fit": "cover", "width": 100, "height": 100}, (100, 50)),
    ((40, 30), {"fit": "cover", "width": 100, "height": 100}, (40, 30)),
    ((40, 30), {"fit": "cover", "width": 100, "height": 100, "enlarge": True}, (100, 100)),
    # contain: always exactly the box.
    ((400, 300), {"fit": "contain", "width": 100, "height": 100}, (100, 100)),
    ((40, 30), {"fit": "contain", "width": 100, "height": 100}, (100, 100)),
    # pad: the ratio of the box, and no more frame than that takes.
    ((400, 300), {"fit": "pad", "width": 100, "height": 100}, (100, 100)),
    ((40, 30), {"fit": "pad", "width": 100, "height": 100}, (40, 40)),
    ((30, 40), {"fit": "pad", "width": 200, "height": 100}, (80, 40)),
    ((40, 30), {"fit": "pad", "width": 100, "height": 100, "enlarge": True}, (100, 100)),
    # fill: always exactly the box.
    ((400, 300), {"fit": "fill", "width": 50, "height": 200}, (50, 200)),
    ((40, 30), {"fit": "fill", "width": 100, "height": 20}, (100, 20)),
]


@pytest.mark.parametrize(("source", "params", "size"), FITS)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_result_has_the_size_that_the_fit_promises(make_work, kind, source, params, size):
    made = make(make_work, encoded(noise(*source), kind), **params)
    assert made.picture.size == size
    assert (made.facts["source_width_px"], made.facts["source_height_px"]) == source


@pytest.mark.parametrize("box", [(1, 1), (7, 13), (333, 100), (640, 479), (99, 1000)])
@pytest.mark.parametrize("source", [(640, 480), (641, 97), (33, 900)])
def test_inside_touches_the_box_and_keeps_the_ratio_within_a_pixel(make_work, source, box):
    picture = make(make_work, encoded(plain(*source)), width=box[0], height=box[1]).picture
    scale = min(box[0] / source[0], box[1] / source[1], 1)
    assert picture.width <= box[0]
    assert picture.height <= box[1]
    assert abs(picture.width - source[0] * scale) <= 1
    assert abs(picture.height - source[1] * scale) <= 1


@pytest.mark.parametrize("fit", ["inside", "cover", "contain"])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
def test_shrinking_a_lot_at_load_moves_nothing(make_work, kind, fit):
    # 1/8 at load for a JPEG, and a size that none of the steps divides.
    picture = corners(1003, 677)
    made = make(make_work, encoded(picture, kind), fit=fit, width=53, height=41, format="png")
    reference = {
        "inside": lambda: picture.resize((53, 36), Image.Resampling.LANCZOS),
        "cover": lambda: picture.resize((61, 41), Image.Resampling.LANCZOS).crop((4, 0, 57, 41)),
        "contain": lambda: Image.new("RGB", (53, 41), "white"),
    }[fit]()
    if fit == "contain":
        reference.paste(picture.resize((53, 36), Image.Resampling.LANCZOS), (0, 2))
    assert made.picture.size == reference.size
    # Except where two colours meet, everything is where it belongs.
    assert mean_difference(made.picture, reference) < 5


def mean_difference(first: Image.Image, second: Image.Image) -> float:
    bands = zip(first.convert("RGB").split(), second.convert("RGB").split(), strict=True)
    return max(ImageStat.Stat(ImageChops.difference(a, b)).mean[0] for a, b in bands)


@pytest.mark.parametrize("fit", ["outside", "cover", "contain", "pad", "fill"])
@pytest.mark.parametrize("box", [{}, {"width": 10}, {"height": 10}])
def test_a_fit_that_needs_a_whole_box_says_so(fit, box):
    with pytest.raises(ValidationError, match="needs both width and height"):
        ImageParams(fit=fit, **box)


# -- where ---------------------------------------------------------------------------------------


def bars() -> Image.Image:
    """A three by three grid, each cell a colour of its own: (column * 100, row * 100, 128)."""
    picture = Image.new("RGB", (90, 90))
    for column in range(3):
        for row in range(3):
            box = (column * 30, row * 30, column * 30 + 30, row * 30 + 30)
            picture.paste((column * 100, row * 100, 128), box)
    return picture


PLACES = {
    "center": (1, 1),
    "north": (1, 0),
    "northeast": (2, 0),
    "east": (2, 1),
    "southeast": (2, 2),
    "south": (1, 2),
    "southwest": (0, 2),
    "west": (0, 1),
    "northwest": (0, 0),
}


@pytest.mark.parametrize(("gravity", "cell"), PLACES.items())
def test_cover_keeps_the_side_that_gravity_names(make_work, gravity, cell):
    for box in ((30, 90), (90, 30)):
        picture = make(
            make_work,
            encoded(bars()),
            fit="cover",
            gravity=gravity,
            width=box[0],
            height=box[1],
        ).picture
        found = picture.getpixel((box[0] // 2, box[1] // 2))
        # Along the side that is whole, the middle is the middle.
        column, row = (cell[0], 1) if box == (30, 90) else (1, cell[1])
        assert close(found, (column * 100, row * 100, 128), 2)


@pytest.mark.parametrize(("gravity", "cell"), PLACES.items())
@pytest.mark.parametrize("box", [(90, 30), (30, 90), (90, 90)])
def test_contain_puts_the_picture_where_gravity_says(make_work, gravity, cell, box):
    picture = make(
        make_work,
        encoded(plain(30, 30, RED)),
        fit="contain",
        gravity=gravity,
        width=box[0],
        height=box[1],
        background="#00f",
    ).picture
    red = {
        (x // 30, y // 30)
        for x in range(15, box[0], 30)
        for y in range(15, box[1], 30)
        if close(picture.getpixel((x, y)), RED)
    }
    assert red == {(cell[0] if box[0] == 90 else 0, cell[1] if box[1] == 90 else 0)}


@pytest.mark.parametrize("gravity", ["attention", "entropy"])
@pytest.mark.parametrize("at", [20, 260])
def test_a_smart_crop_finds_what_there_is_to_see(make_work, gravity, at):
    picture = plain(400, 100, (120, 130, 125))
    thing = noise(80, 80)
    thing.paste((230, 40, 60), (20, 20, 60, 60))
    picture.paste(thing, (at, 10))
    result = make(
        make_work, encoded(picture), fit="cover", gravity=gravity, width=120, height=100
    ).picture
    assert close(result.size, (120, 100), 0)
    assert sum(close(result.getpixel((x, 50)), (230, 40, 60)) for x in range(120)) >= 35


def test_contain_pads_both_sides_with_the_background(make_work):
    picture = make(
        make_work, encoded(plain(100, 50)), fit="contain", width=100, height=100, background="#0af"
    ).picture
    assert picture.getpixel((50, 10)) == (0, 170, 255)
    assert picture.getpixel((50, 89)) == (0, 170, 255)
    assert close(picture.getpixel((50, 50)), (200, 100, 50))


def test_padding_may_be_transparent(make_work):
    picture = make(
        make_work,
        encoded(plain(100, 50)),
        fit="contain",
        width=100,
        height=100,
        background="#00aaff80",
    ).picture
    assert picture.getpixel((50, 10)) == (0, 170, 255, 128)
    assert picture.getpixel((50, 50)) == (200, 100, 50, 255)


def test_grey_is_padded_in_colour(make_work):
    picture = make(
        make_work,
        encoded(plain(20, 10, 100, "L")),
        fit="contain",
        width=20,
        height=20,
        background="#ff0000",
    ).picture
    assert picture.getpixel((10, 1)) == (255, 0, 0)
    assert close(picture.getpixel((10, 10)), (100, 100, 100))


# -- crop, rotate, flip --------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "AVIF"])
def test_crop_counts_in_pixels_of_the_upright_picture(make_work, kind, orientation):
    picture = corners(160, 96)
    for turn in STORED[orientation]:
        picture = picture.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture, kind, exif=exif, quality=95)
    made = make(make_work, content, format="png", crop=[40, 24, 80, 48])
    assert made.picture.size == (80, 48)
    wanted = (RED, GREEN, BLUE, YELLOW)
    assert all(close(a, b, 20) for a, b in zip(corner_colours(made.picture), wanted, strict=True))


def test_crop_is_exact_to_the_pixel(make_work):
    picture = noise(200, 150)
    made = make(make_work, encoded(picture), crop="17,23,101,77", format="png")
    assert made.picture.tobytes() == picture.crop((17, 23, 118, 100)).tobytes()


def test_crop_comes_before_the_box(make_work):
    made = make(make_work, encoded(corners(200, 100)), crop="100,0,100,50", width=20)
    assert made.picture.size == (20, 10)
    assert set(corner_colours(made.picture, 1)) == {GREEN}


@pytest.mark.parametrize("crop", ["0,0,41,20", "1,0,40,20", "0,1,40,20", "100,100,1,1"])
def test_a_crop_that_reaches_out_of_the_picture_is_refused(make_work, crop):
    with pytest.raises(InvalidParameter, match="the picture has 40 by 20"):
        make(make_work, encoded(plain(40, 20)), crop=crop)


TURNED = {
    0: (RED, GREEN, BLUE, YELLOW),
    90: (BLUE, RED, YELLOW, GREEN),
    180: (YELLOW, BLUE, GREEN, RED),
    270: (GREEN, YELLOW, RED, BLUE),
}


@pytest.mark.parametrize(("angle", "wanted"), TURNED.items())
@pytest.mark.parametrize("add", [0, -360])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_quarter_turns_go_clockwise(make_work, kind, angle, wanted, add):
    content = encoded(corners(128, 64), kind)
    for box in ({}, {"width": 32}):
        made = make(make_work, content, format="png", rotate=angle + add, **box)
        size = (128, 64) if angle % 180 == 0 else (64, 128)
        scale = 32 / size[0] if box else 1
        assert made.picture.size == (round(size[0] * scale), round(size[1] * scale))
        found = corner_colours(made.picture, 2)
        assert all(close(a, b, 20) for a, b in zip(found, wanted, strict=True))


def test_quarter_turns_lose_nothing(make_work):
    picture = noise(51, 37)
    for angle, turn in ((90, Image.Transpose.ROTATE_270), (180, Image.Transpose.ROTATE_180)):
        made = make(make_work, encoded(picture), rotate=angle)
        assert made.picture.tobytes() == picture.transpose(turn).tobytes()


@pytest.mark.parametrize("angle", [1, 30, 45, 89.5, 123.4, -20, 359])
@pytest.mark.parametrize("box", [{}, {"width": 50}, {"fit": "fill", "width": 40, "height": 70}])
def test_any_other_turn_shows_the_whole_picture_on_the_background(make_work, angle, box):
    made = make(make_work, encoded(plain(120, 80, RED)), rotate=angle, background="#00f", **box)
    cosine, sine = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    width, height = 120 * cosine + 80 * sine, 80 * cosine + 120 * sine
    if box.get("fit"):
        width, height = 40, 70
    elif box:
        width, height = 50, height * 50 / width
    assert close(made.picture.size, (width, height), 1)
    assert close(made.picture.getpixel((made.picture.width // 2, made.picture.height // 2)), RED)
    if 10 < angle % 90 < 80:
        corner = made.picture.getpixel((0, 0))
        assert close(corner, (0, 0, 255))


def test_a_turned_picture_looks_like_pillows(make_work):
    picture = corners(160, 100).filter(ImageFilter.GaussianBlur(2))
    made = make(make_work, encoded(picture), rotate=-25, background="#fff")
    reference = picture.rotate(25, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    # Pillow's frame is up to two pixels wider than the arithmetic.
    assert close(made.picture.size, reference.size, 2)
    width, height = made.picture.size
    left, top = (reference.width - width) // 2, (reference.height - height) // 2
    reference = reference.crop((left, top, left + width, top + height))
    assert mean_difference(made.picture, reference) < 4


@pytest.mark.parametrize(
    ("flip", "wanted"),
    [
        ("none", (RED, GREEN, BLUE, YELLOW)),
        ("horizontal", (GREEN, RED, YELLOW, BLUE)),
        ("vertical", (BLUE, YELLOW, RED, GREEN)),
        ("both", (YELLOW, BLUE, GREEN, RED)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_flip_mirrors(make_work, kind, flip, wanted):
    for box in ({}, {"width": 32}):
        made = make(make_work, encoded(corners(64, 64), kind), format="png", flip=flip, **box)
        found = corner_colours(made.picture)
        assert all(close(a, b, 20) for a, b in zip(found, wanted, strict=True))


def test_a_picture_is_turned_before_it_is_mirrored(make_work):
    made = make(make_work, encoded(corners(64, 64)), rotate=90, flip="horizontal")
    found = corner_colours(made.picture)
    assert all(close(a, b) for a, b in zip(found, (RED, BLUE, GREEN, YELLOW), strict=True))


# -- blur and sharpen ----------------------------------------------------------------------------


def test_blur_is_a_gaussian_of_that_sigma(make_work):
    picture = corners(120, 120)
    made = make(make_work, encoded(picture), blur=5)
    reference = picture.filter(ImageFilter.GaussianBlur(5))
    assert mean_difference(made.picture, reference) < 2
    assert mean_difference(made.picture, picture) > 4


def test_blur_leaves_the_colour_of_what_is_seen_alone(make_work):
    made = make(make_work, encoded(half_clear()), blur=3)
    edge = [made.picture.getpixel((x, 10)) for x in range(40)]
    assert 100 < edge[20][3] < 155
    assert all(close(pixel[:3], (200, 100, 50), 8) for pixel in edge if pixel[3] > 30)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_sharpen_steepens_edges_and_leaves_flat_parts(make_work, mode):
    picture = Image.new("L", (80, 40), 90)
    picture.paste(160, (40, 0, 80, 40))
    picture = picture.filter(ImageFilter.GaussianBlur(2)).convert(mode)
    made = make(make_work, encoded(picture), sharpen=2)
    assert made.picture.mode == mode

    def steepest(shown: Image.Image) -> int:
        row = [shown.convert("L").getpixel((x, 20)) for x in range(80)]
        return max(b - a for a, b in pairwise(row))

    assert steepest(made.picture) > steepest(picture) * 1.2
    assert abs(made.picture.convert("L").getpixel((5, 20)) - 90) <= 1


# -- upright -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("JPEG", {}),
        ("JPEG", {"width": 60, "height": 60}),
        ("JPEG", {"fit": "contain", "width": 60, "height": 80}),
        ("JPEG", {"fit": "fill", "width": 30, "height": 50}),
        *(
            (kind, {"fit": "cover", "width": 60, "height": 20})
            for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
        ),
    ],
)
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_comes_out_upright(make_work, orientation, kind, params):
    picture = corners(120, 80)
    for turn in STORED[orientation]:
        picture = picture.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    made = make(make_work, encoded(picture, kind, exif=exif), format="png", **params)
    result = made.picture
    assert (made.facts["source_width_px"], made.facts["source_height_px"]) == (120, 80)
    box = {
        "contain": (5, 25, 54, 54),
        "cover": (5, 3, 54, 16),
    }.get(params.get("fit"), (4, 4, result.width - 5, result.height - 5))
    left, top, right, bottom = box
    found = [
        result.getpixel(place)
        for place in ((left, top), (right, top), (left, bottom), (right, bottom))
    ]
    wanted = (RED, GREEN, BLUE, YELLOW)
    assert all(close(a, b, 20) for a, b in zip(found, wanted, strict=True)), found


@pytest.mark.parametrize("orientation", [0, 9, 255, 65_535])
def test_an_orientation_that_is_none_is_passed_over(make_work, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    made = make(make_work, encoded(corners(60, 40), "JPEG", exif=exif), width=30)
    assert made.picture.size == (30, 20)
    wanted = (RED, GREEN, BLUE, YELLOW)
    assert all(close(a, b, 25) for a, b in zip(corner_colours(made.picture), wanted, strict=True))


# -- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {"width": 0},
        {"height": 16_385},
        {"quality": 0},
        {"quality": 101},
        {"effort": 10},
        {"background": "white"},
        {"background": "#12345"},
        {"format": "bmp"},
        {"crop": "1,2,3"},
        {"crop": "1,2,0,4"},
        {"crop": [-1, 0, 4, 4]},
        {"crop": "a,b,c,d"},
        {"rotate": 361},
        {"rotate": "nan"},
        {"flip": "sideways"},
        {"blur": 0.1},
        {"blur": 101},
        {"sharpen": 11},
        {"max_frames": 0},
        {"gravity": "up"},
        {"lossless": True, "format": "jpeg"},
        {"lossless": True, "format": "gif"},
        {"variants": "not JSON"},
        {"variants": [{"width": 3}]},
        {"variants": [{"name": "../a"}]},
        {"variants": [{"name": "a"}, {"name": "A"}]},
        {"variants": [{"name": "a", "fit": "cover"}]},
        {"variants": [{"name": "a", "variants": []}]},
        {"variants": [{"name": f"v{number}"} for number in range(51)]},
        {"widht": 3},
    ],
)
def test_parameters_out_of_range_are_refused(params):
    with pytest.raises(ValidationError):
        ImageParams.model_validate(params)


def test_parameters_may_come_as_text():
    params = ImageParams.model_validate(
        {
            "width": "80",
            "enlarge": "true",
            "quality": "70",
            "crop": "1, 2, 3, 4",
            "rotate": "-90.5",
            "variants": '[{"name": "a", "width": 9, "crop": [4, 3, 2, 1]}]',
        }
    )
    assert (params.width, params.enlarge, params.quality) == (80, True, 70)
    assert (params.crop, params.rotate) == ((1, 2, 3, 4), -90.5)
    ((name, options),) = params.pictures()
    assert (name, options.width, options.crop, options.enlarge) == ("a", 9, (4, 3, 2, 1), True)
