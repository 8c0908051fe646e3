"""Watermarks: a second picture, laid on the result."""

import io
from dataclasses import replace

import pytest
from PIL import Image, ImageSequence
from pydantic import ValidationError

from app.errors import ImageUnreadable, ImageUnsupported, PixelsExceeded
from app.ops.base import Aside, Limits, Source, whole
from app.ops.image import ImageParams, convert
from tests.ops.image_cases import BLUE, GREEN, RED, animation, close, encoded, plain

MARK = "file_mark"
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def marked(make_work, content, mark, name="photo.png", limits=None, **params):
    """Run the operation with an overlay; gives the outputs' pictures."""
    work = make_work(content, name, limits)
    path = work.source.path.with_name("mark")
    path.write_bytes(mark)
    work = replace(work, asides={MARK: Source(path, "mark", "image/png", len(mark))})
    overlay = {"file_id": MARK} | params.pop("overlay", {})
    result = convert(work, ImageParams.model_validate({"overlay": overlay} | params))
    return [Image.open(io.BytesIO(whole(output.content))) for output in result.outputs]


def where(picture, colour, within=20):
    """Give the box (left, top, right, bottom) of what has a colour."""
    picture = picture.convert("RGB")
    hits = [
        (x, y)
        for y in range(picture.height)
        for x in range(picture.width)
        if close(picture.getpixel((x, y)), colour, within)
    ]
    xs, ys = [x for x, _ in hits], [y for _, y in hits]
    return (min(xs), min(ys), max(xs) + 1, max(ys) + 1) if hits else None


BASE = encoded(plain(100, 60, BLACK))
SPOT = encoded(plain(20, 10, RED))


@pytest.mark.parametrize(
    ("position", "box"),
    [
        ("northwest", (0, 0, 20, 10)),
        ("north", (40, 0, 60, 10)),
        ("northeast", (80, 0, 100, 10)),
        ("west", (0, 25, 20, 35)),
        ("center", (40, 25, 60, 35)),
        ("east", (80, 25, 100, 35)),
        ("southwest", (0, 50, 20, 60)),
        ("south", (40, 50, 60, 60)),
        ("southeast", (80, 50, 100, 60)),
    ],
)
def test_it_lies_where_it_is_told(make_work, position, box):
    [made] = marked(make_work, BASE, SPOT, overlay={"position": position})
    assert where(made, RED) == box


@pytest.mark.parametrize(
    ("overlay", "box"),
    [
        ({"position": "southeast", "offset_x": 5, "offset_y": 7}, (75, 43, 95, 53)),
        ({"position": "northwest", "offset_x": 5, "offset_y": 7}, (5, 7, 25, 17)),
        ({"position": "center", "offset_x": 5}, (45, 25, 65, 35)),
        ({"position": "northwest", "scale": 0.5}, (0, 0, 50, 25)),
        ({"position": "northwest", "scale": 0.1}, (0, 0, 10, 5)),
        ({"position": "northwest", "offset_x": 90}, (90, 0, 100, 10)),
        ({"offset_x": 500}, None),
        ({"scale": 0.001}, (99, 59, 100, 60)),
    ],
)
def test_offsets_and_scale_are_to_the_pixel(make_work, overlay, box):
    [made] = marked(make_work, BASE, SPOT, overlay=overlay)
    assert where(made, RED) == box


def test_one_that_does_not_fit_is_made_smaller(make_work):
    [made] = marked(make_work, BASE, encoded(plain(50, 200, RED)), overlay={"position": "west"})
    assert where(made, RED) == (0, 0, 15, 60)


def test_it_is_laid_on_what_was_resized_turned_and_padded(make_work):
    asked = {"rotate": 90, "width": 90, "height": 50, "fit": "contain", "background": "#0000ff"}
    [made] = marked(make_work, BASE, SPOT, overlay={"position": "northwest"}, **asked)
    assert made.size == (90, 50)
    assert where(made, RED) == (0, 0, 20, 10)


def test_opacity_and_alpha_let_through_what_lies_below(make_work):
    for mark, opacity in ((plain(20, 10, WHITE), 0.5), (plain(20, 10, (*WHITE, 128), "RGBA"), 1)):
        [made] = marked(make_work, BASE, encoded(mark), overlay={"opacity": opacity})
        assert close(made.convert("RGB").getpixel((90, 55)), (128, 128, 128), 3)
        assert close(made.convert("RGB").getpixel((10, 10)), BLACK, 0)


def test_a_transparent_picture_shows_the_overlay_and_stays_transparent(make_work):
    base = encoded(plain(100, 60, (0, 0, 0, 0), "RGBA"))
    [made] = marked(make_work, base, encoded(plain(20, 10, (*RED, 128), "RGBA")))
    assert made.mode == "RGBA"
    assert made.getpixel((10, 10))[3] == 0
    # Nothing of the black that cannot be seen.
    assert close(made.getpixel((90, 55)), (*RED, 128), 3)


