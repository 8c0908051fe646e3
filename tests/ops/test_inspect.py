import bz2
import gzip
import hashlib
import io
import json
import lzma
import struct
import sys
import tarfile
import zipfile
import zlib

import lz4.frame
import pytest
from PIL import Image, ImageCms
from pydantic import ValidationError

from app.ops.base import Limits, Work
from app.ops.imaging.profile import profile_name
from app.ops.inspect import InspectParams, inspect
from app.ops.inspecting import contents

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def photo(width: int = 64, height: int = 40, mode: str = "RGB") -> Image.Image:
    return Image.effect_noise((width, height), 60).convert(mode)


def facts(make_work, content: bytes, name: str = "file", limits=None, **params):
    work = make_work(content, name, limits)
    result = inspect(work, InspectParams(**params))
    assert result.outputs == ()
    assert list(work.folder.iterdir()) == []
    # Facts cross a pipe and end in a record.
    assert json.loads(json.dumps(result.facts)) == result.facts
    assert result.facts["size_bytes"] == len(content)
    return result.facts


# -- digests, names and progress -----------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"a", b"\x00\xff" * 1_500_000], ids=["empty", "one", "3MB"]
)
def test_digests_are_those_of_others(make_work, content):
    found = facts(make_work, content, digests="sha256,sha512, sha1,md5,crc32")["digests"]
    assert found == {
        **{
            name: hashlib.new(name, content).hexdigest()
            for name in ("sha256", "sha512", "sha1", "md5")
        },
        "crc32": f"{zlib.crc32(content):08x}",
    }


def test_the_default_digest_is_sha256(make_work):
    assert list(facts(make_work, b"a")["digests"]) == ["sha256"]


@pytest.mark.parametrize("value", ["md5,crc32", '["md5","crc32"]', ["md5", "crc32"]])
def test_digests_come_as_a_list_or_as_text(value):
    assert InspectParams(digests=value).digests == ("md5", "crc32")


@pytest.mark.parametrize("value", ["sha3", "[md5", 5, ["md5", "none"]])
def test_unknown_digests_are_refused(value):
    with pytest.raises(ValidationError):
        InspectParams(digests=value)


def test_progress_is_told_in_bytes(make_work):
    content = bytes(3_000_000)
    told = []
    work = make_work(content)
    inspect(
        Work(work.sources, work.folder, work.limits, tell=lambda *now: told.append(now)),
        InspectParams(),
    )
    assert told[-1] == (len(content), len(content))
    assert len(told) >= 3
    assert told == sorted(told)


@pytest.mark.parametrize(
    ("name", "content", "matches"),
    [
        ("a.png", encoded(photo()), True),
        ("a.PNG", encoded(photo()), True),
        ("a.jpg", encoded(photo()), False),
        ("a.jpeg", encoded(photo(), "JPEG"), True),
        ("a.webp", encoded(photo(), "WEBP"), True),
        ("a.avif", encoded(photo(), "AVIF"), True),
        ("a.avif", encoded(photo(), "WEBP"), False),
        ("a.txt", b"some words", True),
        ("a.md", b"# some words", True),
        ("a.txt", gzip.compress(b"x", mtime=0), False),
        ("a.gz", gzip.compress(b"x", mtime=0), True),
        ("a.tar.gz", gzip.compress(b"x", mtime=0), True),
        ("a.zst", zstd.compress(b"x"), True),
        ("a.bz2", bz2.compress(b"x" * 100), True),
        ("a.xz", lzma.compress(b"x"), True),
        ("a.json", b'{"a": [1, 2]}', True),
        ("a", encoded(photo()), None),
        ("png", encoded(photo()), None),
        ("a.unheardof", encoded(photo()), None),
        ("a.png", b"", None),
    ],
)
def test_a_name_that_does_not_fit_is_told(make_work, name, content, matches):
    assert facts(make_work, content, name)["extension_matches"] is matches


