import io
import lzma
import random
import zlib

import pytest

from app.errors import StreamDamaged, StreamTruncated, TrailingData
from app.ops.codecs.kinds import CODECS, codec_of
from app.ops.codecs.unpacking import Unpacker
from tests.ops.codec_tools import MADE_ELSEWHERE, contents, text


@pytest.mark.parametrize("portion", [1, 7, 4096, 100_003])
@pytest.mark.parametrize("codec", CODECS)
def test_a_reader_gives_exactly_what_is_asked_for(codec, portion):
    plain = text(5000 if portion < 100 else 400_000)
    unpacker = Unpacker(io.BytesIO(MADE_ELSEWHERE[codec](plain)), codec)
    parts = list(iter(lambda: unpacker.read(portion), b""))
    assert b"".join(parts) == plain
    assert {len(part) for part in parts[:-1]} == {portion}
    assert unpacker.read(portion) == b""


@pytest.mark.parametrize("codec", CODECS)
def test_a_reader_begins_where_its_file_is(codec):
    file = io.BytesIO(b"before" + MADE_ELSEWHERE[codec](b"hello"))
    file.seek(6)
    assert Unpacker(file, codec).read(100) == b"hello"


class Trickle(io.RawIOBase):
    """Gives one byte at a time, and cannot go back."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, _=-1):
        return self._data.read(1)

    def seekable(self):
        return False


@pytest.mark.parametrize("codec", CODECS)
def test_a_slow_file_that_cannot_seek_will_do(codec):
    unpacker = Unpacker(Trickle(MADE_ELSEWHERE[codec](text(5000))), codec)
    assert unpacker.read(10_000) == text(5000)
    assert unpacker.read(1) == b""


def test_brotli_that_cannot_seek_calls_what_follows_damage():
    unpacker = Unpacker(Trickle(MADE_ELSEWHERE["br"](b"hello") + b"garbage"), "br")
    with pytest.raises(StreamDamaged):
        unpacker.read(100)


def test_brotli_that_breaks_while_it_is_drained_is_damaged():
    # Found by fuzzing: the decoder complains when it gets nothing, about what it got before.
    packed = MADE_ELSEWHERE["br"](text(3_000_000))
    damaged = 0
    for seed in range(40):
        unpacker = Unpacker(
            io.BytesIO(packed[: 2000 + seed] + random.Random(seed).randbytes(90_000)), "br"
        )
        try:
            while unpacker.read(1 << 20):
                pass
        except (StreamDamaged, StreamTruncated, TrailingData):
            damaged += 1
    assert damaged == 40


@pytest.mark.parametrize("codec", CODECS)
def test_members_are_counted_while_reading(codec):
    unpacker = Unpacker(io.BytesIO(MADE_ELSEWHERE[codec](text(300_000))), codec)
    assert (unpacker.members, unpacker.read_bytes) == (0, 0)
    unpacker.read(1)
    assert unpacker.members == 1
    assert unpacker.read_bytes > 0


# -- which codec -------------------------------------------------------------------------------


@pytest.mark.parametrize("content", contents())
@pytest.mark.parametrize("codec", ["gzip", "zlib", "zstd", "xz", "bz2", "lz4"])
def test_a_codec_is_known_by_its_beginning(codec, content):
    assert codec_of(MADE_ELSEWHERE[codec](contents()[content])[:4096]) == codec


@pytest.mark.parametrize("window_bits", range(9, 16))
@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_zlib_is_known_with_any_window_and_level(window_bits, level):
    compressor = zlib.compressobj(level, zlib.DEFLATED, window_bits)
    assert codec_of(compressor.compress(text(1000)) + compressor.flush()) == "zlib"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x1f",
        b"x",
        b"x^2 + y^2 = z^2, said Fermat, and wrote nothing more about it.",
        b"8O and other words that look like a header",
        b"BZh9, a text about bzip2",
        b"PK\x03\x04",
        lzma.compress(b"hello", lzma.FORMAT_ALONE),
        bytes(4096),
    ],
)
def test_other_content_has_no_codec(head):
    assert codec_of(head) is None


def test_the_first_frame_that_is_not_skippable_decides():
    note = b"\x53\x2a\x4d\x18\x03\x00\x00\x00abc"
    assert codec_of(note * 3 + MADE_ELSEWHERE["lz4"](b"hello")) == "lz4"
    assert codec_of(note * 3 + MADE_ELSEWHERE["zstd"](b"hello")) == "zstd"
    # Nothing in sight decides: skippable frames are Zstandard's invention.
    assert codec_of(b"\x53\x2a\x4d\x18\xff\xff\xff\x7fabc") == "zstd"
