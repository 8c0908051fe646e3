"""bzip2 in blocks: one stream, as `bzip2` itself writes it.

A bzip2 stream is a header of 4 bytes, blocks, and an end mark with a checksum of the blocks'
checksums; blocks and end mark begin anywhere within a byte. Each block is compressed as a stream
of its own, and its bits are moved behind those of the one before. So the result is one stream,
which also those readers understand that stop after the first, and no larger than bzip2's own.
"""

from __future__ import annotations

import bz2
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.ops.codecs.blocks import Block, BlockPacker, Sink

_HEADER_BYTES = 4
_BLOCK_MARK = 0x314159265359
_END_MARK = 0x177245385090
_MARK_BITS = 48
_CRC_BITS = 32
_CRC_MASK = (1 << _CRC_BITS) - 1

_INPUT_BYTES = 98_000
"""Of the input for each 100,000 bytes of block. The rest is room to grow: bzip2 first writes runs
of four as five bytes."""


@dataclass(frozen=True, slots=True)
class _Bits:
    """One block without what is around it."""

    number: int
    """The bits, the first of them the highest."""
    count: int
    crc: int


class Bz2Packer(BlockPacker):
    """Writes one bzip2 stream."""

    def __init__(self, sink: Sink, cores: Callable[[], int], level: int) -> None:
        super().__init__(sink, cores, level * _INPUT_BYTES)
        self.method = f"libbz2 {level}"
        self._level = level
        self._crc = 0
        self._left = 0
        """Bits that do not fill a byte yet."""
        self._left_bits = 0
        sink.write(b"BZh%d" % level)

    def finish(self) -> None:
        """Write what is left, and the end mark."""
        super().finish()
        self._write_bits(_END_MARK << _CRC_BITS | self._crc, _MARK_BITS + _CRC_BITS)
        self._write_bits(0, -self._left_bits % 8)

    def _block(self, data: bytes, *, last: bool) -> Block:
        return partial(_bz2_blocks, data, self._level)

    def _take(self, result: Any) -> None:
        for block in result:
            rotated = self._crc << 1 | self._crc >> _CRC_BITS - 1
            self._crc = (rotated ^ block.crc) & _CRC_MASK
            self._write_bits(block.number, block.count)

    def _write_bits(self, number: int, count: int) -> None:
        number |= self._left << count
        count += self._left_bits
        self._left_bits = count % 8
        self._left = number & (1 << self._left_bits) - 1
        self._sink.write((number >> self._left_bits).to_bytes(count // 8, "big"))


def _bz2_blocks(data: bytes, level: int, stopped: threading.Event) -> list[_Bits]:
    stream = bz2.compress(data, level)
    block = _only_block(stream)
    if block is not None:
        return [block]
    # It has grown out of its block, by a quarter at most: each half fits into one.
    half = len(data) // 2
    return [
        *_bz2_blocks(data[:half], level, stopped),
        *_bz2_blocks(data[half:], level, stopped),
    ]


def _only_block(stream: bytes) -> _Bits | None:
    """Take the block out of a stream; None if the stream may have more than one."""
    if _has_second_mark(stream):
        return None
    first_crc = int.from_bytes(stream[_HEADER_BYTES + 6 : _HEADER_BYTES + 10], "big")
    end = int.from_bytes(stream[-11:], "big")
    # The end mark stands behind the block, and less than a byte of padding behind that.
    for padding_bits in range(8):
        tail = end >> padding_bits & (1 << _MARK_BITS + _CRC_BITS) - 1
        if tail == _END_MARK << _CRC_BITS | first_crc:
            end_bits = padding_bits + _MARK_BITS + _CRC_BITS
            count = 8 * (len(stream) - _HEADER_BYTES) - end_bits
            number = int.from_bytes(stream[_HEADER_BYTES:], "big") >> end_bits
            return _Bits(number, count, first_crc)
    return None


def _has_second_mark(stream: bytes) -> bool:
    """Tell whether the mark of a block comes up again after the first, at any bit."""
    for shift in range(8):
        # Those five bytes of it that are whole if it begins `shift` bits into a byte.
        inner = _BLOCK_MARK >> shift & (1 << 40) - 1
        if stream.find(inner.to_bytes(5, "big"), _HEADER_BYTES + 6) >= 0:
            return True
    return False