# -- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "encoding", "mark", "lines", "ending"),
    [
        (b"one\ntwo\n", "ascii", False, 2, "lf"),
        (b"one\ntwo", "ascii", False, 2, "lf"),
        (b"one word", "ascii", False, 1, None),
        (b"one\r\ntwo\r\n", "ascii", False, 2, "crlf"),
        (b"one\r\ntwo\n", "ascii", False, 2, "mixed"),
        ("gr\u00fc\u00dfe\n".encode(), "utf-8", False, 1, "lf"),
        ("\ufeffgr\u00fc\u00dfe\n".encode(), "utf-8", True, 1, "lf"),
        ("\ufeffone\r\ntwo".encode("utf-16-le"), "utf-16-le", True, 2, "crlf"),
        ("\ufeffone\ntwo".encode("utf-16-be"), "utf-16-be", True, 2, "lf"),
    ],
)
def test_text_is_told_by_encoding_and_lines(make_work, content, encoding, mark, lines, ending):
    assert facts(make_work, content, "a.txt")["text"] == {
        "encoding": encoding,
        "byte_order_mark": mark,
        "lines": lines,
        "line_ending": ending,
    }


@pytest.mark.parametrize("shift", range(4))
def test_characters_and_line_ends_across_the_pieces_that_are_read(make_work, shift):
    line = "\u00e4\u20ac\U0001f600\r\n".encode()
    content = b"x" * shift + line * 250_000
    text = facts(make_work, content)["text"]
    assert (text["encoding"], text["lines"], text["line_ending"]) == ("utf-8", 250_000, "crlf")


def test_an_encoding_that_only_shows_late_is_none_that_is_known(make_work):
    content = b"plain words\n" * 200_000 + "gr\u00fc\u00df\n".encode("latin-1") + b"more\n"
    text = facts(make_work, content)["text"]
    assert (text["encoding"], text["lines"]) == (None, 200_002)


# -- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "AVIF"])
def test_pictures_are_measured(make_work, kind):
    picture = facts(make_work, encoded(photo(), kind))["picture"]
    assert picture["format"] == kind.lower()
    assert (picture["readable"], picture["verified"]) == (True, True)
    assert (picture["width_px"], picture["height_px"]) == (64, 40)
    assert (picture["frames"], picture["animation"], picture["orientation"]) == (1, None, 1)
    assert picture["icc_profile"] is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_told_as_stored_and_as_seen(make_work, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = facts(make_work, encoded(photo(), "JPEG", exif=exif))["picture"]
    assert picture["orientation"] == orientation
    assert (picture["stored_width_px"], picture["stored_height_px"]) == (64, 40)
    seen = (64, 40) if orientation < 5 else (40, 64)
    assert (picture["width_px"], picture["height_px"]) == seen


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(photo(mode="L")), {"colours": "grey", "channels": 1, "bits_per_channel": 8}),
        (encoded(photo(mode="I;16")), {"colours": "grey", "bits_per_channel": 16}),
        (encoded(photo(mode="RGBA")), {"colours": "rgb", "channels": 4, "alpha": True}),
        (encoded(photo()), {"channels": 3, "alpha": False, "palette": False}),
        (encoded(photo().quantize(16)), {"palette": True, "bits_per_channel": 4}),
        (encoded(photo(mode="CMYK"), "JPEG"), {"colours": "cmyk", "channels": 4}),
        (encoded(photo(), "JPEG", progressive=True), {"progressive": True}),
        (encoded(photo(), "JPEG"), {"progressive": False, "chroma_subsampling": "4:2:0"}),
        (encoded(photo(), "JPEG", subsampling=0), {"chroma_subsampling": "4:4:4"}),
    ],
)
def test_colours_and_coding_are_told(make_work, content, expected):
    picture = facts(make_work, content)["picture"]
    assert {name: picture[name] for name in expected} == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_place_in_the_metadata_is_told(make_work, kind):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    without = facts(make_work, encoded(photo(), kind, exif=exif))["picture"]["metadata"]
    assert (without["exif"], without["gps"]) == (True, False)
    place = exif.get_ifd(0x8825)
    place[1], place[2] = "N", (52.0, 31.0, 12.0)
    with_place = facts(make_work, encoded(photo(), kind, exif=exif))["picture"]["metadata"]
    assert (with_place["exif"], with_place["gps"]) == (True, True)
    nothing = facts(make_work, encoded(photo(), kind))["picture"]["metadata"]
    assert nothing == {"exif": False, "gps": False, "xmp": False, "iptc": False}


