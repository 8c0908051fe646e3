import bz2
import gzip
import hashlib
import lzma
import random
import subprocess
import sys
import zlib

import brotli
import lz4.frame
import pytest
from pydantic import ValidationError

from app.errors import (
    CodecUnknown,
    MemoryExceeded,
    OutputTooLarge,
    RatioExceeded,
    StreamDamaged,
    StreamTruncated,
    TrailingData,
)
from app.ops.base import Limits, Work, whole
from app.ops.codecs.kinds import CODECS, SUFFIXES
from app.ops.decompress import DecompressParams, decompress
from tests.ops.codec_tools import MADE_ELSEWHERE, contents, text

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

WITH_SIGNATURE = ("gzip", "zlib", "zstd", "xz", "bz2", "lz4")
MANY = ("gzip", "zstd", "xz", "bz2", "lz4")
CHECKED = ("gzip", "zlib", "zstd", "xz", "bz2", "lz4")
"""Formats with a checksum, as `MADE_ELSEWHERE` makes them."""


def run(make_work, packed: bytes, name: str = "file", limits: Limits | None = None, **params):
    work = make_work(packed, name, limits)
    result = decompress(work, DecompressParams(**params))
    (output,) = result.outputs
    content = whole(output.content)
    assert output.sha256 == hashlib.sha256(content).hexdigest()
    return content, output, result.facts


def refused(make_work, packed: bytes, error, limits: Limits | None = None, **params):
    work = make_work(packed, "file", limits)
    with pytest.raises(error) as raised:
        decompress(work, DecompressParams(**params))
    assert list(work.folder.iterdir()) == []
    return raised.value


def named(codec: str) -> dict[str, str]:
    return {} if codec in WITH_SIGNATURE else {"format": codec}


@pytest.mark.parametrize("content", contents())
@pytest.mark.parametrize("codec", CODECS)
def test_what_other_tools_made_is_read(make_work, codec, content):
    plain = contents()[content]
    packed = MADE_ELSEWHERE[codec](plain)
    content, _, facts = run(make_work, packed, **named(codec))
    assert content == plain
    assert facts == {
        "format": codec,
        "members": 1,
        "input_bytes": len(packed),
        "output_bytes": len(plain),
        "ratio": round(len(plain) / len(packed), 3),
    }


@pytest.mark.parametrize("codec", CODECS)
def test_a_large_one_is_read(make_work, codec):
    large_bytes = 1_000_000 if codec in ("bz2", "xz") else 5_000_000
    plain = text(large_bytes) + random.Random(1).randbytes(1_000_000)
    content, _, _ = run(make_work, MADE_ELSEWHERE[codec](plain), **named(codec))
    assert content == plain


@pytest.mark.parametrize("codec", CODECS)
def test_a_named_format_is_taken_at_its_word(make_work, codec):
    assert run(make_work, MADE_ELSEWHERE[codec](b"hello"), format=codec)[0] == b"hello"


# -- several members, and what lies between and behind them ------------------------------------


@pytest.mark.parametrize("codec", MANY)
def test_all_members_are_read(make_work, codec):
    parts = [text(100_000), b"", b"x", random.Random(2).randbytes(100_000)]
    packed = b"".join(MADE_ELSEWHERE[codec](part) for part in parts)
    content, _, facts = run(make_work, packed)
    assert content == b"".join(parts)
    assert facts["members"] == 4


@pytest.mark.parametrize("codec", MANY)
def test_thousands_of_tiny_members_are_read(make_work, codec):
    content, _, facts = run(make_work, MADE_ELSEWHERE[codec](b"ab") * 5000)
    assert content == b"ab" * 5000
    assert facts["members"] == 5000


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
@pytest.mark.parametrize("note_bytes", [0, 7, 200_000])
def test_skippable_frames_are_skipped(make_work, codec, note_bytes):
    note = b"\x5e\x2a\x4d\x18" + note_bytes.to_bytes(4, "little") + bytes(note_bytes)
    frame = MADE_ELSEWHERE[codec](b"hello")
    content, _, _ = run(make_work, note + frame + note + frame, format=codec)
    assert content == b"hellohello"


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_skippable_frame_does_not_hide_the_format(make_work, codec):
    note = b"\x50\x2a\x4d\x18\x04\x00\x00\x00note"
    _, _, facts = run(make_work, note + MADE_ELSEWHERE[codec](b"hello"))
    assert facts["format"] == codec


