"""LZ4 in blocks: one frame of independent blocks.

Each block is compressed as a frame of its own, taken out of that frame, and put between the
others. It has a checksum of its own: the frame's, over the whole content, would have to be
computed over the blocks in turn, and no library here offers its function.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import lz4.frame

from app.ops.codecs.blocks import MIB, Block, BlockPacker, Sink

_LZ4_HEADER_BYTES = 7
_LZ4_END = bytes(4)


class Lz4Packer(BlockPacker):
    """Writes one LZ4 frame of independent blocks, each with a checksum."""

    def __init__(
        self, sink: Sink, cores: Callable[[], int], level: int, size_bytes: int | None
    ) -> None:
        super().__init__(sink, cores, 4 * MIB)
        self.method = f"lz4 {level}"
        self._level = level
        self._promised_bytes = size_bytes
        self._size_bytes = 0
        options = _lz4_options(level)
        context = lz4.frame.create_compression_context()
        # A frame that holds nothing has its size in the header too, unless it is given as 0.
        sink.write(lz4.frame.compress_begin(context, source_size=size_bytes or 0, **options))

    def write(self, data: bytes, /) -> int:
        """Compress the next bytes of the input."""
        self._size_bytes += len(data)
        return super().write(data)

    def finish(self) -> None:
        """Write what is left, and the end mark."""
        super().finish()
        if self._promised_bytes not in (None, self._size_bytes):
            raise ValueError(f"{self._promised_bytes} bytes were promised, {self._size_bytes} came")
        self._sink.write(_LZ4_END)

    def _block(self, data: bytes, *, last: bool) -> Block:
        return partial(_lz4_block, data, self._level)

    def _take(self, result: Any) -> None:
        self._sink.write(result)


def _lz4_options(level: int) -> dict[str, Any]:
    return {
        "block_size": lz4.frame.BLOCKSIZE_MAX4MB,
        "block_linked": False,
        "compression_level": level,
        "content_checksum": False,
        "block_checksum": True,
    }


def _lz4_block(data: bytes, level: int, _: threading.Event) -> bytes:
    frame = lz4.frame.compress(data, store_size=False, **_lz4_options(level))
    return cast("bytes", frame[_LZ4_HEADER_BYTES : -len(_LZ4_END)])