def test_a_place_in_xmp_is_told(make_work):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r exif:GPSLatitude="52,31N"/></x:xmpmeta>'
    metadata = facts(make_work, encoded(photo(), "JPEG", xmp=xmp))["picture"]["metadata"]
    assert (metadata["xmp"], metadata["gps"]) == (True, True)


@pytest.mark.parametrize("kind", ["TIFF", "GIF"])
def test_what_is_not_seen_is_not_said_to_be_absent(make_work, kind):
    metadata = facts(make_work, encoded(photo(), kind))["picture"]["metadata"]
    assert metadata["gps"] is None


def test_a_colour_profile_is_named(make_work):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = facts(make_work, encoded(photo(), "JPEG", icc_profile=profile))["picture"]
    assert picture["icc_profile"] == {"name": "sRGB built-in", "size_bytes": len(profile)}


def test_a_profile_of_version_2_is_named():
    text = b"Old and wide\x00"
    tag = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text
    table = struct.pack(">I4sII", 1, b"desc", 144, len(tag))
    assert profile_name(bytes(128) + table + tag) == "Old and wide"


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animations_are_told(make_work, kind):
    frames = [photo() for _ in range(3)]
    content = encoded(
        frames[0], kind, save_all=True, append_images=frames[1:], duration=[50, 100, 200], loop=0
    )
    picture = facts(make_work, content)["picture"]
    assert picture["frames"] == 3
    assert picture["animation"] == {"delays_ms": [50, 100, 200], "duration_ms": 350, "loops": 0}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
