import io
import struct
import subprocess
import sys
import time
import zlib

import pytest
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin
from pydantic import ValidationError

from app.errors import ImageUnreadable, ImageUnsupported, InvalidParameter, PixelsExceeded
from app.ops.base import Limits
from app.ops.image import ImageParams, resize

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 180, 30), (40, 40, 220), (230, 220, 40)


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def plain(width: int, height: int, colour=(200, 100, 50), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (width, height), colour)


def corners(width: int, height: int) -> Image.Image:
    """Red top left, green top right, blue bottom left, yellow bottom right."""
    picture = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(picture)
    half_x, half_y = width // 2, height // 2
    draw.rectangle((0, 0, half_x - 1, half_y - 1), RED)
    draw.rectangle((half_x, 0, width, half_y - 1), GREEN)
    draw.rectangle((0, half_y, half_x - 1, height), BLUE)
    draw.rectangle((half_x, half_y, width, height), YELLOW)
    return picture


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB")


def run(make_work, content: bytes, name: str = "photo.png", limits=None, **params):
    work = make_work(content, name, limits)
    (output,) = resize(work, ImageParams(**params))
    picture = Image.open(output.path)
    picture.load()
    assert picture.size == (output.facts["width_px"], output.facts["height_px"])
    return picture, output


def close(found, wanted, within: int = 6) -> bool:
    return all(abs(a - b) <= within for a, b in zip(found, wanted, strict=True))


