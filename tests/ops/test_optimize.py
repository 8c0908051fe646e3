import ast
import base64
import io
import math
import random
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageFilter
from pydantic import ValidationError

import app.ops.imaging
from app.errors import (
    DeadlineExceeded,
    ImageUnreadable,
    ImageUnsupported,
    InvalidParameter,
    PixelsExceeded,
)
from app.ops.base import Limits, Work
from app.ops.imaging.fidelity import likeness
from app.ops.imaging.lossless import recode
from app.ops.imaging.search import Boundary
from app.ops.imaging.vips import libvips
from app.ops.optimize import OptimizeParams, optimize

PATIENT = Limits(time_s=600)
ALL = ("jpeg", "png", "webp", "avif")


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    if kind == "PNG":
        options = {"compress_level": 1, **options}
    picture.save(file, kind, **options)
    return file.getvalue()


def photo(width: int = 240, height: int = 180, seed: int = 1) -> Image.Image:
    """Like a photograph: clouds of all sizes in three related channels, over a gradient."""
    chance = random.Random(seed)
    channels = []
    shared = Image.linear_gradient("L").resize((width, height))
    for cells in (3, 7, 15, 40, 110):
        small = Image.frombytes("L", (cells, cells), chance.randbytes(cells * cells))
        clouds = small.resize((width, height), Image.Resampling.BICUBIC)
        shared = Image.blend(shared, clouds, 0.18 if cells > 20 else 0.35)
    for _ in range(3):
        small = Image.frombytes("L", (6, 6), chance.randbytes(36))
        tint = small.resize((width, height), Image.Resampling.BICUBIC)
        channels.append(Image.blend(shared, tint, 0.3))
    return Image.merge("RGB", channels)


def drawing(width: int = 320, height: int = 240, mode: str = "RGB") -> Image.Image:
    """Like a chart: flat colours, hard edges, small writing."""
    picture = Image.new(mode, (width, height), "white")
    draw = ImageDraw.Draw(picture)
    for number in range(8):
        top = height - 20 - 20 * number
        draw.rectangle(
            (20 + 36 * number, top, 44 + 36 * number, height - 10), f"hsl({number * 45},80%,50%)"
        )
        draw.text((18 + 36 * number, top - 12), f"{number * 137}", "black")
    return picture


def run(make_work, content: bytes, name: str = "photo.png", limits: Limits = PATIENT, **params):
    work = make_work(content, name, limits)
    result = optimize(work, OptimizeParams(**{"formats": ALL, **params}))
    (output,) = result.outputs
    made = output.path.read_bytes()
    assert [path.name for path in work.folder.iterdir()] == [output.path.name]
    assert len(made) == result.facts["size_bytes"] <= len(content)
    assert result.facts["source_size_bytes"] == len(content)
    return made, output, result.facts


def opened(content: bytes, mode: str | None = None) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture.convert(mode) if mode else picture


def vips(content: bytes):
    return libvips().Image.new_from_buffer(content, "").copy_memory()


def same(first: Image.Image, second: Image.Image, mode: str = "RGBA") -> bool:
    if first.size != second.size:
        return False
    return (
        ImageChops.difference(first.convert(mode), second.convert(mode)).getbbox(alpha_only=False)
        is None
    )


def ms_ssim(original: bytes, candidate: bytes) -> float:
    """MS-SSIM of luma as the paper has it (Wang et al. 2003), by libvips' convolutions.

    Shares no code with what the service measures by.
    """
    pyvips = libvips()
    taps = [math.exp(-((at - 5) ** 2) / 4.5) for at in range(11)]
    window = pyvips.Image.new_from_array([taps], scale=sum(taps))

    def blurred(picture):
        return picture.convsep(window, precision="float").crop(
            5, 5, picture.width - 10, picture.height - 10
        )

    def luma(content):
        picture = vips(content).colourspace("srgb").cast("float")
        return picture[0] * 0.299 + picture[1] * 0.587 + picture[2] * 0.114

    first, second = luma(original).copy_memory(), luma(candidate).copy_memory()
    score = 1.0
    for weight in (0.0448, 0.2856, 0.3001, 0.2363, 0.1333):
        mean_1, mean_2 = blurred(first), blurred(second)
        var_1 = blurred(first * first) - mean_1 * mean_1
        var_2 = blurred(second * second) - mean_2 * mean_2
        both = blurred(first * second) - mean_1 * mean_2
        structure = (both * 2 + 58.5225) / (var_1 + var_2 + 58.5225)
        light = (mean_1 * mean_2 * 2 + 6.5025) / (mean_1**2 + mean_2**2 + 6.5025)
        last = weight == 0.1333
        score *= ((structure * light) if last else structure).avg() ** weight
        first, second = (one.shrink(2, 2).copy_memory() for one in (first, second))
    return score


