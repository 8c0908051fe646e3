import bz2
import io
import lzma
import random
import shutil
import subprocess
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ops.codecs.blocks import Cutter, Lane
from app.ops.codecs.hashed import HashedFile
from app.ops.codecs.kinds import CODECS
from app.ops.codecs.packing import packing
from tests.ops.codec_tools import by_library, text


def packed(codec: str, content: bytes, level="fast", cores=1, size_bytes=None, portion=1 << 20):
    file = io.BytesIO()
    with packing(file, codec, level, cores=lambda: cores, size_bytes=size_bytes) as packer:
        for at in range(0, len(content), portion):
            assert packer.write(content[at : at + portion]) == len(content[at : at + portion])
    return file.getvalue()


@given(st.lists(st.binary(max_size=40)), st.integers(1, 30))
def test_a_cutter_gives_back_what_it_got_in_blocks(portions, block_bytes):
    cutter = Cutter(block_bytes)
    blocks = [block for portion in portions for block in cutter.add(portion)]
    assert {len(block) for block in blocks} <= {block_bytes}
    rest = cutter.rest()
    assert len(rest) < block_bytes
    assert b"".join([*blocks, rest]) == b"".join(portions)


def test_a_cutter_does_not_copy_what_is_one_block_already():
    cutter = Cutter(1000)
    block = bytes(1000)
    assert next(iter(cutter.add(block))) is block


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_a_lane_uses_as_many_threads_as_there_are_cores(cores):
    lock = threading.Lock()
    working = most = 0
    together = threading.Barrier(cores)

    def block(_):
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        together.wait(timeout=30)
        with lock:
            working -= 1

    lane = Lane(lambda _: None, lambda: cores)
    for _ in range(4 * cores):
        lane.put(block)
    lane.finish()
    lane.stop()
    assert most == cores


def test_a_lane_gives_results_in_order_and_holds_few():
    first_may_end = threading.Event()
    taken = []
    lane = Lane(taken.append, lambda: 2)

    def slow(_):
        first_may_end.wait(timeout=30)
        return 0

    lane.put(slow)
    for number in range(1, 4):
        lane.put(lambda _, number=number: number)
    assert taken == []
    first_may_end.set()
    lane.put(lambda _: 4)
    lane.finish()
    lane.stop()
    assert taken == [0, 1, 2, 3, 4]


def test_what_a_block_raises_reaches_the_writer():
    def fail(_):
        raise MemoryError("no more")

    lane = Lane(lambda _: None, lambda: 2)

    def use():
        lane.put(fail)
        lane.finish()

    with pytest.raises(MemoryError, match="no more"):
        use()
    lane.stop()


def test_a_lane_that_is_stopped_tells_its_blocks():
    began = threading.Event()
    ended = []

    def block(stopped):
        began.set()
        ended.append(stopped.wait(timeout=30))

    lane = Lane(lambda _: None, lambda: 2)
    lane.put(block)
    began.wait(timeout=30)
    lane.stop()
    assert ended == [True]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("portion", [1, 1000, 300_001])
def test_how_the_input_is_divided_does_not_show(codec, portion):
    content = text(3000) if portion == 1 else text(500_000 if codec == "bz2" else 1_200_000)
    level = 1 if codec in ("br", "xz", "bz2") else "balanced"
    assert packed(codec, content, level, portion=portion) == packed(codec, content, level)


@pytest.mark.parametrize("codec", CODECS)
def test_memoryviews_may_be_written(codec):
    content = bytearray(text(5000))
    file = io.BytesIO()
    with packing(file, codec, cores=lambda: 1) as packer:
        packer.write(memoryview(content))
        content[:] = bytes(len(content))
    assert by_library(file.getvalue(), codec) == text(5000)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
@pytest.mark.parametrize("promised", [0, 4, 6])
def test_a_promise_that_is_broken_is_noticed(codec, promised):
    with pytest.raises(Exception, match=r"promised|Src size"):
        packed(codec, b"hello", size_bytes=promised)


@pytest.mark.parametrize("codec", CODECS)
def test_nothing_is_finished_after_an_exception(codec):
    file = io.BytesIO()

    def broken():
        with packing(file, codec, cores=lambda: 2) as packer:
            packer.write(text(10_000))
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert file.getvalue() != packed(codec, text(10_000), "balanced")


# -- bzip2: blocks put together bit by bit -----------------------------------------------------

RUNS = {
    "runs_of_four": b"aaaabbbb" * 60_000,
    "runs_of_five": (b"abcd" * 7 + b"zzzzz") * 20_000,
    "zeros": bytes(500_000),
    "all_bytes": bytes(range(256)) * 1500,
    "noise": random.Random(1).randbytes(350_000),
    "text": text(350_000),
}


@pytest.mark.parametrize("content", RUNS)
def test_bzip2_blocks_make_one_stream(content):
    stream = packed("bz2", RUNS[content], level=1, cores=2)
    decoder = bz2.BZ2Decompressor()
    assert decoder.decompress(stream) == RUNS[content]
    assert decoder.eof
    assert not decoder.unused_data
    if shutil.which("bzip2"):
        subprocess.run(["bzip2", "-t"], input=stream, check=True)


def test_bzip2_gets_no_larger_by_it():
    content = text(1_200_000)
    assert len(packed("bz2", content, level=4)) <= 1.002 * len(bz2.compress(content, 4))


# -- xz: blocks put into one stream ------------------------------------------------------------


def test_xz_blocks_have_one_index():
    content = text(5_000_000)
    stream = packed("xz", content, cores=2)
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    assert decoder.decompress(stream) == content
    assert decoder.eof
    assert decoder.check == lzma.CHECK_CRC64
    if shutil.which("xz"):
        subprocess.run(["xz", "-t"], input=stream, check=True)


@pytest.mark.skipif(not shutil.which("xz"), reason="xz is what reads the index")
def test_xz_lists_the_blocks(tmp_path):
    (tmp_path / "a.xz").write_bytes(packed("xz", text(5_000_000), cores=2))
    command = ["xz", "--robot", "--list", tmp_path / "a.xz"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    totals = listed.splitlines()[1].split("\t")
    assert totals[0] == "file"
    assert [int(number) for number in (totals[1], totals[2], totals[4])] == [1, 3, 5_000_000]


def test_a_hashed_file_knows_what_was_written():
    file = io.BytesIO()
    hashed = HashedFile(file)
    for part in (b"a", b"", b"bc"):
        assert hashed.write(part) == len(part)
    assert file.getvalue() == b"abc"
    assert hashed.sha256.startswith("ba7816bf8f01cfea414140de5dae2223")
