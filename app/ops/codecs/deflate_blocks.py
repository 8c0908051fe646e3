"""gzip, zlib and raw deflate: small inputs in one call, large ones by pigz's method.

A large input is cut into blocks. Each becomes raw deflate that starts on a byte boundary (the one
before ends with a sync flush, RFC 1951's empty stored block) and may point back into the 32 KiB
before it, which it gets as its dictionary. Put one after the other they are one deflate stream, so
gzip stays one member: many HTTP clients stop after the first.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

import deflate
from isal import isal_zlib
from zlib_ng import zlib_ng

from app.ops.codecs.blocks import MIB, Block, BlockPacker, Sink
from app.ops.codecs.deflate_choice import chooser
from app.ops.codecs.levels import DeflateLevels

Wrapper = Literal["gzip", "zlib", "deflate-raw"]

BLOCK_BYTES = MIB
WINDOW_BYTES = 32 << 10

_MEMORY_LEVEL = 8
"""zlib's default. 9 makes no difference to the ratio that could be told, and is slower."""

# No name, no time, system unknown: RFC 1952. The same input gives the same bytes everywhere.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
# 32 KiB window, no dictionary, and "level 2", which no reader looks at: RFC 1950.
_ZLIB_HEADER = b"\x78\x9c"

_WHOLE: dict[Wrapper, Callable[[bytes, int], bytearray]] = {
    "gzip": deflate.gzip_compress,
    "zlib": deflate.zlib_compress,
    "deflate-raw": deflate.deflate_compress,
}
_MAKE: dict[str, Any] = {"isal": isal_zlib.compressobj, "zlib-ng": zlib_ng.compressobj}


class DeflatePacker(BlockPacker):
    """Writes gzip, zlib or raw deflate."""

    _ends_in_a_block = True

    def __init__(
        self, sink: Sink, cores: Callable[[], int], wrapper: Wrapper, levels: DeflateLevels
    ) -> None:
        super().__init__(sink, cores, BLOCK_BYTES)
        self._wrapper = wrapper
        self._levels = levels
        self._early: list[bytes] | None = []
        self._size_bytes = 0
        self._check = zlib_ng.adler32(b"") if wrapper == "zlib" else 0
        self._dictionary = b""
        self._level_for = chooser(levels)

    def write(self, data: bytes, /) -> int:
        """Compress the next bytes of the input."""
        data = bytes(data)
        self._size_bytes += len(data)
        if self._early is None:
            self._write_on(data)
            return len(data)
        self._early.append(data)
        if self._size_bytes > self._levels.whole_bytes:
            early, self._early = self._early, None
            self._begin()
            for part in early:
                self._write_on(part)
        return len(data)

    def finish(self) -> None:
        """Write what is left, and the end of the stream."""
        if self._early is not None:
            level = self._levels.whole(self._size_bytes)
            self.method = f"libdeflate {level}"
            # Let go of the input at once: the lanes and this refer to each other, and the
            # collector comes late.
            early, self._early = self._early, None
            self._sink.write(bytes(_WHOLE[self._wrapper](b"".join(early), level)))
            return
        super().finish()
        if self._wrapper == "gzip":
            self._sink.write(struct.pack("<LL", self._check, self._size_bytes & 0xFFFFFFFF))
        elif self._wrapper == "zlib":
            self._sink.write(struct.pack(">L", self._check))

    def _begin(self) -> None:
        levels = " or ".join(map(str, sorted(self._levels.block_levels)))
        self.method = f"{self._levels.library} {levels}"
        if self._wrapper == "gzip":
            self._sink.write(_GZIP_HEADER)
        elif self._wrapper == "zlib":
            self._sink.write(_ZLIB_HEADER)

    def _write_on(self, data: bytes) -> None:
        if self._wrapper == "gzip":
            self._check = isal_zlib.crc32(data, self._check)
        elif self._wrapper == "zlib":
            self._check = zlib_ng.adler32(data, self._check)
        super().write(data)

    def _block(self, data: bytes, *, last: bool) -> Block:
        make = _MAKE[self._levels.library]
        block = partial(_compressed, make, self._level_for(data), data, self._dictionary, last)
        self._dictionary = data[-WINDOW_BYTES:]
        return block

    def _take(self, result: Any) -> None:
        for part in result:
            self._sink.write(part)


def _compressed(
    make: Any, level: int, data: bytes, dictionary: bytes, last: bool, _: threading.Event
) -> tuple[bytes, bytes]:
    compressor = make(
        level,
        zlib.DEFLATED,
        -zlib.MAX_WBITS,
        _MEMORY_LEVEL,
        zlib.Z_DEFAULT_STRATEGY,
        **({"zdict": dictionary} if dictionary else {}),
    )
    body = compressor.compress(data)
    return body, cast("bytes", compressor.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH))