# -- the measure ---------------------------------------------------------------------------------


def test_a_picture_is_just_like_itself():
    picture = vips(encoded(photo()))
    assert likeness(picture, picture) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_the_measure_ranks_qualities_as_plain_ms_ssim_does(kind):
    source = encoded(photo(260, 200))
    made = [encoded(photo(260, 200), kind, quality=q) for q in (10, 25, 45, 70, 90)]
    ours = [likeness(vips(source), vips(content)) for content in made]
    theirs = [ms_ssim(source, content) for content in made]
    assert ours == sorted(ours)
    assert theirs == sorted(theirs)
    # Alike in size too: colour and pooling make it stricter, not another thing.
    for mine, other in zip(ours, theirs, strict=True):
        assert 0.3 < math.log(1 - mine) / math.log(1 - other) < 1.3


def test_the_measure_sees_colour():
    luma, blue, red = drawing().convert("YCbCr").split()
    smeared = [one.filter(ImageFilter.GaussianBlur(5)) for one in (blue, red)]
    content = encoded(Image.merge("YCbCr", (luma, *smeared)).convert("RGB"))
    original = encoded(drawing())
    assert likeness(vips(original), vips(content)) < 0.98


@pytest.mark.parametrize("shift", [(12, 12, 12), (-12, -12, -12), (10, 0, 0), (0, 0, -10)])
def test_the_measure_sees_that_all_is_lighter_or_of_another_tint(shift):
    bands = zip(photo().split(), shift, strict=True)
    shifted = [band.point(lambda v, by=by: max(0, min(255, v + by))) for band, by in bands]
    changed = encoded(Image.merge("RGB", shifted))
    assert likeness(vips(encoded(photo())), vips(changed)) < 0.99


def test_damage_in_one_part_of_a_large_picture_is_not_averaged_away():
    large = photo(900, 2400)
    spoiled = large.copy()
    part = (0, 0, 900, 400)
    spoiled.paste(large.crop(part).filter(ImageFilter.GaussianBlur(6)), part)
    whole = likeness(vips(encoded(large)), vips(encoded(spoiled)))
    alone = likeness(vips(encoded(large.crop(part))), vips(encoded(spoiled.crop(part))))
    assert whole < 1 - (1 - alone) / 2


def test_what_is_transparent_does_not_count_and_what_shines_through_does():
    clear = photo().convert("RGBA")
    clear.putalpha(0)
    other = photo(seed=2).convert("RGBA")
    other.putalpha(0)
    assert likeness(vips(encoded(clear)), vips(encoded(other))) > 0.999
    half = photo().convert("RGBA")
    half.putalpha(128)
    assert likeness(vips(encoded(half)), vips(encoded(photo().convert("RGBA")))) < 0.95


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 3), (175, 176), (177, 1)])
def test_pictures_smaller_than_the_window_are_measured(size):
    picture = photo().resize(size)
    other = picture.point(lambda v: (v + 128) % 256)
    assert likeness(vips(encoded(picture)), vips(encoded(picture))) == pytest.approx(1, abs=1e-6)
    assert likeness(vips(encoded(picture)), vips(encoded(other))) < 0.95


# -- the search ----------------------------------------------------------------------------------


