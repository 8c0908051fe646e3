"""JPEGs that are decoded small apart from libvips: as libvips would have, or by it."""

import io

import pytest
from PIL import Image, ImageFilter

from app.errors import ImageUnreadable
from app.ops import image
from app.ops.base import Limits
from app.ops.imaging.jpeg import decoded_small
from app.ops.imaging.loading import load, read_header
from tests.ops.image_cases import corners, encoded, make
from tests.ops.image_profiles import DISPLAY_P3, rgb_profile


def photo(mode: str = "RGB", size: tuple[int, int] = (801, 603)) -> Image.Image:
    """Soft shapes in all colours; sides that no shrink divides."""
    blurred = Image.effect_noise(size, 120).filter(ImageFilter.GaussianBlur(6)).convert("RGB")
    drawn = Image.blend(corners(*size), blurred, 0.5)
    return drawn.convert(mode)


def header_of(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    return read_header(path, Limits())


def apart_and_by_libvips(header, shrink):
    found = decoded_small(header, shrink)
    return found, load(header.path, "jpeg", shrink=shrink)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_the_pixels_are_those_of_libvips(tmp_path, mode, shrink, subsampling):
    options = {} if mode == "L" else {"subsampling": subsampling}
    header = header_of(tmp_path, encoded(photo(mode), "JPEG", quality=90, **options))
    apart, usual = apart_and_by_libvips(header, shrink)
    for name in ("width", "height", "bands", "interpretation", "format"):
        assert getattr(apart, name) == getattr(usual, name)
    difference = (apart - usual).abs().copy_memory()
    assert difference.max() <= 12
    assert difference.avg() < 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_goes_along(make_work, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photo(), "JPEG", exif=exif)
    apart = make(make_work, content, width=100, format="png").picture
    whole = make(make_work, content, format="png").picture.convert("RGB")
    assert apart.size == (100, round(100 * whole.height / whole.width))
    wanted = whole.resize(apart.size, Image.Resampling.LANCZOS)
    pairs = list(zip(apart.convert("RGB").tobytes(), wanted.tobytes(), strict=True))
    assert sum(abs(a - b) for a, b in pairs) / len(pairs) < 4


def test_the_profile_goes_along(tmp_path):
    header = header_of(tmp_path, encoded(photo(), "JPEG", icc_profile=rgb_profile(DISPLAY_P3)))
    apart, usual = apart_and_by_libvips(header, 4)
    assert bytes(apart.get("icc-profile-data")) == bytes(usual.get("icc-profile-data"))


def test_nothing_else_of_the_file_goes_along(make_work):
    exif = Image.Exif()
    exif[0x010E] = "a secret"
    content = encoded(photo(), "JPEG", exif=exif, comment=b"another secret")
    made = make(make_work, content, width=50, format="jpeg")
    assert b"secret" not in encoded(made.picture, "JPEG")
    assert not made.picture.getexif()
    assert "comment" not in made.picture.info


def cmyk() -> bytes:
    return encoded(photo("CMYK"), "JPEG")


def in_many_scans() -> bytes:
    return encoded(photo(), "JPEG", progressive=True)


def with_stray_bytes() -> bytes:
    """As some cameras leave them: libjpeg warns of them, and every viewer shows the picture."""
    content = encoded(photo(), "JPEG")
    return content[:-2] + b"\x00" * 10 + content[-2:]


@pytest.mark.parametrize("make_content", [cmyk, in_many_scans, with_stray_bytes])
def test_what_is_unusual_is_left_to_libvips(tmp_path, make_work, make_content):
    content = make_content()
    assert decoded_small(header_of(tmp_path, content), 4) is None
    assert make(make_work, content, width=80, format="png").picture.size == (80, 60)


@pytest.mark.parametrize("part", [0.3, 0.7, 0.99])
def test_a_cut_file_is_never_a_success(tmp_path, make_work, part):
    content = encoded(photo(), "JPEG", quality=95)
    content = content[: int(part * len(content))]
    assert decoded_small(header_of(tmp_path, content), 2) is None
    with pytest.raises(ImageUnreadable):
        make(make_work, content, width=100)


def test_keeping_all_metadata_keeps_it(make_work, monkeypatch):
    exif = Image.Exif()
    exif[0x010E] = "kept"
    content = encoded(photo(), "JPEG", exif=exif)
    made = make(make_work, content, width=50, metadata="keep")
    assert made.picture.getexif()[0x010E] == "kept"


def test_it_is_taken_for_what_is_usual(make_work, monkeypatch):
    shrinks = []

    def counted(header, shrink):
        shrinks.append(shrink)
        return decoded_small(header, shrink)

    def not_needed(*_, **__):
        raise AssertionError("libvips decoded it")

    monkeypatch.setattr(image, "decoded_small", counted)
    monkeypatch.setattr(image, "load", not_needed)
    content = encoded(photo(), "JPEG")
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.size == (801, 603)
    assert make(make_work, content, width=90).picture.size == (90, 68)
    assert shrinks == [4]