def test_tiles_cover_all_of_it(make_work):
    [made] = marked(make_work, BASE, SPOT, overlay={"tiled": True})
    assert made.convert("RGB").getcolors() == [(6000, RED)]
    asked = {"tiled": True, "offset_x": 20, "offset_y": 10}
    [made] = marked(make_work, BASE, SPOT, overlay=asked)
    found = [
        made.convert("RGB").getpixel(at) for at in ((0, 0), (30, 0), (50, 0), (0, 15), (45, 25))
    ]
    assert found == [RED, BLACK, RED, BLACK, RED]
    asked = {"tiled": True, "offset_x": 16_384, "offset_y": 16_384}
    [made] = marked(make_work, BASE, SPOT, overlay=asked)
    assert where(made, RED) == (0, 0, 20, 10)


def test_it_is_on_every_frame(make_work):
    moving = animation("GIF", colours=(GREEN, BLUE, BLACK), size=(60, 40), duration=50)
    [made] = marked(make_work, moving, SPOT, format="webp", lossless=True)
    frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(made)]
    assert len(frames) == 3
    assert [where(frame, RED) for frame in frames] == [(40, 30, 60, 40)] * 3
    assert [
        close(f.getpixel((1, 1)), c, 6) for f, c in zip(frames, (GREEN, BLUE, BLACK), strict=True)
    ]


def test_each_variant_has_it_in_proportion_unless_it_has_its_own_or_none(make_work):
    variants = [
        {"name": "whole"},
        {"name": "half", "width": 50},
        {"name": "other", "overlay": {"file_id": MARK, "position": "northwest"}},
        {"name": "bare", "overlay": None},
    ]
    made = marked(make_work, BASE, SPOT, overlay={"scale": 0.2}, variants=variants)
    assert [where(one, RED) for one in made] == [
        (80, 50, 100, 60),
        (40, 25, 50, 30),
        (0, 0, 20, 10),
        None,
    ]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "I;16", "CMYK"])
def test_pictures_and_overlays_of_every_mode_go_together(make_work, mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    base = Image.new("RGB", (100, 60)).convert("L" if mode == "I;16" else mode).convert(mode)
    for content, mark in (
        (encoded(base, kind), SPOT),
        (BASE, encoded(base.resize((20, 10)), kind)),
    ):
        for form in ("png", "jpeg", "webp", "gif"):
            [made] = marked(make_work, content, mark, format=form)
            assert made.size == (100, 60)


def test_an_overlay_is_turned_as_its_exif_says(make_work):
    exif = Image.Exif()
    exif[0x0112] = 6
    mark = encoded(plain(20, 10, RED), "JPEG", exif=exif, quality=98)
    [made] = marked(make_work, BASE, mark)
    assert where(made, RED, 40) == (90, 40, 100, 60)


@pytest.mark.parametrize(
    ("mark", "error"),
    [
        (b"no picture", ImageUnsupported),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', ImageUnsupported),
        (SPOT[:-20], ImageUnreadable),
        (encoded(plain(2000, 2000)), PixelsExceeded),
    ],
    ids=["text", "svg", "cut", "large"],
)
def test_what_is_wrong_with_the_overlay_is_said_of_the_overlay(make_work, mark, error):
    with pytest.raises(error, match=r"^Of the overlay: "):
        marked(make_work, BASE, mark, limits=Limits(max_pixels=1_000_000))


@pytest.mark.parametrize(
    "overlay",
    [
        {},
        {"file_id": "a", "url": "http://a/"},
        {"file_id": ""},
        {"file_id": "a", "opacity": 0},
        {"file_id": "a", "opacity": 1.1},
        {"file_id": "a", "opacity": float("nan")},
        {"file_id": "a", "scale": 0},
        {"file_id": "a", "scale": 1e308},
        {"file_id": "a", "offset_x": -1},
        {"file_id": "a", "offset_y": 10**23},
        {"file_id": "a", "position": "attention"},
        {"file_id": "a", "gravity": "north"},
        {"url": "http://a/" + "a" * 9000},
        "file_a",
        "[1]",
    ],
)
def test_what_cannot_be_laid_is_refused(overlay):
    with pytest.raises(ValidationError):
        ImageParams.model_validate({"overlay": overlay})


def test_the_operation_says_which_files_it_needs():
    variants = [{"name": "a"}, {"name": "b", "overlay": {"url": "http://a/b.png"}}]
    params = ImageParams.model_validate({"overlay": '{"file_id": "x"}', "variants": variants})
    assert set(params.asides()) == {Aside(file_id="x"), Aside(url="http://a/b.png")}
    again = ImageParams.model_validate(params.model_dump(mode="json"))
    assert again.asides() == params.asides()