@pytest.mark.parametrize("true", [31, 40, 66, 81, 82, 83, 90, 94, 95])
@pytest.mark.parametrize("bend", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("wants_above", [False, True])
def test_the_search_comes_within_two_steps_in_seven_measurements(true, bend, wants_above):
    measured = []

    def value(quality):
        measured.append(quality)
        reach = (100 - quality) / (100 - true)
        return math.log(reach) * bend if quality != true else 0.0

    found = Boundary(30, 95, wants_above=wants_above).find(82, value)
    assert len(measured) <= 7
    assert len(set(measured)) == len(measured)
    if wants_above:
        assert found is None or true - 12 <= found <= true
    else:
        assert true <= found <= true + 12
        if abs(true - 82) <= 10:
            assert found <= true + 2


def test_a_search_without_a_solution_finds_none():
    assert Boundary(30, 95).find(82, lambda _: 1.0) is None
    assert Boundary(30, 95, wants_above=True).find(82, lambda _: -1.0) is None


# -- lossy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("picture", [photo(), drawing()], ids=["photo", "drawing"])
def test_the_result_is_smaller_and_looks_the_same_to_another_measure(make_work, picture):
    content = encoded(picture)
    made, output, facts = run(make_work, content)
    assert facts["kept_original"] is False
    assert len(made) < 0.6 * len(content)
    assert facts["saving"] == round(1 - len(made) / len(content), 3)
    assert facts["likeness"] >= 0.995
    assert likeness(vips(content), vips(made).colourspace("srgb")) == pytest.approx(
        facts["likeness"], abs=2e-5
    )
    assert ms_ssim(content, made) > 0.99
    assert output.name == f"photo.{ {'jpeg': 'jpg'}.get(facts['format'], facts['format']) }"
    assert output.media_type == f"image/{facts['format']}"


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_a_quality_is_found_that_just_does(make_work, name):
    content = encoded(photo())
    strict, _, strict_facts = run(make_work, content, formats=[name], target_ssim=0.998)
    loose, _, loose_facts = run(make_work, content, formats=[name], target_ssim=0.98)
    assert len(loose) < len(strict)
    assert strict_facts["format"] == loose_facts["format"] == name
    assert strict_facts["quality"] > loose_facts["quality"]
    assert strict_facts["likeness"] >= 0.998
    # Not much better than asked either: that would be wasted bytes.
    assert 0.98 <= loose_facts["likeness"] < 0.987


def test_the_smallest_of_the_formats_wins(make_work):
    content = encoded(photo())
    alone = {name: len(run(make_work, content, formats=[name])[0]) for name in ("jpeg", "webp")}
    made, _, facts = run(make_work, content, formats=["jpeg", "webp"])
    assert len(made) == min(alone.values())
    assert facts["format"] == min(alone, key=lambda name: alone[name])


def test_a_large_picture_is_judged_whole_in_the_end(make_work):
    picture = photo(1100, 700)
    # Part of it is much harder than the rest: the sample cannot tell for all of it.
    picture.paste(photo(1100, 110, 5).filter(ImageFilter.UnsharpMask(3, 400)), (0, 0))
    content = encoded(picture, "JPEG", quality=97)
    made, _, facts = run(make_work, content, "photo.jpg", formats=["webp"])
    assert facts["likeness"] >= 0.995
    assert likeness(vips(content), vips(made)) >= 0.995
    assert len(made) < len(content)


def test_a_palette_is_taken_where_it_is_not_seen(make_work):
    picture = drawing().filter(ImageFilter.GaussianBlur(0.6))
    made, _, facts = run(make_work, encoded(picture), formats=["png"])
    assert (facts["format"], facts["method"]) == ("png", "palette")
    assert opened(made).mode == "P"
    assert facts["likeness"] >= 0.995


def test_no_palette_is_taken_where_it_shows(make_work):
    smooth = Image.merge(
        "RGB",
        (
            Image.linear_gradient("L").resize((400, 300)),
            Image.linear_gradient("L").rotate(90).resize((400, 300)),
            Image.radial_gradient("L").resize((400, 300)),
        ),
    )
    made, _, facts = run(make_work, encoded(smooth), formats=["png"], target_ssim=0.9999)
    assert facts["method"] != "palette"
    assert same(opened(made), smooth)


def test_transparency_stays_and_rules_jpeg_out(make_work):
    picture = photo(200, 150).convert("RGBA")
    picture.putalpha(Image.radial_gradient("L").resize(picture.size))
    made, _, facts = run(make_work, encoded(picture))
    assert "jpeg" not in {tried["format"] for tried in facts["candidates"]}
    before, after = picture.getchannel("A"), opened(made, "RGBA").getchannel("A")
    _, most = ImageChops.difference(before, after).getextrema()
    assert most <= 8


def test_an_alpha_that_hides_nothing_does_not(make_work):
    picture = photo().convert("RGBA")
    _, _, facts = run(make_work, encoded(picture), formats=["jpeg"])
    assert facts["format"] == "jpeg"


@pytest.mark.parametrize(
    ("orientation", "name"), [(1, "jpeg"), (3, "webp"), (6, "jpeg"), (6, "webp"), (8, "webp")]
)
def test_the_result_is_upright(make_work, orientation, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = photo(320, 200)
    picture.paste("red", (0, 0, 100, 100))
    content = encoded(picture, "JPEG", quality=97, exif=exif)
    made, _, facts = run(make_work, content, "photo.jpg", formats=[name], target_ssim=0.98)
    assert facts["method"] == "lossy"
    corner = {1: (50, 50), 3: (270, 150), 6: (150, 50), 8: (50, 270)}[orientation]
    result = opened(made)
    assert result.size == (facts["width_px"], facts["height_px"])
    assert result.size == ((320, 200) if orientation < 5 else (200, 320))
    assert 0x0112 not in result.getexif()
    red, green, _ = result.convert("RGB").getpixel(corner)
    assert red > 240
    assert green < 30


def test_sixteen_bits_become_eight(make_work):
    pyvips = libvips()
    ramp = pyvips.Image.xyz(300, 200)[0] * (65535 / 299)
    deep = ramp.cast("ushort").copy(interpretation="grey16").pngsave_buffer()
    made, _, facts = run(make_work, bytes(deep), formats=["webp"])
    assert facts["format"] == "webp"
    result = opened(made, "L")
    for x in (0, 75, 150, 299):
        assert abs(result.getpixel((x, 100)) - round(x / 299 * 255)) <= 2


def test_a_wide_gamut_becomes_srgb(make_work):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    content = encoded(photo(), "JPEG", quality=97, icc_profile=profile)
    # A profile that does not fit the picture is no reason to fail.
    made, _, facts = run(make_work, content, "photo.jpg", formats=["webp"])
    assert facts["kept_original"] or "icc_profile" not in opened(made).info


def test_metadata_goes_or_stays_as_asked(make_work):
    exif = Image.Exif()
    exif[0x8298] = "Somebody"
    exif[0x0112] = 6
    content = encoded(photo(), "JPEG", quality=97, exif=exif)
    for mode in ("lossy", "lossless"):
        gone, _, _ = run(make_work, content, "a.jpg", mode=mode, formats=["jpeg"])
        kept, _, _ = run(make_work, content, "a.jpg", mode=mode, formats=["jpeg"], metadata="keep")
        assert b"Somebody" not in gone
        assert opened(kept).getexif()[0x8298] == "Somebody"


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("mode", "name"), [("lossy", "webp"), ("lossless", "jpeg")])
def test_only_the_copyright_stays_if_asked(make_work, mode, name, orientation):
    exif = Image.Exif()
    exif[0x8298], exif[0x010E], exif[0x0112] = "Somebody", "a secret", orientation
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = encoded(photo(), "JPEG", quality=97, exif=exif, icc_profile=profile)
    made, _, facts = run(
        make_work, content, "a.jpg", mode=mode, formats=[name], metadata="copyright"
    )
    assert not facts["kept_original"]
    result = opened(made)
    assert result.getexif()[0x8298] == "Somebody"
    assert b"a secret" not in made
    upright = 1 if mode == "lossy" else orientation
    assert result.getexif().get(0x0112, 1) == upright
    if mode == "lossless":
        assert same(result, opened(content), "RGB")
        assert result.info["icc_profile"] == profile


@pytest.mark.parametrize("picture", [photo(), drawing()], ids=["photo", "drawing"])
def test_a_png_is_kept_with_its_copyright(make_work, picture):
    exif = Image.Exif()
    exif[0x8298] = "Somebody"
    made, _, _ = run(make_work, encoded(picture, exif=exif), formats=["png"], metadata="copyright")
    assert opened(made).getexif()[0x8298] == "Somebody"


# -- animations and what is left alone -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF"])
def test_the_format_is_kept_unless_another_is_asked_for(make_work, kind):
    content = encoded(drawing(), kind, **({"quality": 98} if kind in ("JPEG", "WEBP") else {}))
    work = make_work(content, "a", PATIENT)
    facts = optimize(work, OptimizeParams()).facts
    assert facts["format"] == kind.lower()
    assert {one["format"] for one in facts["candidates"]} <= {kind.lower()}


def test_a_gif_is_coded_better_with_the_same_frames(make_work):
    grain = photo(160, 120).quantize(200)
    frames = []
    for number in range(6):
        frame = grain.copy()
        frame.paste(number, (10 * number, 20, 10 * number + 30, 50))
        frames.append(frame)
    delays = [50, 100, 150, 200, 250, 300]
    content = encoded(
        frames[0],
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=delays,
        loop=3,
        disposal=2,
        optimize=False,
    )
    made, output, facts = run(make_work, content, "film.gif", formats=["keep"])
    assert (facts["format"], facts["method"], facts["likeness"]) == ("gif", "recoded", 1)
    assert (output.name, len(made) < 0.9 * len(content)) == ("film.gif", True)
    before, after = opened(content), opened(made)
    assert after.info["loop"] == before.info["loop"]
    for number in range(6):
        before.seek(number)
        after.seek(number)
        assert same(before, after)
        assert after.info["duration"] == delays[number]


def test_of_a_gif_with_256_colours_one_may_go_but_not_without_loss(make_work):
    grain = photo(160, 120, 4)
    frames = [grain.rotate(number).quantize(256) for number in range(0, 40, 10)]
    assert len(frames[1].getcolors()) == 256
    content = encoded(
        frames[0], "GIF", save_all=True, append_images=frames[1:], disposal=2, optimize=False
    )
    for mode in ("lossy", "lossless"):
        made, _, facts = run(make_work, content, "film.gif", formats=["keep"], mode=mode)
        assert facts["kept_original"] or facts["likeness"] >= 0.995
        [tried] = facts["candidates"] or [{"likeness": 0}]
        assert (tried["likeness"] > 0.995) == (mode == "lossy")
        assert tried["likeness"] < 1
        if mode == "lossless":
            assert made == content


def test_a_gif_that_gets_no_smaller_is_said_not_to(make_work):
    frames = [photo(60, 50, seed).quantize(64) for seed in range(3)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    once, _, _ = run(make_work, content, "film.gif", formats=["keep"])
    twice, _, facts = run(make_work, once, "film.gif", formats=["keep"])
    assert (twice, facts["reason"]) == (once, "Nothing smaller was found.")


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "I;16", "CMYK"])
def test_a_tiff_stays_one_with_the_same_pixels(make_work, mode):
    source = Image.open(io.BytesIO(_sixteen_bits())) if mode == "I;16" else drawing().convert(mode)
    content = encoded(source, "TIFF")
    made, _, facts = run(make_work, content, "scan.tif", formats=["keep"])
    assert facts["format"] == "tiff"
    before, after = vips(content), vips(made)
    assert (after.format, (before - after).abs().max()) == (before.format, 0)
    if mode != "1":
        assert facts["method"] == "recoded"


