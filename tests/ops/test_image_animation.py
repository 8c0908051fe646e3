"""Animations: frames, delays, loop count; and how many frames are read."""

import io
from dataclasses import replace

import pytest
from PIL import Image, ImageSequence

from app.errors import PixelsExceeded
from app.ops.base import Limits
from app.ops.image import ImageParams, convert
from tests.ops.image_cases import BLUE, GREEN, RED, animation, close, encoded, make, make_all, plain

COLOURS = (RED, GREEN, BLUE, (10, 200, 200), GREEN, RED)
DELAYS_MS = [40, 100, 250, 60, 1000, 30]


def frames(picture: Image.Image) -> list[tuple[tuple[int, ...], int]]:
    """Read the middle pixel and the duration of each frame."""
    found = []
    for frame in ImageSequence.Iterator(picture):
        frame.load()
        middle = (frame.width // 2, frame.height // 2)
        found.append((frame.convert("RGBA").getpixel(middle), frame.info["duration"]))
    return found


def shown(found: list[tuple[tuple[int, ...], int]]) -> list[tuple[tuple[int, ...], int]]:
    """Take frames together that look the same: libwebp stores such as one that lasts longer."""
    merged: list[tuple[tuple[int, ...], int]] = []
    for colour, duration_ms in found:
        if merged and merged[-1][0] == colour:
            merged[-1] = (colour, merged[-1][1] + duration_ms)
        else:
            merged.append((colour, duration_ms))
    return merged


@pytest.mark.parametrize("loop", [0, 1, 3])
@pytest.mark.parametrize("written", ["gif", "webp"])
@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_frames_delays_and_loop_count_are_kept(make_work, kind, written, loop):
    content = animation(kind, COLOURS, (40, 30), duration=DELAYS_MS, loop=loop)
    for params in ({}, {"width": 20}):
        made = make(make_work, content, format=written, **params)
        found = frames(made.picture)
        assert [delay for _, delay in found] == DELAYS_MS
        assert all(
            close(pixel[:3], wanted, 12) for (pixel, _), wanted in zip(found, COLOURS, strict=True)
        )
        with Image.open(io.BytesIO(made.content)) as stored:
            plays = stored.info.get("loop")
        # A GIF says how often to repeat, a WebP how often to play.
        repeats = {"GIF": loop, "WEBP": loop - 1 if loop else 0}[kind]
        wanted = repeats if written == "gif" else (repeats + 1 if loop else 0)
        assert plays == (wanted if wanted or written == "webp" or not loop else None)
        assert (made.facts["frames"], made.facts["frames_written"]) == (6, 6)


def test_a_frame_that_repeats_the_one_before_keeps_its_time(make_work):
    colours, delays = (RED, RED, GREEN), [100, 300, 50]
    content = animation("GIF", (RED, BLUE, GREEN), duration=delays)
    still = content.replace(bytes(BLUE), bytes(RED))
    for written in ("gif", "webp"):
        made = make(make_work, still, format=written)
        found = shown(frames(made.picture))
        assert [delay for _, delay in found] == [400, 50]
        assert close(found[0][0][:3], colours[0], 12)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_frames_that_change_only_a_part_are_shown_whole(make_work, kind):
    pictures = []
    for number in range(4):
        picture = plain(60, 40, RED)
        picture.paste(BLUE, (number * 12, 10, number * 12 + 12, 30))
        pictures.append(picture)
    quality = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(
        pictures[0], kind, save_all=True, append_images=pictures[1:], duration=50, **quality
    )
    made = make(make_work, content, width=30)
    for number, frame in enumerate(ImageSequence.Iterator(made.picture)):
        row = [frame.convert("RGB").getpixel((x, 10)) for x in range(30)]
        blue = [x for x in range(30) if close(row[x], BLUE, 40)]
        assert blue
        assert min(blue) >= number * 6
        assert max(blue) < number * 6 + 6


@pytest.mark.parametrize(
    ("params", "size"),
    [
        ({"fit": "cover", "width": 10, "height": 10}, (10, 10)),
        ({"fit": "cover", "width": 10, "height": 10, "gravity": "attention"}, (10, 10)),
        ({"fit": "contain", "width": 20, "height": 20, "background": "#0000"}, (20, 20)),
        ({"rotate": 90}, (30, 40)),
        ({"rotate": 45, "width": 25}, (25, 25)),
        ({"flip": "both"}, (40, 30)),
        ({"crop": "5,5,10,8"}, (10, 8)),
        ({"blur": 1, "sharpen": 1}, (40, 30)),
    ],
)
def test_all_frames_are_shaped_alike(make_work, params, size):
    content = animation("GIF", COLOURS, (40, 30), duration=DELAYS_MS)
    made = make(make_work, content, format="webp", **params)
    assert made.picture.size == size
    found = frames(made.picture)
    assert [delay for _, delay in found] == DELAYS_MS
    assert all(
        close(pixel[:3], wanted, 15) for (pixel, _), wanted in zip(found, COLOURS, strict=True)
    )


def test_neighbouring_frames_do_not_bleed_into_each_other(make_work):
    content = animation("GIF", (RED, BLUE, RED, BLUE), (64, 64), duration=50)
    made = make(make_work, content, width=20, format="webp", lossless=True)
    for number, frame in enumerate(ImageSequence.Iterator(made.picture)):
        wanted = (RED, BLUE)[number % 2]
        edge = [frame.convert("RGB").getpixel((10, y)) for y in (0, 1, 18, 19)]
        assert all(close(pixel, wanted, 3) for pixel in edge)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("written", ["png", "jpeg", "avif"])
def test_a_format_without_frames_gets_the_first(make_work, kind, written):
    made = make(make_work, animation(kind), format=written)
    assert made.picture.size == (20, 10)
    assert close(made.picture.convert("RGB").getpixel((5, 5)), RED, 8)
    assert (made.facts["frames"], made.facts["frames_written"]) == (3, 1)


@pytest.mark.parametrize(
    ("params", "written"),
    [
        ({"animation": "first"}, 1),
        ({"max_frames": 1}, 1),
        ({"max_frames": 2}, 2),
        ({"max_frames": 9}, 3),
        ({"max_frames": 2, "format": "webp"}, 2),
        ({"animation": "first", "format": "webp"}, 1),
    ],
)
def test_fewer_frames_when_asked(make_work, params, written):
    made = make(make_work, animation("GIF", duration=[40, 80, 120]), **params)
    assert getattr(made.picture, "n_frames", 1) == written
    assert made.facts["frames_written"] == written
    if written > 1:
        assert [delay for _, delay in frames(made.picture)] == [40, 80, 120][:written]


def test_variants_may_be_moving_and_still(make_work):
    variants = [
        {"name": "moving", "width": 10},
        {"name": "poster", "format": "jpeg"},
        {"name": "two", "format": "webp", "max_frames": 2},
    ]
    made, refused = make_all(make_work, animation("GIF", duration=70), "a.gif", variants=variants)
    assert not refused
    assert {name: getattr(one.picture, "n_frames", 1) for name, one in made.items()} == {
        "moving": 3,
        "poster": 1,
        "two": 2,
    }
    assert close(made["poster"].picture.getpixel((5, 5)), RED, 8)


def test_a_pages_of_a_tiff_are_no_animation(make_work):
    made = make(make_work, animation("TIFF"), format="webp")
    assert not made.picture.is_animated
    assert made.facts["frames"] == 3


# -- budgets -------------------------------------------------------------------------------------


def test_the_frames_that_are_read_count_towards_the_budget(make_work):
    content = animation("GIF")
    with pytest.raises(PixelsExceeded, match="20 by 10 in 3 frames = 600 pixels"):
        make(make_work, content, limits=Limits(max_pixels=599))
    make(make_work, content, limits=Limits(max_pixels=600))
    make(make_work, content, limits=Limits(max_pixels=200), format="png")
    make(make_work, content, limits=Limits(max_pixels=400), max_frames=2)
    with pytest.raises(PixelsExceeded, match="20 by 10 = 200 pixels"):
        make(make_work, content, limits=Limits(max_pixels=199), format="png")


def test_the_frames_that_would_be_made_count_too(make_work):
    limits = Limits(max_pixels=10_000)
    with pytest.raises(PixelsExceeded, match="100 by 50 in 3 frames = 15,000 pixels"):
        make(make_work, animation("GIF"), limits=limits, width=100, enlarge=True)


def test_ten_thousand_frames_are_refused_by_their_number(make_work, gif_of):
    content = gif_of(10_000, (100, 100))
    assert len(content) < 2_000_000
    with pytest.raises(PixelsExceeded, match="in 10000 frames = 100,000,000 pixels"):
        make(make_work, content)
    assert make(make_work, content, format="png").facts["frames"] == 10_000
    assert make(make_work, content, max_frames=3).facts["frames_written"] == 3


@pytest.fixture
def gif_of():
    """Make a GIF of so many equal frames, cheaply."""

    def make_gif(count: int, size: tuple[int, int]) -> bytes:
        one = animation("GIF", (RED, GREEN), size, duration=20)
        # Header and colour table, then the blocks of the first frame over and over.
        start = 13 + (3 << (one[10] & 7) + 1)
        block = one[one.index(b"\x21\xf9", start) : one.index(b"\x21\xf9", start + 40)]
        return one[:start] + block * count + b"\x3b"

    return make_gif


def test_frames_are_told_one_by_one(make_work):
    told = []
    work = replace(
        make_work(animation("GIF", COLOURS, (64, 64))), tell=lambda *said: told.append(said)
    )
    convert(work, ImageParams())
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len({done for done, _ in told}) >= 6
