"""Many results out of one decode; progress; time."""

import io
import math
import signal
import time
from dataclasses import replace

import pytest
from PIL import Image

import app.ops.image
from app.errors import DeadlineExceeded, ImageUnreadable, InvalidParameter, PixelsExceeded
from app.ops.base import Limits, Source
from app.ops.chain import run_chain
from app.ops.image import ImageParams, convert
from app.ops.tasks import ChainStep, ChainTask, Refused
from tests.ops.image_cases import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    close,
    corner_colours,
    corners,
    encoded,
    make,
    make_all,
    noise,
    plain,
)

VARIANTS = [
    {"name": "large", "width": 600},
    {"name": "small", "width": 60, "format": "webp"},
    {"name": "square", "fit": "cover", "width": 80, "height": 80, "format": "png"},
    {"name": "cut", "crop": "400,0,400,300", "width": 100},
    {"name": "tilted", "rotate": 30, "width": 90, "format": "png"},
    {"name": "icon", "width": 16, "format": "avif", "quality": 40},
]


def test_each_variant_overrides_what_stands_beside(make_work):
    made, refused = make_all(
        make_work,
        encoded(corners(800, 600), "JPEG", quality=95),
        "holiday.jpeg",
        width=200,
        quality=90,
        variants=VARIANTS,
    )
    assert not refused
    assert [one.name for one in made.values()] == [
        "holiday-large.jpg",
        "holiday-small.webp",
        "holiday-square.png",
        "holiday-cut.jpg",
        "holiday-tilted.png",
        "holiday-icon.avif",
    ]
    assert [one.picture.size[0] for one in made.values()] == [600, 60, 80, 100, 90, 16]
    assert made["large"].facts["quality"] == 90
    assert made["icon"].facts["quality"] == 40
    for name in ("large", "small", "square"):
        found = corner_colours(made[name].picture)
        assert all(close(a, b, 20) for a, b in zip(found, (RED, GREEN, BLUE, YELLOW), strict=True))
    assert all(close(found, GREEN, 20) for found in corner_colours(made["cut"].picture))


def test_parameters_survive_the_way_to_the_worker():
    asked = {"width": 200, "quality": 70, "format": "webp", "variants": VARIANTS}
    params = ImageParams.model_validate(asked)
    for mode in ("json", "python"):
        again = ImageParams.model_validate(params.model_dump(mode=mode))
        assert again.pictures() == params.pictures()
    assert [options.quality for _, options in params.pictures()] == [70] * 5 + [40]
    assert params.pictures()[0][1].format == "webp"


def test_a_variant_is_what_it_would_be_alone(make_work):
    content = encoded(noise(640, 480), "JPEG")
    options = [
        {"name": "a", "width": 300, "format": "png"},
        {"name": "b", "fit": "cover", "width": 100, "height": 100, "format": "png"},
    ]
    made, _ = make_all(make_work, content, variants=options)
    for option in options:
        alone = make(make_work, content, **{k: v for k, v in option.items() if k != "name"})
        pairs = zip(made[option["name"]].picture.tobytes(), alone.picture.tobytes(), strict=True)
        # One decode for all is as large as the largest needs; alone it may be smaller.
        assert math.sqrt(sum((a - b) ** 2 for a, b in pairs) / len(alone.picture.tobytes())) < 8


def test_the_source_is_decoded_once_however_many_variants(make_work, monkeypatch):
    loads = []
    load = app.ops.image.load

    def counted(*arguments, **options):
        loads.append(options)
        return load(*arguments, **options)

    monkeypatch.setattr(app.ops.image, "load", counted)
    content = encoded(noise(1600, 1200), "JPEG", progressive=True)
    variants = [{"name": f"w{width}", "width": width} for width in (50, 80, 190)]
    make_all(make_work, content, variants=variants)
    # 1600 by 190 is 8.4: a quarter leaves at least twice what is needed.
    assert loads == [{"shrink": 4}]


