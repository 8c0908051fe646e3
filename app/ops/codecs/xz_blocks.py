"""xz in blocks: one stream, as `xz -T` writes it.

Each block is compressed as a stream of its own, taken out of that stream, and put between the
others, with one index for all (The .xz File Format 1.2.1).
"""

from __future__ import annotations

import lzma
import threading
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from app.ops.codecs.blocks import MIB, Block, BlockPacker, Sink, Stopped

_PORTION_BYTES = 128 << 10
"""One call gets so much at most, so that its thread can be stopped."""

_XZ_WRAP_BYTES = 12
"""Of the header of a stream and of its footer: The .xz File Format 1.2.1, 2.1.1 and 2.1.2."""
_XZ_MEMORY_BYTES = 256 * MIB
_XZ_DICTIONARY_BYTES = {0: 256 << 10, 1: MIB, 2: 2 * MIB, 3: 4 * MIB, 4: 4 * MIB}


class XzPacker(BlockPacker):
    """Writes one xz stream of many blocks, as `xz -T` does."""

    def __init__(self, sink: Sink, cores: Callable[[], int], level: int) -> None:
        # Levels 6 to 9 differ in nothing but the dictionary, which need not exceed the block.
        self._dictionary_bytes = _XZ_DICTIONARY_BYTES.get(level, 8 * MIB)
        block_bytes = max(2 * MIB, self._dictionary_bytes)
        super().__init__(
            sink, cores, block_bytes, _XZ_MEMORY_BYTES // (12 * self._dictionary_bytes + 8 * MIB)
        )
        self.method = f"liblzma {level}"
        self._level = level
        self._records: list[tuple[int, int]] = []
        self._header = b""

    def finish(self) -> None:
        """Write what is left, and the index."""
        super().finish()
        if not self._records:
            self._sink.write(lzma.compress(b"", lzma.FORMAT_XZ, lzma.CHECK_CRC64))
            return
        index = _xz_index(self._records)
        tail = (len(index) // 4 - 1).to_bytes(4, "little") + self._header[6:8]
        crc = zlib.crc32(tail).to_bytes(4, "little")
        self._sink.write(index + crc + tail + b"YZ")

    def _block(self, data: bytes, *, last: bool) -> Block:
        return partial(_xz_block, data, self._level, self._dictionary_bytes)

    def _take(self, result: Any) -> None:
        header, block, record = result
        if not self._records:
            self._header = header
            self._sink.write(header)
        self._sink.write(block)
        self._records.append(record)


def _xz_block(
    data: bytes, level: int, dictionary_bytes: int, stopped: threading.Event
) -> tuple[bytes, bytes, tuple[int, int]]:
    compressor = lzma.LZMACompressor(
        lzma.FORMAT_XZ,
        lzma.CHECK_CRC64,
        filters=[
            {"id": lzma.FILTER_LZMA2, "preset": level, "dict_size": dictionary_bytes},
        ],
    )
    stream = _in_portions(compressor, data, stopped)
    index_bytes = 4 * (int.from_bytes(stream[-8:-4], "little") + 1)
    index_at = len(stream) - _XZ_WRAP_BYTES - index_bytes
    unpadded_bytes, _ = _xz_number(stream, index_at + 2)
    return (
        stream[:_XZ_WRAP_BYTES],
        stream[_XZ_WRAP_BYTES:index_at],
        (unpadded_bytes, len(data)),
    )


def _xz_index(records: list[tuple[int, int]]) -> bytes:
    index = bytearray(b"\x00" + _xz_coded(len(records)))
    for unpadded_bytes, size_bytes in records:
        index += _xz_coded(unpadded_bytes) + _xz_coded(size_bytes)
    index += bytes(-len(index) % 4)
    return bytes(index + zlib.crc32(index).to_bytes(4, "little"))


def _xz_coded(number: int) -> bytes:
    """Write a number in groups of 7 bits, the lowest first."""
    coded = bytearray()
    while number > 0x7F:
        coded.append(number & 0x7F | 0x80)
        number >>= 7
    coded.append(number)
    return bytes(coded)


def _xz_number(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return number, at


def _in_portions(compressor: Any, data: bytes, stopped: threading.Event) -> bytes:
    parts = []
    for at in range(0, len(data), _PORTION_BYTES):
        if stopped.is_set():
            raise Stopped
        parts.append(compressor.compress(data[at : at + _PORTION_BYTES]))
    parts.append(compressor.flush())
    return b"".join(parts)