def test_damage_is_told_and_not_refused(make_work, kind):
    content = encoded(photo(300, 200), kind)
    found = facts(make_work, content[: len(content) * 2 // 3])
    assert found["picture"]["readable"] is False
    assert found["picture"]["reason"]
    assert found["media_type"] == f"image/{kind.lower()}"


def test_damage_further_down_is_only_seen_when_verifying(make_work):
    content = encoded(photo(300, 200), "JPEG")
    cut = content[: len(content) * 2 // 3]
    assert facts(make_work, cut, verify="false")["picture"]["readable"] is True
    assert facts(make_work, cut, verify="false")["picture"]["verified"] is False
    assert facts(make_work, cut, verify="true")["picture"]["readable"] is False


def test_a_picture_over_the_budget_is_measured_and_not_decoded(make_work):
    picture = facts(make_work, encoded(photo()), limits=Limits(max_pixels=100))["picture"]
    assert (picture["width_px"], picture["readable"], picture["verified"]) == (64, True, False)
    assert "at most 100" in picture["reason"]


def test_a_picture_of_a_kind_that_is_not_read_says_so(make_work):
    picture = facts(make_work, encoded(photo(), "JPEG2000"))["picture"]
    assert picture["readable"] is False
    assert "JPEG 2000" in picture["reason"]


# -- compressed files and archives ---------------------------------------------------------------


def test_gzip_tells_name_and_time(make_work):
    file = io.BytesIO()
    with gzip.GzipFile("report.csv", "wb", fileobj=file, mtime=1_700_000_000) as packer:
        packer.write(b"a,b\n")
    assert facts(make_work, file.getvalue())["compression"] == {
        "codec": "gzip",
        "name": "report.csv",
        "modified": "2023-11-14T22:13:20.000Z",
    }


@pytest.mark.parametrize("size", [0, 1, 200, 255, 256, 300, 65_791, 65_792, 3_000_000])
def test_zstd_tells_the_content_size(make_work, size):
    content = zstd.compress(bytes(size))
    assert facts(make_work, content)["compression"]["content_size_bytes"] == size


def test_zstd_tells_window_and_checksum(make_work):
    options = {zstd.CompressionParameter.window_log: 20, zstd.CompressionParameter.checksum_flag: 1}
    packer = zstd.ZstdCompressor(options=options)
    content = packer.compress(bytes(5_000_000)) + packer.flush()
    found = facts(make_work, content)["compression"]
    assert (found["window_bytes"], found["checksum"]) == (1 << 20, True)
    assert "content_size_bytes" not in found


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (lzma.compress(b"x", check=lzma.CHECK_CRC32), {"codec": "xz", "check": "crc32"}),
        (lzma.compress(b"x", check=lzma.CHECK_SHA256), {"codec": "xz", "check": "sha256"}),
        (bz2.compress(b"x", 3), {"codec": "bz2", "block_bytes": 300_000}),
        (zlib.compress(b"x" * 99), {"codec": "zlib", "window_bytes": 32_768}),
        (
            lz4.frame.compress(b"x" * 300_000, content_checksum=True, block_size=5),
            {
                "codec": "lz4",
                "block_bytes": 262_144,
                "checksum": True,
                "content_size_bytes": 300_000,
            },
        ),
    ],
)
def test_other_codecs_tell_what_their_heads_say(make_work, content, expected):
    assert facts(make_work, content)["compression"] == expected


def _tar(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in (("a.txt", b"x" * 700), ("b/c.txt", b"y" * 20)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        folder = tarfile.TarInfo("b")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "name"), [("w", "tar"), ("w:gz", "tar.gz"), ("w:xz", "tar.xz"), ("w:bz2", "tar.bz2")]
)
def test_tars_are_counted(make_work, mode, name):
    found = facts(make_work, _tar(mode))
    assert found["archive"] == {
        "format": name,
        "members": 4,
        "files": 2,
        "folders": 1,
        "problems": {"archive.link": 1},
        "content_size_bytes": 720,
        "complete": True,
    }
    assert ("compression" in found) == (mode != "w")


def test_zips_are_counted(make_work):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(30):
            archive.writestr(f"{number}.txt", b"x" * 1000)
    found = facts(make_work, file.getvalue(), "a.docx")
    assert found["archive"] | {"problems": {}} == {
        "format": "zip",
        "members": 30,
        "files": 30,
        "folders": 0,
        "problems": {},
        "content_size_bytes": 30_000,
        "complete": True,
    }


def test_a_cut_archive_is_told_as_far_as_it_goes(make_work):
    found = facts(make_work, _tar("w")[:1600])["archive"]
    assert found["complete"] is False
    assert found["damaged"]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", b"x" * 1000)
    assert facts(make_work, file.getvalue()[:-30])["archive"]["damaged"]


def test_a_compressed_file_that_is_no_tar_is_no_archive(make_work):
    assert "archive" not in facts(make_work, gzip.compress(b"just words" * 100))
    assert "archive" not in facts(make_work, gzip.compress(b"just words" * 100)[:30])


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b", b"\x1f\x8b\x08", b"PK\x03\x04", b"BZh", b"\x00" * 600]
)
def test_next_to_nothing_is_inspected_too(make_work, content):
    assert facts(make_work, content)["size_bytes"] == len(content)


def test_a_bomb_is_not_unpacked(make_work):
    bomb = gzip.compress(b"x" * 50_000_000, mtime=0)
    assert facts(make_work, bomb)["compression"] == {"codec": "gzip"}


def test_counting_ends_when_it_takes_too_long(make_work, monkeypatch):
    monkeypatch.setattr(contents, "_MOST_TIME_S", 0.0)
    found = facts(make_work, _tar("w:gz"))["archive"]
    assert found["complete"] is False
    assert "damaged" not in found


def test_counting_ends_at_too_many_members(make_work, monkeypatch):
    monkeypatch.setattr(contents, "_MOST_MEMBERS", 2)
    found = facts(make_work, _tar("w"))["archive"]
    assert (found["members"], found["complete"]) == (2, False)