def test_a_variant_that_cannot_be_made_does_not_stop_the_others(make_work):
    made, refused = make_all(
        make_work,
        encoded(plain(100, 80), "JPEG"),
        variants=[
            {"name": "outside", "crop": "50,50,100,100"},
            {"name": "huge", "width": 16_000, "enlarge": True},
            {"name": "good", "width": 50},
            {"name": "exact", "lossless": True},
        ],
    )
    assert list(made) == ["good"]
    assert [(part.name, part.code) for part in refused] == [
        ("outside", "input.invalid"),
        ("huge", "limit.pixels"),
        ("exact", "input.invalid"),
    ]
    assert "the picture has 100 by 80" in refused[0].detail


def test_if_no_variant_can_be_made_the_first_reason_is_raised(make_work):
    variants = [
        {"name": "a", "width": 16_000, "height": 16_000, "enlarge": True},
        {"name": "b", "crop": "1,1,100,100"},
    ]
    with pytest.raises(PixelsExceeded):
        make_all(make_work, encoded(plain(100, 100)), variants=variants)
    with pytest.raises(InvalidParameter):
        make_all(make_work, encoded(plain(100, 100)), variants=variants[::-1])


def test_a_damaged_source_is_one_error_and_not_one_a_variant(make_work):
    content = encoded(noise(300, 200), "JPEG")
    with pytest.raises(ImageUnreadable):
        make_all(make_work, content[: len(content) // 2], variants=[{"name": "a"}, {"name": "b"}])


def test_fifty_variants_of_a_photograph_take_little_longer_than_their_parts(make_work):
    content = encoded(noise(800, 600), "JPEG")
    variants = [{"name": f"v{width}", "width": width} for width in range(20, 70)]
    made, _ = make_all(make_work, content, variants=variants)
    assert [one.picture.width for one in made.values()] == list(range(20, 70))


# -- progress and time ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params", [{}, {"variants": [{"name": "a"}, {"name": "b", "width": 90, "format": "webp"}]}]
)
def test_progress_goes_from_a_beginning_to_the_end(make_work, params):
    told = []
    work = replace(
        make_work(encoded(noise(1200, 900), "JPEG")), tell=lambda *said: told.append(said)
    )
    convert(work, ImageParams.model_validate(params))
    done = [share for share, _ in told]
    assert done == sorted(done)
    assert told[-1][0] == told[-1][1]
    assert len(set(done)) > 5
    assert done[0] < told[-1][1] / 2


@pytest.mark.parametrize(
    "params",
    [
        {"blur": 100},
        {"blur": 100, "variants": [{"name": "a"}, {"name": "b"}]},
        {"rotate": 10, "blur": 100},
    ],
)
def test_libvips_stops_when_the_time_is_over(make_work, params):
    # Without being stopped this takes many seconds.
    content = encoded(plain(3000, 2500), "JPEG")
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        convert(make_work(content, "a", Limits(time_s=0.5)), ImageParams.model_validate(params))
    assert time.monotonic() - begun < 5


def test_the_alarm_of_the_chain_is_heeded_and_nothing_reaches_standard_error(tmp_path, capfd):
    source = tmp_path / "source"
    source.write_bytes(encoded(plain(3000, 2500), "JPEG"))
    task = ChainTask(
        (Source(source, "a.jpg", "image/jpeg", source.stat().st_size),),
        (ChainStep("image", {"width": 3000}), ChainStep("image", {"blur": 100})),
        tmp_path / "work",
        Limits(time_s=0.8),
    )
    begun = time.monotonic()
    outcome = run_chain(task)
    assert time.monotonic() - begun < 5
    assert isinstance(outcome, Refused)
    assert outcome.code == "limit.time"
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert capfd.readouterr().err == ""


def test_names_of_results_never_lose_the_stem(make_work):
    for name, stem in (("a.b.c", "a.b"), ("", "image"), ("noext", "noext"), (".hidden", ".hidden")):
        made, _ = make_all(make_work, encoded(plain(9, 9)), name, variants=[{"name": "v"}])
        assert made["v"].name == f"{stem}-v.png"
        with Image.open(io.BytesIO(made["v"].content)) as picture:
            assert picture.size == (9, 9)
