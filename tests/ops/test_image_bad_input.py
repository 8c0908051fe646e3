"""What is no picture, or none that should be decoded; cut, damaged and lying files."""

import struct
import subprocess
import sys
import threading
import time
import zlib

import pytest
from PIL import Image

from app.errors import ImageUnreadable, ImageUnsupported, OffloadError, PixelsExceeded
from app.ops.base import Limits
from app.ops.image import ImageParams, convert
from tests.memory import peak_kib
from tests.ops.image_cases import (
    RED,
    animation,
    close,
    corners,
    encoded,
    make,
    noise,
    plain,
    png,
)

# -- kinds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"Hello, this is a sentence.\n", "text/plain"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "application/pdf"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>', "image/svg+xml"),
        (encoded(plain(4, 4), "PPM"), "image/x-portable-pixmap"),
        (encoded(plain(8, 8), "JPEG2000"), "image/jp2"),
        (b"\xff\x0a" + bytes(100), "image/jxl"),
        (b"BM is how this text begins, which makes it no bitmap.", "text/plain"),
        (b"", "empty"),
        (bytes(100), "of no known kind"),
    ],
    ids=["text", "pdf", "svg", "ppm", "jp2", "jxl", "BM", "empty", "zeros"],
)
def test_what_is_no_picture_of_ours_is_refused_by_name(make_work, content, found):
    with pytest.raises(ImageUnsupported) as refusal:
        make(make_work, content, "photo.jpg")
    detail = refusal.value.detail
    assert detail.startswith(f"The content is {found}. ")
    assert detail.endswith(" Taken are JPEG, PNG, WebP, GIF, TIFF, AVIF, HEIC, BMP and ICO.")
    assert ("is not read: " in detail) == (found in ("image/svg+xml", "image/jp2", "image/jxl"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"])
@pytest.mark.parametrize("name", ["a.svg", "a.pdf", "a.jpg[page=9]", "a", "\u202egnp.exe"])
def test_only_the_content_decides(make_work, kind, name):
    made = make(make_work, encoded(plain(9, 9), kind), name, format="png")
    assert close(made.picture.convert("RGB").getpixel((4, 4)), (200, 100, 50), 4)


@pytest.mark.parametrize(
    "behind",
    [
        b"PK\x03\x04" + bytes(200),
        b"<script>alert(1)</script>" * 20,
        b"%PDF-1.7\n" + bytes(100),
        encoded(plain(50, 50, RED), "PNG"),
        encoded(plain(50, 50, RED), "JPEG"),
    ],
    ids=["zip", "html", "pdf", "png", "jpeg"],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_of_two_files_in_one_only_the_picture_comes_out(make_work, kind, behind):
    content = encoded(plain(20, 20), kind) + behind
    made = make(make_work, content, format="png")
    assert made.picture.size == (20, 20)
    assert close(made.picture.convert("RGB").getpixel((9, 9)), (200, 100, 50), 4)
    assert behind[:20] not in made.content[8:]


# -- cut and damaged -----------------------------------------------------------------------------

CUT = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("GIF", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("AVIF", {}),
]


@pytest.mark.parametrize(
    ("share", "params"),
    [
        (0.05, {}),
        (0.5, {"fit": "cover", "width": 90, "height": 10, "gravity": "north"}),
        (0.99, {"crop": "0,0,9,9"}),
        (0.99, {}),
    ],
)
@pytest.mark.parametrize(("kind", "options"), CUT)
def test_a_cut_file_is_an_error_and_no_grey_picture(make_work, kind, options, share, params):
    content = encoded(noise(300, 200), kind, **options)
    with pytest.raises(ImageUnreadable) as refusal:
        make(make_work, content[: int(len(content) * share)], **params)
    assert refusal.value.detail == "The picture is cut short or damaged."
    assert refusal.value.log_detail


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_cut_animation_is_an_error_too(make_work, kind, share):
    frames = [noise(60, 40, seed) for seed in range(8)]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    with pytest.raises(ImageUnreadable):
        make(make_work, content[: int(len(content) * share)])


@pytest.mark.parametrize("progressive", [True, False])
@pytest.mark.parametrize("params", [{}, {"width": 20}, {"crop": "0,0,9,9"}])
def test_a_jpeg_with_a_hole_in_it_is_an_error(make_work, progressive, params):
    # libjpeg fills the rest with grey and mentions it.
    content = encoded(noise(300, 200), "JPEG", progressive=progressive)
    middle = len(content) // 2
    holes = [content[:middle] + b"\xff\xd9"]
    if not progressive:
        # In a progressive one the later passes may fit what is left, and nobody can tell.
        holes.append(content[:middle] + content[middle + 900 :])
    for damaged in holes:
        with pytest.raises(ImageUnreadable):
            make(make_work, damaged, **params)


def test_a_damaged_png_is_an_error(make_work):
    content = bytearray(encoded(noise(300, 200)))
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    with pytest.raises(ImageUnreadable):
        make(make_work, bytes(content))


def test_stray_bytes_that_cameras_leave_in_a_jpeg_are_passed_over(make_work):
    content = encoded(corners(64, 48), "JPEG", quality=90)
    at = content.index(b"\xff\xdb")
    made = make(make_work, content[:at] + bytes(7) + content[at:], format="png")
    assert close(made.picture.getpixel((5, 5)), RED, 12)


def test_nothing_of_libvips_reaches_standard_error(tmp_path):
    content = encoded(noise(300, 200))
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    code = (
        "import sys; from pathlib import Path; from app.ops.image import *; "
        "from app.ops.base import *; from app.errors import ImageUnreadable\n"
        "folder = Path(sys.argv[1])\n"
        "work = Work((Source(folder / 'cut', 'a', 'b', 1),), folder, Limits())\n"
        "try: convert(work, ImageParams())\n"
        "except ImageUnreadable: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], check=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")


# -- bombs ---------------------------------------------------------------------------------------


def webp_of(width: int, height: int) -> bytes:
    """A lossless WebP header of that size, and nothing behind it."""
    bits = (width - 1) | (height - 1) << 14
    body = b"VP8L" + struct.pack("<I", 5) + b"\x2f" + struct.pack("<I", bits) + b"\x00"
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def extended_webp_of(width: int, height: int) -> bytes:
    """An extended WebP that claims that size; its one frame is small."""
    inner = encoded(plain(8, 8), "WEBP", lossless=True)[12:]
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size + inner
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def avif_of(width: int, height: int) -> bytes:
    """An AVIF whose properties claim that size; its one frame is small."""
    content = encoded(plain(16, 16), "AVIF")
    claimed = struct.pack(">4s4xII", b"ispe", 16, 16)
    assert content.count(claimed) == 1
    return content.replace(claimed, struct.pack(">4s4xII", b"ispe", width, height))


def gif_of(width: int, height: int) -> bytes:
    content = bytearray(encoded(plain(8, 8), "GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def tiff_of(width: int, height: int) -> bytes:
    content = encoded(plain(8, 9), "TIFF")
    for tag, old, new in ((256, 8, width), (257, 9, height)):
        content = content.replace(
            struct.pack("<HHI", tag, 4, 1) + struct.pack("<I", old),
            struct.pack("<HHI", tag, 4, 1) + struct.pack("<I", new),
        ).replace(
            struct.pack("<HHI", tag, 3, 1) + struct.pack("<H", old) + bytes(2),
            struct.pack("<HHI", tag, 4, 1) + struct.pack("<I", new),
        )
    return content


def jpeg_of(width: int, height: int) -> bytes:
    content = encoded(plain(8, 9), "JPEG")
    return content.replace(struct.pack(">HH", 9, 8), struct.pack(">HH", height, width), 1)


BOMBS = [
    (png(50_000, 50_000), "50000 by 50000 = 2,500,000,000"),
    (png(50_000, 50_000, data=zlib.compress(bytes(1000))), "50000 by 50000"),
    (png(2**31 - 1, 2**31 - 1), "2147483647 by 2147483647"),
    (jpeg_of(65_500, 65_500), "65500 by 65500"),
    (webp_of(16_383, 16_383), "16383 by 16383"),
    (tiff_of(100_000, 100_000), "100000 by 100000"),
    (avif_of(30_000, 30_000), "30000 by 30000"),
]


@pytest.mark.parametrize(("content", "told"), BOMBS, ids=[told for _, told in BOMBS])
def test_a_huge_picture_is_refused_from_its_header(make_work, content, told):
    convert(make_work(encoded(plain(2, 2))), ImageParams())
    begun, before = time.process_time(), peak_kib()
    with pytest.raises(PixelsExceeded) as refusal:
        make(make_work, content, width=10)
    assert time.process_time() - begun < 0.5
    assert peak_kib() - before < 20_000
    assert told in refusal.value.detail
    assert refusal.value.extra["max_pixels"] == 50_000_000


@pytest.mark.parametrize(
    "content",
    [
        webp_of(5_000, 5_000),
        extended_webp_of(5_000, 5_000),
        extended_webp_of(1 << 24, 200),
        avif_of(5_000, 5_000),
        avif_of(2**31, 2**31),
        avif_of(0, 0),
        jpeg_of(7_000, 7_000),
        png(7_000, 7_000, data=zlib.compress(bytes(1000))),
        png(0, 0, data=zlib.compress(b"")),
        tiff_of(7_000, 7_000),
    ],
    ids=range(10),
)
def test_a_header_that_promises_more_than_there_is_is_no_picture(make_work, content):
    with pytest.raises(OffloadError) as refusal:
        make(make_work, content, width=10)
    assert refusal.value.code in ("image.unreadable", "limit.pixels")


@pytest.mark.parametrize("size", [(0, 0), (65_535, 65_535)])
def test_a_gif_whose_screen_makes_no_sense_is_as_large_as_its_frame(make_work, size):
    made = make(make_work, gif_of(*size))
    assert made.picture.size == (8, 8)
    assert close(made.picture.convert("RGB").getpixel((4, 4)), (200, 100, 50))


@pytest.mark.parametrize("fit", ["inside", "outside", "cover", "contain", "pad", "fill"])
def test_a_huge_result_is_refused_before_it_is_made(make_work, fit):
    with pytest.raises(PixelsExceeded, match="The result would have"):
        make(make_work, encoded(plain(9, 9)), fit=fit, width=16_384, height=16_384, enlarge=True)


def test_what_cover_would_cut_away_counts_too(make_work):
    box = {"fit": "cover", "width": 1000, "height": 1000, "enlarge": True}
    with pytest.raises(PixelsExceeded):
        make(make_work, encoded(plain(2, 9000)), **box)


def test_a_turn_that_makes_the_picture_too_large_is_refused(make_work):
    content = encoded(plain(1_000, 10), "PNG")
    with pytest.raises(PixelsExceeded, match="714 by 714"):
        make(make_work, content, rotate=45, limits=Limits(max_pixels=100_000))


def test_a_million_tiny_frames_end_at_the_deadline(make_work):
    one = animation("GIF", ((1, 2, 3), (4, 5, 6)), (1, 1), duration=20)
    start = 13 + (3 << (one[10] & 7) + 1)
    block = one[one.index(b"\x21\xf9", start) : one.index(b"\x21\xf9", start + 20)]
    content = one[:start] + block * 30_000 + b"\x3b"
    begun = time.monotonic()
    with pytest.raises(OffloadError) as refusal:
        make(make_work, content, limits=Limits(time_s=1))
    assert refusal.value.code in ("limit.time", "limit.pixels")
    assert time.monotonic() - begun < 10


def test_the_modules_load_without_libvips():
    code = "import sys, app.ops.image; print('pyvips' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_only_the_loaders_that_are_needed_can_run():
    from app.ops.imaging.vips import libvips

    pyvips = libvips()
    ppm = b"P6 1 1 255\n\x01\x02\x03"
    for refused in (ppm, b"<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>"):
        with pytest.raises(pyvips.Error):
            pyvips.Image.new_from_buffer(refused, "").avg()
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"):
        assert pyvips.Image.new_from_buffer(encoded(plain(2, 2), kind), "").width == 2
    assert Image.MIME["AVIF"] == "image/avif"


def test_in_threads_a_damaged_picture_is_nobody_elses_fault(make_work):
    """libvips keeps what it says in one place: without the lock some good ones are refused."""
    good = encoded(noise(400, 300), "JPEG")
    outcomes = {True: [], False: []}

    def convert_often(content, whole):
        work = make_work(content)
        for _ in range(60):
            try:
                convert(work, ImageParams(width=150))
                outcomes[whole].append("made")
            except ImageUnreadable:
                outcomes[whole].append("refused")

    threads = [
        threading.Thread(target=convert_often, args=(good, True)),
        threading.Thread(target=convert_often, args=(good[: len(good) // 2], False)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {True: ["made"] * 60, False: ["refused"] * 60}