# -- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "params", "size"),
    [
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
        # cover: exactly the box, unless that would take enlarging.
        ((400, 300), {"fit": "cover", "width": 100, "height": 100}, (100, 100)),
        ((401, 299), {"fit": "cover", "width": 77, "height": 99}, (77, 99)),
        ((400, 50), {"fit": "cover", "width": 100, "height": 100}, (100, 50)),
        ((40, 30), {"fit": "cover", "width": 100, "height": 100}, (40, 30)),
        ((40, 30), {"fit": "cover", "width": 100, "height": 100, "enlarge": True}, (100, 100)),
        # contain: always exactly the box.
        ((400, 300), {"fit": "contain", "width": 100, "height": 100}, (100, 100)),
        ((40, 30), {"fit": "contain", "width": 100, "height": 100}, (100, 100)),
        # fill: always exactly the box.
        ((400, 300), {"fit": "fill", "width": 50, "height": 200}, (50, 200)),
        ((40, 30), {"fit": "fill", "width": 100, "height": 20}, (100, 20)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_result_has_the_size_that_the_fit_promises(make_work, kind, source, params, size):
    picture, output = run(make_work, encoded(noise(*source), kind), **params)
    assert picture.size == size
    assert (output.facts["source_width_px"], output.facts["source_height_px"]) == source


@pytest.mark.parametrize("box", [(1, 1), (7, 13), (333, 100), (640, 479), (99, 1000)])
@pytest.mark.parametrize("source", [(640, 480), (641, 97), (33, 900)])
def test_inside_touches_the_box_and_keeps_the_ratio_within_a_pixel(make_work, source, box):
    picture, _ = run(make_work, encoded(plain(*source)), width=box[0], height=box[1])
    scale = min(box[0] / source[0], box[1] / source[1], 1)
    assert picture.width <= box[0]
    assert picture.height <= box[1]
    assert abs(picture.width - source[0] * scale) <= 1
    assert abs(picture.height - source[1] * scale) <= 1


def test_cover_keeps_the_middle(make_work):
    wide = Image.new("RGB", (300, 100), RED)
    wide.paste(BLUE, (100, 0, 200, 100))
    picture, _ = run(make_work, encoded(wide), fit="cover", width=100, height=100)
    assert close(picture.getpixel((5, 50)), BLUE)
    assert close(picture.getpixel((94, 50)), BLUE)


def test_contain_pads_both_sides_with_the_background(make_work):
    picture, _ = run(
        make_work,
        encoded(plain(100, 50)),
        fit="contain",
        width=100,
        height=100,
        background="#0af",
    )
    assert picture.getpixel((50, 10)) == (0, 170, 255)
    assert picture.getpixel((50, 89)) == (0, 170, 255)
    assert close(picture.getpixel((50, 50)), (200, 100, 50))


def test_grey_is_padded_in_colour(make_work):
    picture, _ = run(
        make_work,
        encoded(plain(20, 10, 100, "L")),
        fit="contain",
        width=20,
        height=20,
        background="#ff0000",
    )
    assert picture.getpixel((10, 1)) == (255, 0, 0)
    assert close(picture.getpixel((10, 10)), (100, 100, 100))


@pytest.mark.parametrize("fit", ["cover", "contain", "fill"])
@pytest.mark.parametrize("box", [{}, {"width": 10}, {"height": 10}])
def test_a_fit_that_needs_a_whole_box_says_so(fit, box):
    with pytest.raises(ValidationError, match="needs both width and height"):
        ImageParams(fit=fit, **box)


@pytest.mark.parametrize(
    "params",
    [
        {"width": 0},
        {"height": 16_385},
        {"quality": 0},
        {"quality": 101},
        {"background": "white"},
        {"background": "#12345"},
        {"format": "bmp"},
        {"widht": 3},
    ],
)
def test_parameters_out_of_range_are_refused(params):
    with pytest.raises(ValidationError):
        ImageParams(**params)


def test_parameters_may_come_as_text():
    params = ImageParams.model_validate({"width": "80", "enlarge": "true", "quality": "70"})
    assert (params.width, params.enlarge, params.quality) == (80, True, 70)


# -- upright -------------------------------------------------------------------------------------

# What a camera stores for each orientation, so that turning it as told gives `corners` again.
STORED = {
    1: [],
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"width": 60, "height": 60},
        {"fit": "cover", "width": 60, "height": 20},
        {"fit": "contain", "width": 60, "height": 80},
        {"fit": "fill", "width": 30, "height": 50},
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_comes_out_upright(make_work, orientation, kind, params):
    picture = corners(120, 80)
    for turn in STORED[orientation]:
        picture = picture.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    result, output = run(make_work, encoded(picture, kind, exif=exif), format="png", **params)
    assert (output.facts["source_width_px"], output.facts["source_height_px"]) == (120, 80)
    box = {
        "contain": (5, 25, 54, 54),
        "cover": (5, 3, 54, 16),
    }.get(params.get("fit"), (4, 4, result.width - 5, result.height - 5))
    left, top, right, bottom = box
    found = [
        result.getpixel(place)
        for place in ((left, top), (right, top), (left, bottom), (right, bottom))
    ]
    assert all(close(a, b, 20) for a, b in zip(found, (RED, GREEN, BLUE, YELLOW), strict=True)), (
        found
    )


# -- colours -------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["jpeg", "png", "webp"])
@pytest.mark.parametrize(
    ("content", "colour"),
    [
        (encoded(plain(40, 20)), (200, 100, 50)),
        (encoded(plain(40, 20).quantize(4)), (200, 100, 50)),
        (encoded(plain(40, 20), "GIF"), (200, 100, 50)),
        (encoded(plain(40, 20), "TIFF", compression="tiff_lzw"), (200, 100, 50)),
        (encoded(plain(40, 20, 100, "L")), (100, 100, 100)),
        (encoded(plain(40, 20, 100, "L"), "JPEG"), (100, 100, 100)),
        (encoded(plain(40, 20, 1, "1")), (255, 255, 255)),
        (encoded(plain(40, 20, 1, "1"), "TIFF", compression="group4"), (255, 255, 255)),
        (encoded(plain(40, 20, 0x6464, "I;16")), (100, 100, 100)),
        (encoded(plain(40, 20, 0x6464, "I;16"), "TIFF"), (100, 100, 100)),
        (encoded(plain(40, 20, (200, 100, 50, 255), "RGBA")), (200, 100, 50)),
    ],
    ids=[
        "rgb",
        "palette",
        "gif",
        "tiff",
        "grey",
        "grey jpeg",
        "bilevel",
        "fax",
        "grey16",
        "grey16 tiff",
        "opaque alpha",
    ],
)
def test_colours_stay_what_they_are(make_work, content, colour, written):
    picture, _ = run(make_work, content, format=written, width=10, height=10)
    assert close(picture.convert("RGB").getpixel((5, 2)), colour, 4)


def test_sixteen_bits_a_channel_become_eight(make_work):
    rows = b"".join(
        b"\x00" + struct.pack(">3H", 200 * 257, 100 * 257, 50 * 257) * 40 for _ in range(20)
    )
    content = png(40, 20, depth=16, data=zlib.compress(rows))
    picture, output = run(make_work, content)
    assert picture.getpixel((5, 5)) == (200, 100, 50)
    assert output.path.read_bytes()[24] == 8


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(make_work, kind):
    content = encoded(plain(40, 20, (0, 255, 255, 0), "CMYK"), kind)
    picture, _ = run(make_work, content, format="png")
    assert picture.mode == "RGB"
    red, green, blue = picture.getpixel((5, 5))
    assert red > 200
    assert green < 70
    assert blue < 70


def test_a_colour_profile_is_converted_to_srgb(make_work):
    # sRGB with red and blue exchanged; what that should look like is another engine's word.
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    data = srgb.tobytes()
    swapped = data.replace(b"rXYZ", b"tmpX").replace(b"bXYZ", b"rXYZ").replace(b"tmpX", b"bXYZ")
    swapped = swapped.replace(b"sRGB built-in", b"swapped colou")
    picture = plain(40, 20, (200, 100, 50))
    reference = ImageCms.profileToProfile(picture, io.BytesIO(swapped), srgb)
    for kind in ("JPEG", "PNG", "WEBP"):
        content = encoded(picture, kind, icc_profile=swapped, quality=100)
        result, output = run(make_work, content, format="png")
        assert close(result.getpixel((5, 5)), reference.getpixel((5, 5)), 8)
        assert not close(result.getpixel((5, 5)), (200, 100, 50), 8)
        assert b"iCCP" not in output.path.read_bytes()


def test_a_damaged_colour_profile_does_not_spoil_the_picture(make_work):
    content = encoded(plain(40, 20), "PNG", icc_profile=b"not a profile" * 20)
    picture, _ = run(make_work, content)
    assert close(picture.getpixel((5, 5)), (200, 100, 50))


def half_clear() -> Image.Image:
    picture = Image.new("RGBA", (40, 20), (200, 100, 50, 255))
    picture.paste((200, 100, 50, 0), (20, 0, 40, 20))
    return picture


@pytest.mark.parametrize("written", ["png", "webp"])
def test_transparency_is_kept_where_the_format_has_it(make_work, written):
    picture, _ = run(make_work, encoded(half_clear()), format=written, width=20)
    assert picture.mode == "RGBA"
    assert picture.getpixel((17, 5))[3] == 0
    assert close(picture.getpixel((3, 5)), (200, 100, 50, 255))


def test_transparency_does_not_bleed_into_its_edge(make_work):
    picture = Image.new("RGBA", (400, 200), (0, 0, 0, 0))
    picture.paste((255, 255, 255, 255), (0, 0, 205, 200))
    result, _ = run(make_work, encoded(picture), width=20)
    edge = [result.getpixel((x, 5)) for x in range(20)]
    assert all(pixel[0] > 250 for pixel in edge if pixel[3] > 20)


def test_jpeg_shows_the_background_through_transparent_parts(make_work):
    picture, _ = run(make_work, encoded(half_clear()), format="jpeg", background="#00ff00")
    assert picture.mode == "RGB"
    assert close(picture.getpixel((35, 10)), (0, 255, 0))
    assert close(picture.getpixel((5, 10)), (200, 100, 50))


def test_grey_with_transparency_is_flattened_too(make_work):
    content = encoded(plain(40, 20, (100, 0), "LA"))
    picture, _ = run(make_work, content, format="jpeg", background="#ff0000")
    assert close(picture.convert("RGB").getpixel((5, 5)), (255, 0, 0))


def test_padding_is_opaque_and_the_pictures_own_transparency_stays(make_work):
    picture, _ = run(make_work, encoded(half_clear()), fit="contain", width=40, height=40)
    assert picture.getpixel((35, 2)) == (255, 255, 255, 255)
    assert picture.getpixel((35, 20))[3] == 0


def test_grey_stays_one_channel(make_work):
    picture, _ = run(make_work, encoded(plain(40, 20, 100, "L"), "JPEG"), width=20)
    assert picture.mode == "L"


# -- formats and metadata ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "written", "name"),
    [
        ("JPEG", "jpeg", "a.b.jpg"),
        ("PNG", "png", "a.b.png"),
        ("WEBP", "webp", "a.b.webp"),
        ("GIF", "png", "a.b.png"),
        ("TIFF", "png", "a.b.png"),
    ],
)
def test_keep_keeps_what_can_be_written_and_makes_png_of_the_rest(make_work, kind, written, name):
    picture, output = run(make_work, encoded(plain(9, 9), kind), "a.b.wrong")
    assert picture.format == written.upper()
    assert (output.name, output.media_type) == (name, f"image/{written}")
    assert output.facts["format"] == written


@pytest.mark.parametrize("written", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_no_metadata_survives(make_work, kind, written):
    exif = Image.Exif()
    exif[0x010F] = "SECRET-MAKER"
    exif[0x010E] = "SECRET-PLACE"
    options = {
        "exif": exif,
        "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    }
    if kind == "JPEG":
        options["comment"] = b"SECRET-COMMENT"
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Comment", "SECRET-TEXT")
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", "<x>SECRET-XMP</x>")
    if kind == "WEBP":
        options["xmp"] = b"<x>SECRET-XMP</x>"
    content = encoded(corners(60, 40), kind, **options)
    assert b"SECRET" in content
    picture, output = run(make_work, content, format=written)
    packed = output.path.read_bytes()
    for trace in (b"SECRET", b"Exif", b"EXIF", b"ICC_PROFILE", b"iCCP", b"ICCP", b"tEXt", b"XMP"):
        assert trace not in packed
    assert not picture.getexif()
    assert not set(picture.info) & {"comment", "exif", "icc_profile", "xmp"}


def test_quality_decides_the_size_of_a_jpeg(make_work):
    sizes = [
        run(make_work, encoded(noise(200, 200)), format="jpeg", quality=quality)[1]
        .path.stat()
        .st_size
        for quality in (20, 80, 95)
    ]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame_and_the_count(make_work, kind):
    frames = [plain(20, 10, colour) for colour in (RED, GREEN, BLUE)]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    picture, output = run(make_work, content, format="png")
    assert picture.size == (20, 10)
    assert close(picture.convert("RGB").getpixel((5, 5)), RED)
    assert output.facts["frames"] == 3


def test_a_side_longer_than_the_format_can_hold_is_refused(make_work):
    with pytest.raises(InvalidParameter, match="16383"):
        run(make_work, encoded(plain(16_384, 1)), format="webp")


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"Hello, this is a sentence.\n", "text/plain"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "application/pdf"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>', "image/svg+xml"),
        (encoded(plain(4, 4), "BMP"), "image/bmp"),
        (encoded(plain(8, 8), "AVIF"), "image/avif"),
        (b"", "empty"),
        (bytes(100), "of no known kind"),
    ],
)
def test_what_is_no_picture_of_ours_is_refused_by_name(make_work, content, found):
    with pytest.raises(ImageUnsupported) as refusal:
        run(make_work, content, "photo.jpg")
    assert refusal.value.detail == (
        f"The content is {found}. Taken are JPEG, PNG, WebP, GIF and TIFF."
    )


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
@pytest.mark.parametrize("params", [{}, {"fit": "cover", "width": 90, "height": 10}])
def test_a_cut_file_is_an_error_and_no_grey_picture(make_work, kind, options, share, params):
    content = encoded(noise(300, 200), kind, **options)
    with pytest.raises(ImageUnreadable) as refusal:
        run(make_work, content[: int(len(content) * share)], **params)
    assert refusal.value.detail == "The picture is cut short or damaged."
    assert refusal.value.log_detail


def test_a_damaged_png_is_an_error(make_work):
    content = bytearray(encoded(noise(300, 200)))
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    with pytest.raises(ImageUnreadable):
        run(make_work, bytes(content))


def test_nothing_of_libvips_reaches_standard_error(tmp_path):
    content = encoded(noise(300, 200))
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    code = (
        "import sys; from pathlib import Path; from app.ops.image import *; "
        "from app.ops.base import *; from app.errors import ImageUnreadable\n"
        "folder = Path(sys.argv[1])\n"
        "try: resize(Work((Source(folder / 'cut', 'a', 'b', 1),), folder, Limits()), ImageParams())\n"
        "except ImageUnreadable: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], check=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")


def png(width: int, height: int, depth: int = 8, data: bytes | None = None) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0))
    pixels = b"" if data is None else chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + pixels


