import functools
import gzip
import hashlib
import itertools
import random
import re
import sys
import threading
import zlib
from pathlib import Path

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.errors import DeadlineExceeded
from app.ops.base import Limits, Source, Work, whole
from app.ops.codecs import sampling
from app.ops.codecs.kinds import CODECS, LEVELS
from app.ops.compress import CompressParams, compress
from benchmarks.corpus import logs, source_text
from tests.ops.codec_tools import as_file, by_library, contents, restored, text

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LARGE = (6 << 20) + 12_345
"""More than one call or one thread gets; not a whole number of blocks."""
LARGE_OF = dict.fromkeys(CODECS, LARGE) | {"br": 2_000_000, "xz": 5_000_000, "bz2": 1_000_001}
"""The same for each codec: some are slow, and have smaller blocks."""


def run(make_work, content: bytes, cores=lambda: 1, **params):
    work = make_work(content, "app.log")
    work = Work(work.sources, work.folder, work.limits, cores=cores)
    result = compress(work, CompressParams(**params))
    output = as_file(result.outputs[0], work.folder)
    assert output.path.parent == work.folder
    assert output.sha256 == hashlib.sha256(output.path.read_bytes()).hexdigest()
    return output, result.facts


@pytest.mark.parametrize("content", contents())
@pytest.mark.parametrize("level", ["fast", "balanced", "best"])
@pytest.mark.parametrize("codec", CODECS)
def test_other_tools_read_it_back(make_work, codec, level, content):
    output, _ = run(make_work, contents()[content], format=codec, level=level)
    assert restored(output.path, codec) == contents()[content]


@pytest.mark.parametrize(
    ("codec", "level"),
    [
        (codec, level)
        for codec, (lowest, highest) in LEVELS.items()
        for level in range(lowest, highest + 1)
    ],
)
def test_every_level_can_be_read_back(make_work, codec, level):
    content = text(40_000) + contents()["random"][:1000]
    output, _ = run(make_work, content, format=codec, level=level)
    assert by_library(output.path.read_bytes(), codec) == content


@pytest.mark.parametrize("level", ["fast", 2])
@pytest.mark.parametrize("codec", CODECS)
def test_other_tools_read_a_large_one_back(make_work, codec, level):
    content = text(LARGE_OF[codec])
    output, _ = run(make_work, content, lambda: 2, format=codec, level=level)
    assert restored(output.path, codec) == content


@pytest.mark.parametrize("blocks", [1, 2, 5])
@pytest.mark.parametrize(("codec", "block_bytes"), [("gzip", 1 << 20), ("bz2", 100_000)])
def test_a_whole_number_of_blocks_ends_well(make_work, codec, block_bytes, blocks):
    content = text(blocks * block_bytes)
    output, _ = run(make_work, content, lambda: 2, format=codec, level="fast")
    assert restored(output.path, codec) == content


@pytest.mark.parametrize("codec", ["gzip", "zstd", "lz4"])
def test_a_hundred_megabytes_survive(make_work, codec):
    content = text(100 << 20)
    output, facts = run(make_work, content, lambda: 2, format=codec, level="fast")
    plain = hashlib.sha256(restored(output.path, codec)).digest()
    assert plain == hashlib.sha256(content).digest()
    assert facts["ratio"] > 2


@pytest.mark.parametrize("codec", CODECS)
def test_the_number_of_threads_does_not_show_in_the_bytes(make_work, codec):
    content = text(LARGE_OF[codec])
    changing = itertools.cycle((3, 1, 1, 2, 4, 1))
    digests = {
        run(make_work, content, cores, format=codec, level="fast")[0].sha256
        for cores in (lambda: 1, lambda: 2, lambda: 7, lambda: next(changing))
    }
    assert len(digests) == 1


def test_nor_does_it_where_levels_are_tried(make_work):
    content = text(20 << 20)
    digests = {
        run(make_work, content, cores, format="gzip")[0].sha256 for cores in (lambda: 1, lambda: 2)
    }
    assert len(digests) == 1