def test_an_animation_keeps_frames_delays_and_loops(make_work):
    frames = [photo(200, 180, seed).quantize(64) for seed in range(4)]
    content = encoded(
        frames[0],
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=[50, 100, 150, 200],
        loop=3,
    )
    made, _, facts = run(make_work, content, "film.gif", formats=["webp"])
    assert (facts["format"], facts["frames"]) == ("webp", 4)
    film = opened(made)
    # GIF counts the repetitions, WebP all the times.
    assert (film.n_frames, film.info["loop"]) == (4, 4)
    delays = []
    for number in range(4):
        film.seek(number)
        film.load()
        delays.append(film.info["duration"])
    assert delays == [50, 100, 150, 200]


def test_an_animation_is_given_back_where_no_format_can_hold_it(make_work):
    frames = [photo(60, 50, seed).quantize(64) for seed in range(3)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    made, output, facts = run(make_work, content, "film.gif", formats=["jpeg", "avif"])
    assert facts["kept_original"]
    assert made == content
    assert (output.name, output.media_type) == ("film.gif", "image/gif")


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_what_would_lose_pages_or_frames_is_given_back(make_work, kind):
    pages = [photo(60, 50, seed) for seed in range(3)]
    content = encoded(pages[0], kind, save_all=True, append_images=pages[1:])
    made, _, facts = run(make_work, content, f"a.{kind.lower()}")
    assert made == content
    assert facts["kept_original"]
    assert "3 pages" in facts["reason"] or "animated PNG" in facts["reason"]


@pytest.mark.parametrize(
    ("kind", "picture"),
    [
        ("PNG", Image.new("RGB", (1, 1))),
        ("JPEG", photo(8, 8)),
        ("WEBP", Image.new("L", (3, 90))),
        ("GIF", photo(8, 8)),
        ("TIFF", Image.new("L", (3, 90))),
        ("AVIF", photo(8, 8)),
    ],
)
def test_nothing_gets_larger(make_work, picture, kind):
    content = encoded(picture, kind)
    # `run` holds the sizes against each other.
    _, output, facts = run(make_work, content, f"tiny.{kind.lower()}")
    assert opened(output.path.read_bytes()).size == picture.size
    if facts["kept_original"]:
        assert output.path.read_bytes() == content


@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
def test_doing_it_again_keeps_it(make_work, name):
    once, output, _ = run(make_work, encoded(drawing()), formats=[name])
    twice, again, facts = run(make_work, once, output.name, formats=[name], mode="lossless")
    assert facts["kept_original"] or len(twice) < len(once)
    assert same(opened(once), opened(twice))
    if facts["kept_original"]:
        assert (twice, again.name) == (once, output.name)


# -- lossless ------------------------------------------------------------------------------------


def _moving_gif() -> bytes:
    frames = [photo(60, 50, seed).quantize(64) for seed in range(3)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def _sixteen_bits() -> bytes:
    pyvips = libvips()
    ramp = pyvips.Image.xyz(90, 70)[0] * 701 + pyvips.Image.xyz(90, 70)[1] * 13
    return bytes(ramp.cast("ushort").copy(interpretation="grey16").pngsave_buffer(compression=1))


@pytest.mark.parametrize(
    "picture",
    [
        photo(),
        drawing(),
        photo().convert("L"),
        drawing().quantize(16),
        Image.merge("RGBA", (*photo().split(), photo(seed=3).getchannel(0))),
        Image.new("1", (99, 77), 1),
    ],
    ids=["rgb", "drawing", "grey", "palette", "rgba", "bilevel"],
)
@pytest.mark.parametrize("formats", [["png"], ["webp"]], ids="-".join)
def test_lossless_means_every_pixel(make_work, picture, formats):
    content = encoded(picture)
    made, _, facts = run(make_work, content, mode="lossless", formats=formats)
    assert facts["likeness"] == 1
    assert same(opened(made), picture)


def test_lossless_keeps_sixteen_bits(make_work):
    content = _sixteen_bits()
    made, _, facts = run(make_work, content, mode="lossless")
    assert (facts["format"], facts["kept_original"]) == ("png", False)
    assert vips(made).format == "ushort"
    assert (vips(made) - vips(content)).abs().max() == 0


def test_lossless_keeps_colours_below_full_transparency(make_work):
    picture = photo().convert("RGBA")
    picture.putalpha(0)
    made, _, facts = run(make_work, encoded(picture), mode="lossless", formats=["webp"])
    assert facts["format"] == "webp"
    assert same(opened(made), picture)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_coded_better_without_touching_it(make_work, orientation, mode):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "a secret"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {"icc_profile": profile} if mode == "RGB" else {}
    source = photo(260, 200).convert(mode)
    content = encoded(source, "JPEG", quality=90, exif=exif, **options)
    made, output, facts = run(make_work, content, "photo.jpg", mode="lossless")
    assert (facts["format"], facts["method"]) == ("jpeg", "recoded")
    assert output.name == "photo.jpg"
    assert len(made) < len(content)
    before, after = opened(content), opened(made)
    assert same(before, after, mode)
    assert after.getexif().get(0x0112, 1) == orientation
    assert after.info.get("icc_profile") == options.get("icc_profile")
    assert b"a secret" not in made


def test_a_turned_png_gets_turned_pixels(make_work):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = drawing(300, 200)
    made, _, _ = run(make_work, encoded(picture, exif=exif), mode="lossless", formats=["png"])
    assert same(opened(made), picture.rotate(-90, expand=True))


# -- so many bytes -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
@pytest.mark.parametrize("share", [0.03, 0.12])
def test_the_result_has_at_most_so_many_bytes_and_uses_them(make_work, name, share):
    content = encoded(photo(300, 240))
    target = int(len(content) * share)
    made, _, facts = run(make_work, content, formats=[name], target_bytes=target)
    assert 0.8 * target < len(made) <= target
    assert facts["format"] == name


def test_of_the_formats_that_fit_the_best_looking_wins(make_work):
    content = encoded(photo(240, 200))
    target = len(content) // 30
    alone = {}
    for name in ("jpeg", "webp"):
        alone[name] = run(make_work, content, formats=[name], target_bytes=target)[2]["likeness"]
    _, _, facts = run(make_work, content, formats=["jpeg", "webp"], target_bytes=target)
    assert facts["likeness"] >= max(alone.values()) - 0.001


def test_an_input_that_fits_stays_exact(make_work):
    content = encoded(photo(), "JPEG", quality=60)
    made, _, facts = run(make_work, content, "a.jpg", target_bytes=len(content))
    assert facts["likeness"] == 1
    assert same(opened(made), opened(content))


def test_a_target_that_cannot_be_reached_is_said_so(make_work):
    with pytest.raises(InvalidParameter, match="target_bytes is 50, and the smallest"):
        run(make_work, encoded(photo(64, 48)), target_bytes=50, formats=["jpeg", "png"])
    with pytest.raises(InvalidParameter, match="none of the formats can hold"):
        run(make_work, _moving_gif(), target_bytes=50, formats=["jpeg", "avif"])


# -- time, progress and parameters ---------------------------------------------------------------


@pytest.mark.parametrize(("limit_s", "width_px"), [(1e-3, 600), (2, 1200), (1.5, 600), (8, 600)])
def test_what_is_tried_follows_from_the_limit_and_is_told(make_work, limit_s, width_px):
    content = encoded(photo(width_px, width_px * 3 // 4))
    first, second = (run(make_work, content, limits=Limits(time_s=limit_s)) for _ in range(2))
    assert first[0] == second[0]
    assert first[2] == second[2]
    facts = first[2]
    left_out = {one["format"] for one in facts["not_tried"]}
    if limit_s < 0.1:
        assert first[0] == content
        assert facts["reason"] == "What might be smaller costs more time than an item may take."
        assert left_out >= {"jpeg", "webp", "avif"}
    else:
        assert facts["likeness"] >= 0.995
    if limit_s == 2:  # for four times the pixels
        assert "avif" in left_out
    if limit_s == 8:
        assert not left_out


def test_no_clock_decides_what_is_tried():
    rooms = Path(app.ops.imaging.__file__).parent
    racing = ("race", "costs", "search", "sampling", "fidelity", "contenders", "recoding")
    for name in racing:
        tree = ast.parse((rooms / f"{name}.py").read_text())
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert not imported & {"time", "signal", "datetime", "resource"}


def test_progress_is_told_to_the_end(make_work):
    told = []
    work = make_work(encoded(photo(200, 200)), "a.png", PATIENT)
    work = Work(work.sources, work.folder, work.limits, tell=lambda *now: told.append(now))
    optimize(work, OptimizeParams(formats=["jpeg", "webp"]))
    assert len(told) >= 4
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize(
    "value", ["jpeg,webp", " jpeg , webp ", '["jpeg", "webp"]', ["jpeg", "webp"]]
)
def test_formats_come_as_a_list_or_as_text(value):
    assert OptimizeParams(formats=value).formats == ("jpeg", "webp")


@pytest.mark.parametrize(
    "params",
    [
        {"formats": []},
        {"formats": "gif"},
        {"formats": "[jpeg"},
        {"target_ssim": 1},
        {"target_ssim": 0},
        {"target_ssim": "nan"},
        {"target_bytes": 0},
        {"mode": "none"},
        {"quality": 80},
    ],
)
def test_impossible_parameters_are_refused(params):
    with pytest.raises(ValidationError):
        OptimizeParams(**params)


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["lossy", "lossless"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_cut_picture_is_refused(make_work, kind, mode):
    content = encoded(photo(), kind)
    with pytest.raises(ImageUnreadable):
        run(make_work, content[: len(content) // 2], mode=mode)


@pytest.mark.parametrize("content", [b"", b"hello", b"%PDF-1.7\n", b"<svg/>"])
def test_what_is_no_picture_is_refused(make_work, content):
    with pytest.raises(ImageUnsupported):
        run(make_work, content)


def test_the_pixel_budget_counts_all_frames(make_work):
    frames = [photo(60, 50, seed).quantize(64) for seed in range(3)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(PixelsExceeded):
        run(make_work, content, limits=Limits(max_pixels=8_999))


def test_a_header_that_promises_too_much_is_refused_before_decoding(make_work):
    ihdr = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + ihdr + struct.pack(">I", zlib.crc32(b"IHDR" + ihdr))
    with pytest.raises(PixelsExceeded):
        run(make_work, b"\x89PNG\r\n\x1a\n" + chunk)


def test_a_coder_that_ends_its_process_or_takes_too_long_ends_nothing_else(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"\xff\xd8\xff\xe0 no JPEG")
    assert not recode("jpeg", source, target, keep_all=False, level=0, time_s=60)
    source.write_bytes(encoded(photo(1500, 1500), "JPEG"))
    with pytest.raises(DeadlineExceeded):
        recode("jpeg", source, target, keep_all=False, level=0, time_s=1e-3)
    assert not target.exists()


def test_a_jpeg_on_which_mozjpeg_ends_its_process_is_survived(make_work, tmp_path):
    # Found by mutation: decodes without complaint, "DCT coefficient out of range" on encoding.
    content = base64.b85decode(_FATAL_TO_MOZJPEG)
    source = tmp_path / "source"
    source.write_bytes(content)
    assert not recode("jpeg", source, tmp_path / "target", keep_all=False, level=0, time_s=60)
    _, _, facts = run(make_work, content, "a.jpg", mode="lossless")
    assert facts["likeness"] == 1


_FATAL_TO_MOZJPEG = (
    "|JeWF01!$>Nk#wx0RR9200961|JwjV00IF40RaI50RaI50s;a81OoyB0s;jD1Oo&H1qKEN1qKEN2MGuU2MGrT1_%"
    "oX2?`1d3JL}Y3k(Yi3<(Mf3je?W3kU!Z01yEI5di<h03QGV0R;g80RaI400000000000RjUA1qKHQ2?`7U!~nGr0"
    "0IF60|EpC1qB2I0004f0RjU61QC1^Au&M)6H#FYB5@QlfsvsIBSNvk6;jdgBr{@if(Z&17Z@2DB_<~*DJnEIHa9p"
    "qIzvQ7Mn_0VN>fx-R##YAT4Q8oW@l(=YIAgTc6WGrdV_?8hKGoWijtF*m6n&7nVO=bq@|{(sHv*5v$VCgx45~w!o"
    "$SH#>dFX%F@%+)z;V8+1laa<K*S$=jiF`@$&QZ_4fDp`TGCb00;pA002J#?Y;@=zqDqzpy{6-HNS_xAMv;L&%_-T"
    "eL{Jsy@LD0me(<Ax0g3*cX4MD-B{n;Ye_Yoymq>Z&n5hp^W9D5tjENEXgycPUNX|{HF>-j@aw}%tCOf}eigjebnA"
    "UK+fM%1xsnI9SnVa2YkQ3|PJ4Ab;PWl#fZN)6cIN8i*8c!zTf4dMyfN_iMEGH)YJLy#7MtP^47Q)H_;&C6Ph8RNA"
    "hXmp6LECcK3sa7mrp%{Pxg<qshNfHS;?hIWc+M?82FW>d^@-Jwc?wv5!!qu@e6AjcZR%e;ma=%`4*b})RNoTYllk"
    "HC;L)rR`(YAW#ZplTtRnfE}wI2<l9Wp&p-d!"
)