@pytest.mark.parametrize("data", [None, zlib.compress(bytes(1000))])
def test_a_huge_picture_is_refused_from_its_header(make_work, data):
    resize(make_work(encoded(plain(2, 2))), ImageParams())
    begun = time.process_time()
    with pytest.raises(PixelsExceeded) as refusal:
        run(make_work, png(50_000, 50_000, data=data), width=10)
    assert time.process_time() - begun < 0.5
    assert "50000 by 50000 = 2,500,000,000 pixels" in refusal.value.detail
    assert refusal.value.extra == {"pixels": 2_500_000_000, "max_pixels": 50_000_000}


def test_frames_count_towards_the_budget(make_work):
    frames = [plain(20, 10, colour) for colour in (RED, GREEN, BLUE)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(PixelsExceeded, match="20 by 10 in 3 frames = 600 pixels"):
        run(make_work, content, limits=Limits(max_pixels=500))
    run(make_work, content, limits=Limits(max_pixels=600))


@pytest.mark.parametrize("fit", ["inside", "cover", "contain", "fill"])
def test_a_huge_result_is_refused_before_it_is_made(make_work, fit):
    with pytest.raises(PixelsExceeded, match="The result would have"):
        run(make_work, encoded(plain(9, 9)), fit=fit, width=16_384, height=16_384, enlarge=True)


def test_what_cover_would_cut_away_counts_too(make_work):
    with pytest.raises(PixelsExceeded):
        run(
            make_work,
            encoded(plain(2, 9000)),
            fit="cover",
            width=1000,
            height=1000,
            enlarge=True,
        )


def test_the_module_loads_without_libvips():
    code = "import sys, app.ops.image; print('pyvips' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
