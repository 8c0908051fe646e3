"""Spoiled streams of every codec: a precise refusal or the right content, and little memory."""

import bz2
import io
import lzma
import random
import sys
import zlib

import brotli
import lz4.frame
import pytest

from app.errors import CATALOGUE, OffloadError
from app.ops.base import Limits, Source, Work
from app.ops.codecs.kinds import CODECS, LEVELS, codec_of
from app.ops.codecs.packing import packing
from app.ops.codecs.unpacking import Unpacker
from app.ops.decompress import DecompressParams, decompress
from tests.fuzz.budget import mutated, rounds
from tests.memory import peak_kib
from tests.ops.codec_tools import MADE_ELSEWHERE

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.fuzz

MOST_BYTES = 8 << 20
MEMORY_KIB = 300 << 10
"""A window of 128 MiB may be asked for, and taken: twice that, and some."""
WITH_MEMBERS = ("gzip", "zstd", "xz", "bz2", "lz4")
NEW = {
    "gzip": lambda: zlib.decompressobj(31),
    "zlib": lambda: zlib.decompressobj(15),
    "deflate-raw": lambda: zlib.decompressobj(-15),
    "zstd": zstd.ZstdDecompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, 200 << 20),
    "bz2": bz2.BZ2Decompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
}
FAILURES = (zlib.error, zstd.ZstdError, lzma.LZMAError, OSError, RuntimeError, brotli.error)


def plain_of(chance: random.Random) -> bytes:
    """Make content with runs, repetitions near and far, and noise."""
    parts = []
    for _ in range(chance.randrange(12)):
        kind = chance.randrange(4)
        size = chance.choice((1, 3, 50, 700, 9_000, 70_000))
        if kind == 0:
            parts.append(bytes([chance.randrange(256)]) * size)
        elif kind == 1:
            parts.append(chance.randbytes(size))
        elif kind == 2 and parts:
            parts.append(chance.choice(parts))
        else:
            parts.append(bytes(chance.choices(b"abcdef 0123\n", k=size)))
    return b"".join(parts)


def read(packed: bytes, codec: str, chance: random.Random) -> bytes | None:
    """Decode in odd portions; None if it was refused."""
    unpacker = Unpacker(io.BytesIO(packed), codec)
    out = bytearray()
    part = b"-"
    while part and len(out) <= MOST_BYTES:
        wanted = chance.choice((1, 7, 4096, 100_000, 1 << 20))
        try:
            part = unpacker.read(wanted)
        except OffloadError as error:
            code = error.code
            break
        assert len(part) <= wanted
        out += part
    else:
        return bytes(out)
    assert code in CATALOGUE
    assert code.startswith(("codec.", "limit.memory"))
    return None


def reference(packed: bytes, codec: str) -> bytes | None:
    """Decode at once with another library or another way to call it; None if it fails."""
    try:
        if codec == "br":
            return brotli.decompress(packed)
        out = bytearray()
        members = 0
        while packed.strip(b"\0") or not members:
            decoder = NEW[codec]()
            out += decoder.decompress(packed)
            if not decoder.eof:
                return None
            members += 1
            packed = decoder.unused_data or b""
    except FAILURES:
        return None
    return bytes(out)


def agrees(ours: bytes | None, theirs: bytes | None) -> bool:
    """Whether what we read is what others read; they may be kinder to what is not right."""
    if ours is None:
        return True
    if theirs is None:
        return len(ours) > MOST_BYTES
    return ours == theirs or (len(ours) > MOST_BYTES and theirs.startswith(ours))


def test_a_spoiled_stream_is_refused_or_read_as_others_read_it():
    before_kib = peak_kib()
    for chance in rounds():
        codec = chance.choice(CODECS)
        members = chance.choice((1, 1, 2, 5)) if codec in WITH_MEMBERS else 1
        packed = b"".join(MADE_ELSEWHERE[codec](plain_of(chance)) for _ in range(members))
        spoiled = mutated(packed, chance)
        ours = read(spoiled, codec, chance)
        theirs = reference(spoiled, codec)
        assert agrees(ours, theirs), spoiled.hex()[:2000]
        assert read(packed, codec, chance) is not None
    grown_kib = peak_kib() - before_kib
    assert grown_kib < MEMORY_KIB


def test_noise_behind_a_good_beginning_is_refused_or_read_as_others_read_it():
    for chance in rounds(1):
        codec = chance.choice(CODECS)
        good = MADE_ELSEWHERE[codec](plain_of(chance))
        spliced = good[: chance.choice((0, 2, 4, 6, 10, 18, 30))] + chance.randbytes(
            chance.choice((0, 1, 20, 300, 90_000))
        )
        ours = read(spliced, codec, chance)
        assert agrees(ours, reference(spliced, codec)), spliced.hex()[:2000]


def test_any_file_may_be_sent_to_be_decompressed(tmp_path):
    source = tmp_path / "source"
    for number, chance in enumerate(rounds(2)):
        codec = chance.choice(CODECS)
        content = mutated(MADE_ELSEWHERE[codec](plain_of(chance)), chance)
        source.write_bytes(content)
        folder = tmp_path / str(number)
        folder.mkdir()
        limits = Limits(max_output_bytes=chance.choice((10, 10_000, 1 << 20)))
        asked = chance.choice(("auto", "auto", chance.choice(CODECS)))
        work = Work((Source(source, "a.gz", "x/y", len(content)),), folder, limits)
        code, made = "", ()
        try:
            made = decompress(work, DecompressParams(format=asked)).outputs
        except OffloadError as error:
            code = error.code
        sizes = [path.stat().st_size for path in folder.iterdir()]
        if code:
            assert code.startswith(("codec.", "limit."))
            assert sizes == []
        else:
            assert sizes == [one.size_bytes for one in made if one.data is None]
            assert [one.size_bytes <= limits.max_output_bytes for one in made] == [True]


def test_any_head_has_a_codec_or_none():
    for chance in rounds(3):
        codec = chance.choice(CODECS)
        head = MADE_ELSEWHERE[codec](plain_of(chance))[:4096]
        found = codec_of(head)
        if codec in ("deflate-raw", "br"):
            assert found in (None, "zlib")
        else:
            assert found == codec
        codec_of(mutated(head, chance))


def test_what_we_pack_others_unpack():
    for chance in rounds(4):
        codec = chance.choice(CODECS)
        lowest, highest = LEVELS[codec]
        plain = plain_of(chance)
        level = chance.choice(("fast", "balanced", "best", chance.randint(lowest, highest)))
        size_bytes = chance.choice((None, len(plain)))
        file = io.BytesIO()
        cores = chance.randint(1, 3)
        with packing(file, codec, level, cores=lambda n=cores: n, size_bytes=size_bytes) as packer:
            at = 0
            while at < len(plain):
                size = chance.choice((1, 100, 65_536, 1 << 20))
                packer.write(plain[at : at + size])
                at += size
        assert reference(file.getvalue(), codec) == plain