@pytest.mark.parametrize("level", range(1, 10))
@pytest.mark.parametrize("size_bytes", [300_000, LARGE])
def test_every_number_compresses_logs_at_least_as_well_as_zlib(make_work, level, size_bytes):
    content = text(size_bytes)
    output, _ = run(make_work, content, level=level)
    assert output.path.stat().st_size <= len(zlib.compress(content, level))


@pytest.mark.parametrize(
    ("params", "size_bytes", "method"),
    [
        ({}, 300_000, "libdeflate 6"),
        ({}, LARGE, "zlib-ng 5 or 7 or 9"),
        ({"level": 9}, LARGE, "zlib-ng 7 or 8 or 9"),
        ({"level": 8}, LARGE, "zlib-ng 8"),
        ({"level": "fast"}, 300_000, "isal 1"),
        ({"level": "fast"}, LARGE, "isal 1"),
        ({"format": "zstd"}, 1000, "zstd 3"),
        ({"format": "br", "level": 11}, 1000, "brotli 11"),
        ({"format": "xz", "level": "fast"}, 1000, "liblzma 0"),
        ({"format": "bz2"}, 1000, "libbz2 9"),
        ({"format": "lz4", "level": "best"}, 1000, "lz4 12"),
    ],
)
def test_the_method_is_chosen_by_level_and_size(make_work, params, size_bytes, method):
    _, facts = run(make_work, text(size_bytes), **params)
    assert facts["method"] == method


@pytest.mark.parametrize("size_bytes", [300_000, LARGE])
@pytest.mark.parametrize("level", ["fast", 1])
def test_gzip_is_one_member_without_name_and_time(make_work, level, size_bytes):
    plain = text(size_bytes)
    output, _ = run(make_work, plain, level=level)
    packed = output.path.read_bytes()
    assert packed[:4] == b"\x1f\x8b\x08\x00"
    assert packed[4:8] == bytes(4)
    decoder = zlib.decompressobj(31)
    assert decoder.decompress(packed) == plain
    assert decoder.eof
    assert not decoder.unused_data


@pytest.mark.parametrize("codec", ["zstd", "xz", "bz2", "lz4"])
def test_a_large_one_is_one_frame_or_stream(make_work, codec):
    content = text(LARGE_OF[codec])
    output, _ = run(make_work, content, lambda: 2, format=codec, level="fast")
    packed = output.path.read_bytes()
    assert by_library(packed, codec) == content
    if codec == "lz4":
        decoder = lz4.frame.LZ4FrameDecompressor()
        assert decoder.decompress(packed) == content
        assert lz4.frame.get_frame_info(packed)["block_checksum"]
    elif codec == "zstd":
        assert zstd.get_frame_info(packed).decompressed_size == len(content)
    else:
        magic = {"xz": b"\xfd7zXZ\x00", "bz2": b"BZh1"}[codec]
        assert packed.count(magic) == 1


@pytest.mark.parametrize(
    ("codec", "name", "media_type"),
    [
        ("gzip", "app.log.gz", "application/gzip"),
        ("zlib", "app.log.zz", "application/zlib"),
        ("deflate-raw", "app.log.deflate", "application/octet-stream"),
        ("zstd", "app.log.zst", "application/zstd"),
        ("br", "app.log.br", "application/octet-stream"),
        ("xz", "app.log.xz", "application/x-xz"),
        ("bz2", "app.log.bz2", "application/x-bzip2"),
        ("lz4", "app.log.lz4", "application/x-lz4"),
    ],
)
def test_the_result_is_named_after_the_source_and_the_format(make_work, codec, name, media_type):
    output, _ = run(make_work, b"hello", format=codec)
    assert (output.name, output.media_type) == (name, media_type)


def test_facts_tell_what_was_asked_done_and_won(make_work):
    output, facts = run(make_work, contents()["text"])
    ratio = len(contents()["text"]) / output.path.stat().st_size
    assert facts == {
        "format": "gzip",
        "level": "balanced",
        "method": "libdeflate 6",
        "ratio": round(ratio, 3),
    }