@pytest.mark.parametrize("padding_bytes", [1, 512, 100_000])
def test_zeros_after_gzip_are_padding(make_work, padding_bytes):
    assert run(make_work, gzip.compress(b"hello") + bytes(padding_bytes))[0] == b"hello"


@pytest.mark.parametrize("padding_bytes", [4, 512, 100_000])
def test_zeros_between_and_after_xz_streams_are_padding(make_work, padding_bytes):
    stream = lzma.compress(b"hello")
    padding = bytes(padding_bytes)
    assert run(make_work, stream + padding + stream + padding)[0] == b"hellohello"


def test_xz_padding_comes_in_fours(make_work):
    refused(make_work, lzma.compress(b"hello") + bytes(5), StreamDamaged)


@pytest.mark.parametrize(
    "garbage", [b"x", b"garbage" * 9, b"\x00\x00\x00\x01", b"PK\x03\x04" * 9999]
)
@pytest.mark.parametrize("codec", CODECS)
def test_what_follows_is_told_with_its_position(make_work, codec, garbage):
    packed = MADE_ELSEWHERE[codec](text(200_000))
    error = refused(make_work, packed + garbage, TrailingData, **named(codec))
    zeros = len(garbage) - len(garbage.lstrip(b"\0")) if codec in ("gzip", "xz") else 0
    assert error.extra["position"] == len(packed) + zeros
    assert str(len(packed) + zeros) in error.detail


@pytest.mark.parametrize("codec", ["zlib", "deflate-raw", "br"])
def test_formats_without_members_end_after_the_first(make_work, codec):
    packed = MADE_ELSEWHERE[codec](b"hello")
    error = refused(make_work, packed * 2, TrailingData, **named(codec))
    assert error.extra["position"] == len(packed)


