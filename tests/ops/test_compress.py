import gzip
import json
import random
import shutil
import subprocess
import sys
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.ops.base import Limits, Source, Work
from app.ops.compress import CompressParams, compress

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMATS = ("gzip", "zlib", "deflate-raw", "zstd")
HIGHEST = {"gzip": 9, "zlib": 9, "deflate-raw": 9, "zstd": 22}
DICE = random.Random(5)
CONTENTS = {
    "empty": b"",
    "one_byte": b"x",
    "random": DICE.randbytes(200_000),
    "text": "".join(
        json.dumps({"id": DICE.getrandbits(40), "path": DICE.choice(("/a", "/b")), "ok": True})
        for _ in range(4000)
    ).encode(),
}


def restored(path, chosen: str) -> bytes:
    """Undo the coding with tools that are not ours."""
    if chosen == "gzip":
        subprocess.run(["gzip", "-t", path], check=True, capture_output=True)
        return subprocess.run(["gzip", "-dc", path], check=True, capture_output=True).stdout
    if chosen == "zstd":
        if shutil.which("zstd"):
            return subprocess.run(["zstd", "-dqc", path], check=True, capture_output=True).stdout
        return zstd.decompress(path.read_bytes())
    decoder = zlib.decompressobj(zlib.MAX_WBITS if chosen == "zlib" else -zlib.MAX_WBITS)
    content = decoder.decompress(path.read_bytes()) + decoder.flush()
    assert decoder.eof
    assert not decoder.unused_data
    return content


def run(make_work, content: bytes, **params):
    work = make_work(content, "app.log")
    (output,) = compress(work, CompressParams(**params)).outputs
    assert output.path.parent == work.folder
    return output


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("level", ["fast", "balanced", "best", "lowest", "highest"])
@pytest.mark.parametrize("chosen", FORMATS)
def test_other_tools_read_it_back(make_work, chosen, level, content):
    asked = {"lowest": 1, "highest": HIGHEST[chosen]}.get(level, level)
    output = run(make_work, CONTENTS[content], format=chosen, level=asked)
    assert (
        restored(output.path.rename(output.path.parent / output.name), chosen)
        == (CONTENTS[content])
    )


@pytest.mark.parametrize("level", range(1, 10))
def test_every_number_compresses_logs_at_least_as_well_as_the_standard_library(make_work, level):
    output = run(make_work, CONTENTS["text"], level=level)
    assert output.path.stat().st_size <= len(gzip.compress(CONTENTS["text"], level))


@pytest.mark.parametrize(
    ("chosen", "level", "method"),
    [
        ("gzip", "balanced", "zlib-ng 6"),
        ("gzip", 9, "zlib-ng 8"),
        ("gzip", "fast", "isal 1"),
        ("zlib", "best", "zlib-ng 8"),
        ("deflate-raw", 1, "zlib-ng 2"),
    ],
)
def test_a_file_too_large_for_one_call_is_streamed(make_work, chosen, level, method):
    work = make_work(b"")
    with work.source.path.open("r+b") as file:
        file.truncate(64 << 20)
        file.seek(0, 2)
        file.write(CONTENTS["text"])
    (output,) = compress(work, CompressParams(format=chosen, level=level)).outputs
    assert output.facts["method"] == method
    assert restored(output.path.rename(output.path.parent / output.name), chosen) == (
        work.source.path.read_bytes()
    )


@pytest.mark.parametrize("level", ["fast", "balanced", "best"])
@pytest.mark.parametrize("chosen", FORMATS)
def test_the_same_input_gives_the_same_bytes(make_work, chosen, level):
    first, second = (
        run(make_work, CONTENTS["text"], format=chosen, level=level).path.read_bytes()
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("level", ["fast", "balanced", "best"])
def test_gzip_is_one_member_without_name_and_time(make_work, level):
    content = run(make_work, CONTENTS["text"], level=level).path.read_bytes()
    assert content[:4] == b"\x1f\x8b\x08\x00"
    assert content[4:8] == bytes(4)
    decoder = zlib.decompressobj(31)
    assert decoder.decompress(content) == CONTENTS["text"]
    assert decoder.eof
    assert not decoder.unused_data


@pytest.mark.parametrize(
    ("chosen", "name", "media_type"),
    [
        ("gzip", "app.log.gz", "application/gzip"),
        ("zlib", "app.log.zz", "application/zlib"),
        ("deflate-raw", "app.log.deflate", "application/octet-stream"),
        ("zstd", "app.log.zst", "application/zstd"),
    ],
)
def test_the_result_is_named_after_the_source_and_the_format(make_work, chosen, name, media_type):
    output = run(make_work, b"hello", format=chosen)
    assert (output.name, output.media_type) == (name, media_type)


def test_facts_tell_what_was_asked_done_and_won(make_work):
    output = run(make_work, CONTENTS["text"])
    ratio = len(CONTENTS["text"]) / output.path.stat().st_size
    assert output.facts == {
        "format": "gzip",
        "level": "balanced",
        "method": "libdeflate 6",
        "ratio": round(ratio, 3),
    }


def test_an_empty_file_has_no_ratio(make_work):
    assert run(make_work, b"").facts["ratio"] is None


def test_zstd_tells_the_size_and_carries_a_checksum(make_work):
    content = run(make_work, CONTENTS["text"], format="zstd").path.read_bytes()
    assert zstd.get_frame_info(content).decompressed_size == len(CONTENTS["text"])
    assert content[4] & 0b100


@pytest.mark.parametrize("asked", ["9", 9, " 9 "])
def test_a_number_may_come_as_text(asked):
    assert CompressParams.model_validate({"level": asked}).level == 9


@pytest.mark.parametrize(
    ("chosen", "level", "message"),
    [
        ("gzip", 0, "must be from 1 to 9 for gzip, and is 0"),
        ("gzip", "10", "must be from 1 to 9 for gzip, and is 10"),
        ("zlib", -1, "must be from 1 to 9 for zlib, and is -1"),
        ("deflate-raw", 12, "must be from 1 to 9 for deflate-raw, and is 12"),
        ("zstd", "23", "must be from 1 to 22 for zstd, and is 23"),
        ("gzip", "quick", "must be fast, balanced, best or a whole number"),
        ("gzip", 1.5, "must be fast, balanced, best or a whole number"),
        ("gzip", True, "must be fast, balanced, best or a whole number"),
    ],
)
def test_a_level_that_the_format_lacks_is_refused_once_and_precisely(chosen, level, message):
    with pytest.raises(ValidationError) as refusal:
        CompressParams.model_validate({"format": chosen, "level": level})
    (complaint,) = refusal.value.errors()
    assert complaint["loc"] == ("level",)
    assert complaint["msg"] == f"Value error, {message}"


def test_zstd_has_levels_that_gzip_lacks():
    assert CompressParams.model_validate({"format": "zstd", "level": "19"}).level == 19


@settings(deadline=None)
@given(st.binary(max_size=4096), st.sampled_from(FORMATS), st.integers(1, 9))
def test_any_content_survives(tmp_path_factory, content, chosen, level):
    folder = tmp_path_factory.mktemp("any")
    (folder / "source").write_bytes(content)
    work = Work(Source(folder / "source", "any", "x/y", len(content)), folder, Limits())
    (output,) = compress(work, CompressParams(format=chosen, level=level)).outputs
    packed = output.path.read_bytes()
    if chosen == "zstd":
        assert zstd.decompress(packed) == content
    else:
        bits = {"gzip": 31, "zlib": 15, "deflate-raw": -15}[chosen]
        assert zlib.decompress(packed, bits) == content