def test_an_empty_file_has_no_ratio(make_work):
    assert run(make_work, b"")[1]["ratio"] is None


def test_zstd_tells_the_size_and_carries_a_checksum(make_work):
    output, _ = run(make_work, contents()["text"], format="zstd")
    packed = output.path.read_bytes()
    assert zstd.get_frame_info(packed).decompressed_size == len(contents()["text"])
    assert packed[4] & 0b100


# -- a long window -----------------------------------------------------------------------------


def test_a_long_window_finds_what_is_far_apart(make_work):
    part = random.Random(7).randbytes(12 << 20)
    short, _ = run(make_work, part + part, format="zstd", level="fast")
    long, facts = run(make_work, part + part, lambda: 2, format="zstd", level="fast", long=True)
    assert long.path.stat().st_size < 0.51 * len(part + part) < short.path.stat().st_size
    assert restored(long.path, "zstd") == part + part
    assert facts["window_bytes"] == 128 << 20
    assert "128 MiB" in facts["reader"]


def test_a_window_may_be_given_by_its_power_of_two(make_work):
    _, facts = run(make_work, b"hello", format="zstd", long=20)
    assert facts["window_bytes"] == 1 << 20
    assert "HTTP clients included" in facts["reader"]


@pytest.mark.parametrize(
    ("asked", "window_log"),
    [("true", 27), (True, 27), ("1", 27), ("24", 24), (10, 10), ("false", False), (0, False)],
)
def test_a_window_may_come_as_text(asked, window_log):
    assert CompressParams.model_validate({"format": "zstd", "long": asked}).long == window_log


@pytest.mark.parametrize("asked", [9, 28, "31", "long", -1, 24.5, None])
def test_a_window_that_zstd_readers_lack_is_refused(asked):
    with pytest.raises(ValidationError, match="must be true, false or a whole number from 10 to"):
        CompressParams.model_validate({"format": "zstd", "long": asked})


def test_only_zstd_has_a_long_window():
    with pytest.raises(ValidationError, match="is for zstd only"):
        CompressParams.model_validate({"format": "gzip", "long": True})


# -- not worth it ------------------------------------------------------------------------------


def test_a_result_that_is_no_smaller_gives_way_to_the_original(make_work):
    content = contents()["random"]
    output, facts = run(make_work, content, skip_if_larger=True)
    assert (output.name, output.media_type) == ("app.log", "application/octet-stream")
    assert output.path.read_bytes() == content
    assert facts["format"] is None
    assert facts["ratio"] == 1.0
    assert re.fullmatch(r"gzip would make \d+ bytes of 200000\.", facts["kept"])
    assert [path.name for path in output.path.parent.iterdir()] == [output.path.name]


def test_a_result_that_is_smaller_stays(make_work):
    output, facts = run(make_work, contents()["text"], skip_if_larger="true")
    assert output.name == "app.log.gz"
    assert "kept" not in facts


def test_a_larger_result_is_delivered_if_nobody_minds(make_work):
    output, facts = run(make_work, contents()["random"])
    assert output.name == "app.log.gz"
    assert facts["ratio"] <= 1.0


# -- auto --------------------------------------------------------------------------------------


KINDS = {
    "logs": lambda: logs(400_000),
    "source": lambda: source_text(400_000),
    "repeats": lambda: text(600_000),
    "program": lambda: Path(sys.executable).read_bytes()[:400_000],
    "random": lambda: contents()["random"],
    "compressed": lambda: contents()["compressed"],
    "empty": lambda: b"",
    "one byte": lambda: b"x",
    "tiny": lambda: b'{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}',
    "small page": lambda: source_text(9_000),
    "zeros": lambda: bytes(1_000_000),
    "sparse": lambda: bytes(600_000) + source_text(50_000) + bytes(600_000) + logs(50_000),
    "half noise": lambda: random.Random(3).randbytes(200_000) + logs(200_000),
}
LARGER = {
    "large logs": lambda: logs(5 << 20),
    "large source": lambda: source_text(5 << 20),
}
EFFORTS = ("fast", "balanced", "best")