# -- cut and damaged ---------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
def test_a_cut_is_noticed_wherever_it_is(make_work, codec):
    packed = MADE_ELSEWHERE[codec](text(60_000))
    places = {1, 2, 3, 5, 9, 11, 17, len(packed) // 2, *range(len(packed) - 30, len(packed))}
    for place in places:
        error = refused(make_work, packed[:place], StreamTruncated, format=codec)
        assert error.extra["position"] == place


@pytest.mark.parametrize("codec", MANY)
def test_a_cut_in_a_later_member_is_noticed(make_work, codec):
    packed = MADE_ELSEWHERE[codec](text(60_000))
    for place in (1, 3, 8, len(packed) // 2, len(packed) - 1):
        refused(make_work, packed + packed[:place], StreamTruncated)


@pytest.mark.parametrize("codec", CODECS)
def test_nothing_is_cut_of_all(make_work, codec):
    refused(make_work, b"", StreamTruncated, format=codec)


@pytest.mark.parametrize("codec", CHECKED)
def test_a_flipped_bit_never_gives_other_content(make_work, codec):
    plain = text(30_000)
    packed = MADE_ELSEWHERE[codec](plain)
    chance = random.Random(codec)
    failures = 0
    for _ in range(150):
        spoiled = bytearray(packed)
        spoiled[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
        try:
            content, _, _ = run(make_work, bytes(spoiled), format=codec)
        except (StreamDamaged, StreamTruncated, TrailingData, CodecUnknown, MemoryExceeded):
            failures += 1
        else:
            # Some bits mean nothing: the time in a gzip header.
            assert content == plain
    assert failures > 130


@pytest.mark.parametrize("place", [-1, -5])
def test_both_checks_of_gzip_count(make_work, place):
    packed = bytearray(gzip.compress(text(1000)))
    packed[place] ^= 1
    refused(make_work, bytes(packed), StreamDamaged)


@pytest.mark.parametrize("codec", ["deflate-raw", "br"])
def test_nonsense_is_damage(make_work, codec):
    refused(make_work, b"\xff" * 1000, StreamDamaged, format=codec)


def test_damage_is_told_with_about_its_position(make_work):
    packed = bytearray(bz2.compress(random.Random(4).randbytes(3_000_000)))
    packed[1_500_000] ^= 1
    error = refused(make_work, bytes(packed), StreamDamaged)
    assert 1_500_000 <= error.extra["position"] < 2_000_000


def test_a_lie_about_the_size_in_an_lz4_header_is_damage(make_work):
    packed = bytearray(lz4.frame.compress(b"hello" * 100, store_size=True))
    header = lz4.frame.compress_begin(
        lz4.frame.create_compression_context(), source_size=1 << 60, block_size=4
    )
    refused(make_work, header + bytes(packed[15:]), StreamDamaged)


def test_a_lie_about_the_size_in_a_zstd_header_is_damage(make_work):
    packed = bytearray(zstd.compress(b"hello"))
    assert packed[5] == 5
    packed[5] = 6
    refused(make_work, bytes(packed), StreamDamaged)


# -- formats -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"x^2 + y^2", b"\x1f\x8b", b"\x89PNG\r\n\x1a\n", bytes(100)]
)
def test_what_is_not_compressed_is_unknown(make_work, content):
    refused(make_work, content, CodecUnknown)


@pytest.mark.parametrize("codec", WITH_SIGNATURE)
def test_content_that_is_not_of_the_named_format_is_refused(make_work, codec):
    error = refused(make_work, b"hello, world, this is no stream", CodecUnknown, format=codec)
    assert codec in error.detail


def test_a_zlib_stream_that_needs_a_dictionary_is_unknown(make_work):
    compressor = zlib.compressobj(zdict=b"hello")
    refused(make_work, compressor.compress(b"hello") + compressor.flush(), CodecUnknown)


@pytest.mark.parametrize(
    ("codec", "name", "result"),
    [
        *((codec, f"a b.json{suffix}", "a b.json") for codec, suffix in SUFFIXES.items()),
        ("gzip", "DATA.TAR.GZ", "DATA.TAR"),
        ("gzip", "data.tgz", "data.tar"),
        ("zstd", "data.tzst", "data.tar"),
        ("xz", "data.txz", "data.tar"),
        ("bz2", "data.tbz2", "data.tar"),
        ("gzip", "data.xz", "data.xz"),
        ("gzip", ".gz", ".gz"),
        ("gzip", "folder/.gz", "folder/.gz"),
        ("gzip", "", "file"),
    ],
)
def test_the_result_is_named_without_the_suffix(make_work, codec, name, result):
    _, output, _ = run(make_work, MADE_ELSEWHERE[codec](b"hello"), name, format=codec)
    assert output.name == result


@pytest.mark.parametrize(
    ("plain", "media_type"),
    [
        (b"%PDF-1.7\n", "application/pdf"),
        (b"a text", "text/plain"),
        (gzip.compress(b"", mtime=0), "application/gzip"),
    ],
)
def test_the_result_has_the_type_of_its_content(make_work, plain, media_type):
    _, output, _ = run(make_work, gzip.compress(plain), "picture.png.gz")
    assert output.media_type == media_type


def test_only_one_layer_is_taken_off(make_work):
    inner = gzip.compress(b"hello")
    assert run(make_work, gzip.compress(inner), "a.gz.gz")[0] == inner


# -- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
def test_the_limit_is_exact(make_work, codec):
    plain = text(1_500_000)
    packed = MADE_ELSEWHERE[codec](plain)
    exact = run(make_work, packed, max_output_bytes=len(plain), **named(codec))[0]
    assert exact == plain
    error = refused(
        make_work, packed, OutputTooLarge, max_output_bytes=len(plain) - 1, **named(codec)
    )
    assert error.extra["max_bytes"] == len(plain) - 1


def test_the_services_own_limit_holds_too(make_work):
    limits = Limits(max_output_bytes=1000)
    error = refused(
        make_work, gzip.compress(bytes(1001)), OutputTooLarge, limits, max_output_bytes=2000
    )
    assert error.extra["max_bytes"] == 1000


def test_the_ratio_counts_from_16_mib_on(make_work):
    packed = bz2.compress(bytes(16 << 20))
    assert len(packed) < 100
    assert len(run(make_work, packed)[0]) == 16 << 20
    refused(make_work, bz2.compress(bytes((16 << 20) + 1)), RatioExceeded)


def test_deflate_cannot_exceed_the_default_ratio(make_work):
    plain = bytes(64 << 20)
    content, _, facts = run(make_work, zlib.compress(plain, 9))
    assert len(content) == len(plain)
    assert 1000 < facts["ratio"] < 1033


def test_a_ratio_may_be_asked_for(make_work):
    plain = bytes(20 << 20)
    packed = gzip.compress(plain)
    assert run(make_work, packed, max_ratio=1100)[2]["ratio"] > 1000
    error = refused(make_work, packed, RatioExceeded, max_ratio=900)
    assert error.extra["max_ratio"] == 900


@pytest.mark.parametrize(
    "params", [{"max_output_bytes": 0}, {"max_ratio": 0.5}, {"max_ratio": "inf"}, {"format": "rar"}]
)
def test_limits_make_sense(params):
    with pytest.raises(ValidationError):
        DecompressParams.model_validate(params)


def test_parameters_may_come_as_text():
    params = DecompressParams.model_validate({"max_output_bytes": "10", "max_ratio": "1.5"})
    assert (params.max_output_bytes, params.max_ratio) == (10, 1.5)


def test_progress_is_told_in_bytes_of_the_file(make_work):
    packed = gzip.compress(random.Random(5).randbytes(3_000_000))
    told = []
    work = make_work(packed)
    work = Work(work.sources, work.folder, work.limits, tell=lambda *args: told.append(args))
    decompress(work, DecompressParams())
    assert [total for _, total in told] == [len(packed)] * len(told)
    assert 0 < told[0][0] < told[-1][0] == len(packed)


# -- bombs: in a process of its own, whose memory tells ----------------------------------------

_IN_A_CHILD = """
import resource, sys
from pathlib import Path
from app.errors import OffloadError
from app.ops.base import Limits, Source, Work
from tests.memory import peak_kib
from app.ops.decompress import DecompressParams, decompress
source, folder, codec = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))
small = Source.of(source.with_name("small").read_bytes(), "a", "")
decompress(Work((small,), folder, Limits()), DecompressParams(format=codec))
before = peak_kib()
file = Source(source, "a", "", source.stat().st_size)
work = Work((file,), folder, Limits(max_output_bytes=200 << 20))
try:
    decompress(work, DecompressParams(format=codec, max_ratio=1e12))
except OffloadError as error:
    print(error.code, (peak_kib() - before) // 1024)
"""


def bz2_of_100_gib() -> bytes:
    return bz2.compress(bytes(45_000_000)) * (100 * (1 << 30) // 45_000_000)


def gzip_of_zeros() -> bytes:
    return gzip.compress(bytes(20 << 20)) * 20


def zstd_of_zeros() -> bytes:
    return zstd.compress(bytes(64 << 20)) * 100


def br_of_zeros() -> bytes:
    compressor = brotli.Compressor(quality=5)
    return b"".join(compressor.process(bytes(1 << 20)) for _ in range(201)) + compressor.finish()


def lz4_of_zeros() -> bytes:
    return lz4.frame.compress(bytes(100 << 20)) * 10


def xz_of_zeros() -> bytes:
    return lzma.compress(bytes(20 << 20), preset=0) * 30


@pytest.mark.parametrize(
    ("codec", "make"),
    [
        ("bz2", bz2_of_100_gib),
        ("gzip", gzip_of_zeros),
        ("zstd", zstd_of_zeros),
        ("br", br_of_zeros),
        ("lz4", lz4_of_zeros),
        ("xz", xz_of_zeros),
    ],
)
def test_memory_is_flat_against_a_bomb(tmp_path, codec, make):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "bomb").write_bytes(make())
    (tmp_path / "small").write_bytes(MADE_ELSEWHERE[codec](b"hello"))
    command = [sys.executable, "-c", _IN_A_CHILD, tmp_path / "bomb", folder, codec]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert said[0] == "limit.output"
    assert int(said[1]) < 32
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("window_log", [28, 30, 31])
def test_a_zstd_window_over_128_mib_is_refused(make_work, window_log):
    header = b"\x28\xb5\x2f\xfd\x00" + bytes([(window_log - 10) << 3])
    error = refused(make_work, header + bytes(100), MemoryExceeded)
    assert "128 MiB" in error.detail


def test_a_zstd_window_of_128_mib_is_read(make_work):
    options = {zstd.CompressionParameter.window_log: 27}
    compressor = zstd.ZstdCompressor(options=options)
    packed = compressor.compress(b"hello") + compressor.flush()
    assert run(make_work, packed)[0] == b"hello"


def test_an_xz_dictionary_of_4_gib_is_refused(make_work):
    packed = bytearray(lzma.compress(b"hello"))
    # Block header: size, flags, filter id, size of properties, dictionary size; then padding, CRC.
    assert packed[12:16] == b"\x02\x00\x21\x01"
    packed[16] = 40
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    error = refused(make_work, bytes(packed), MemoryExceeded)
    assert "128 MiB" in error.detail


def test_memory_that_runs_out_is_named_so(make_work, monkeypatch):
    from app.ops.codecs import decoders

    class Poor:
        needs_input, eof, unused_data = True, False, b""

        def decompress(self, data, max_length):
            raise zstd.ZstdError("Allocation error : not enough memory")

    monkeypatch.setitem(decoders._NEW, "zstd", Poor)
    with pytest.raises(MemoryError):
        run(make_work, zstd.compress(b"hello"))