@functools.cache
def content_of(kind: str) -> bytes:
    return (KINDS | LARGER)[kind]()


@pytest.mark.parametrize(
    ("kind", "level"),
    [*itertools.product(KINDS, EFFORTS), ("large logs", "balanced"), ("large source", "balanced")],
)
def test_auto_is_no_larger_than_the_default_and_always_the_same(make_work, kind, level):
    content = content_of(kind)
    default, _ = run(make_work, content, level=level)
    output, facts = run(make_work, content, format="auto", level=level)
    assert output.path.stat().st_size <= default.path.stat().st_size
    again, facts_again = run(make_work, content, format="auto", level=level)
    assert again.path.read_bytes() == output.path.read_bytes()
    assert facts_again == facts


@pytest.mark.parametrize("level", EFFORTS)
@pytest.mark.parametrize("kind", ["logs", "small page"])
def test_auto_names_the_format_and_level_that_make_its_result(make_work, kind, level):
    content = content_of(kind)
    output, facts = run(make_work, content, format="auto", level=level)
    named = {"format": facts["format"], "level": facts["level"]}
    by_name, facts_by_name = run(make_work, content, **named)
    assert by_name.path.read_bytes() == output.path.read_bytes()
    assert facts_by_name["method"] == facts["method"]
    assert named in [{k: tried[k] for k in named} for tried in facts["auto"]["tried"]]
    assert f"{facts['format']} at level {facts['level']}" in facts["auto"]["why"]


@pytest.mark.parametrize("level", EFFORTS)
def test_auto_takes_what_costs_least_of_all_that_is_smaller_than_the_default(make_work, level):
    _, facts = run(make_work, text(2_000_000), format="auto", level=level)
    told = facts["auto"]
    assert told["sampled_bytes"] == 256 << 10

    def cost(tried):
        seconds = 1 / (tried["mb_per_cpu_s"] * 1e6)
        return seconds + 1 / tried["ratio"] / told["worth_bytes_per_cpu_s"]

    [default] = [t for t in told["tried"] if (t["format"], t["level"]) == ("gzip", level)]
    smaller = [t for t in told["tried"] if t is default or t["ratio"] > default["ratio"] / 0.98]
    cheapest = min(smaller, key=cost)
    assert (facts["format"], facts["level"]) == (cheapest["format"], cheapest["level"])


@pytest.mark.parametrize("aim", EFFORTS)
@pytest.mark.parametrize("size_bytes", [1, 64 << 10, 1 << 20, 5 << 20, 40 << 20, 1 << 30])
def test_auto_knows_what_each_candidate_costs(tmp_path, aim, size_bytes):
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(size_bytes)
    source = Source(sparse, "sparse", "x/y", size_bytes)
    tried = sampling.choose(source, aim, 3600).facts["tried"]
    assert all(one["mb_per_cpu_s"] > 0 for one in tried)


def test_auto_spends_more_where_ratio_counts_more(make_work):
    _, fast = run(make_work, text(2_000_000), format="auto", level="fast")
    _, best = run(make_work, text(2_000_000), format="auto", level="best")
    assert best["ratio"] > fast["ratio"]


@pytest.mark.parametrize("content", ["random", "compressed", "empty"])
def test_auto_leaves_alone_what_does_not_shrink(make_work, content):
    output, facts = run(make_work, contents()[content], format="auto")
    assert output.name == "app.log"
    assert output.path.read_bytes() == contents()[content]
    assert facts["format"] is None
    assert facts["kept"]


def test_auto_looks_all_over_the_file(make_work):
    # Its beginning and end alone look like something that has been compressed.
    noise = random.Random(3).randbytes(1 << 20)
    _, facts = run(make_work, noise + text(6 << 20) + noise, format="auto")
    assert facts["format"] is not None


def test_auto_takes_nothing_that_would_not_end_in_time(make_work):
    work = make_work(text(20 << 20), limits=Limits(time_s=0.5))
    facts = compress(work, CompressParams(format="auto", level="best")).facts
    chosen = [t for t in facts["auto"]["tried"] if t["format"] == facts["format"]]
    assert facts["level"] in [tried["level"] for tried in chosen]
    assert max(tried["mb_per_cpu_s"] for tried in chosen) > 20 / 0.25
    assert any(tried["mb_per_cpu_s"] < 20 / 0.25 for tried in facts["auto"]["tried"])


# -- while it works ----------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["gzip", "zstd", "br", "lz4"])
def test_progress_is_told_in_bytes_of_the_source(make_work, codec):
    content = text(3 << 20)
    told = []
    work = make_work(content)
    work = Work(work.sources, work.folder, work.limits, tell=lambda *args: told.append(args))
    compress(work, CompressParams(format=codec, level="fast"))
    assert told == [(number << 20, 3 << 20) for number in (1, 2, 3)]


@pytest.mark.parametrize("codec", CODECS)
def test_a_deadline_ends_the_threads(make_work, codec):
    def tell(done, _):
        if done > 2 << 20:
            raise DeadlineExceeded("over")

    before = threading.enumerate()
    work = make_work(text(LARGE))
    work = Work(work.sources, work.folder, work.limits, tell=tell, cores=lambda: 3)
    with pytest.raises(DeadlineExceeded):
        compress(work, CompressParams(format=codec, level="fast"))
    assert threading.enumerate() == before


# -- parameters --------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["9", 9, " 9 "])
def test_a_number_may_come_as_text(asked):
    assert CompressParams.model_validate({"level": asked}).level == 9


@pytest.mark.parametrize(
    ("codec", "level", "message"),
    [
        ("gzip", 0, "must be from 1 to 9 for gzip, and is 0"),
        ("gzip", "10", "must be from 1 to 9 for gzip, and is 10"),
        ("zlib", -1, "must be from 1 to 9 for zlib, and is -1"),
        ("deflate-raw", 12, "must be from 1 to 9 for deflate-raw, and is 12"),
        ("zstd", "23", "must be from 1 to 22 for zstd, and is 23"),
        ("br", 12, "must be from 0 to 11 for br, and is 12"),
        ("xz", 10, "must be from 0 to 9 for xz, and is 10"),
        ("bz2", 0, "must be from 1 to 9 for bz2, and is 0"),
        ("lz4", 13, "must be from 1 to 12 for lz4, and is 13"),
        ("auto", 3, "must be fast, balanced or best where the format is auto"),
        ("gzip", "quick", "must be fast, balanced, best or a whole number"),
        ("gzip", 1.5, "must be fast, balanced, best or a whole number"),
        ("gzip", True, "must be fast, balanced, best or a whole number"),
    ],
)
def test_a_level_that_the_format_lacks_is_refused_once_and_precisely(codec, level, message):
    with pytest.raises(ValidationError) as refusal:
        CompressParams.model_validate({"format": codec, "level": level})
    (complaint,) = refusal.value.errors()
    assert complaint["loc"] == ("level",)
    assert complaint["msg"] == f"Value error, {message}"


def test_zstd_has_levels_that_gzip_lacks():
    assert CompressParams.model_validate({"format": "zstd", "level": "19"}).level == 19


@settings(deadline=None)
@given(st.binary(max_size=4096), st.sampled_from(CODECS), st.integers(1, 9))
def test_any_content_survives(tmp_path_factory, content, codec, level):
    folder = tmp_path_factory.mktemp("any")
    (folder / "source").write_bytes(content)
    source = Source(folder / "source", "any", "x/y", len(content))
    (output,) = compress(
        Work((source,), folder, Limits()), CompressParams(format=codec, level=level)
    ).outputs
    assert by_library(whole(output.content), codec) == content


def test_gzip_reads_itself_in_python(make_work):
    output, _ = run(make_work, text(LARGE), lambda: 2)
    with gzip.open(output.path) as file:
        assert file.read() == text(LARGE)
