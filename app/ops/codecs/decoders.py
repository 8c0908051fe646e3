"""Decoders: one member, stream or frame at a time, all with the same few methods.

The standard library's decoders set the example (`bz2.BZ2Decompressor` has the promises): bounded
output a call, `needs_input`, `eof`, `unused_data`. LZ4 and Brotli are brought into line here.
"""

from __future__ import annotations

import bz2
import lzma
import sys
from collections.abc import Callable
from typing import Protocol, cast

import brotli
import lz4.frame
from isal import igzip_lib

from app.errors import MemoryExceeded, OffloadError, StreamDamaged
from app.ops.codecs.blocks import MIB
from app.ops.codecs.kinds import Codec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

WINDOW_LOG = 27
"""Largest window, as a power of two, that a reader here will hold: 128 MiB, as in the zstd tool."""
_XZ_MEMORY_BYTES = (1 << WINDOW_LOG) + 2 * MIB
"""A dictionary of the same size; the decoder itself needs little."""


class Decoder(Protocol):
    """Decodes one member, stream or frame."""

    @property
    def needs_input(self) -> bool:
        """Whether more output takes more input."""

    @property
    def eof(self) -> bool:
        """Whether the end was reached, and was what it should be."""

    @property
    def unused_data(self) -> bytes:
        """What came after the end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decode; if `needs_input` is False, `data` has to be empty."""


class _Lz4Decoder:
    """LZ4 frames: `lz4.frame.LZ4FrameDecompressor` forgets what it still holds inside."""

    def __init__(self) -> None:
        self._decoder = lz4.frame.LZ4FrameDecompressor()
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def unused_data(self) -> bytes:
        return cast("bytes | None", self._decoder.unused_data) or b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = cast("bytes", self._decoder.decompress(data, max_length))
        self.needs_input = self._decoder.needs_input and len(out) < max_length and not self.eof
        return out


class _BrotliDecoder:
    """Brotli streams; what follows one cannot be told from damage (see `Unpacker`)."""

    unused_data = b""

    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._decoder.is_finished())

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = cast("bytes", self._decoder.process(data, output_buffer_limit=max_length))
        # `can_accept_more_data` tells of input that is held back, and not of output.
        self.needs_input = not out and bool(self._decoder.can_accept_more_data())
        return out


def _new_zstd() -> Decoder:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
    return cast("Decoder", zstd.ZstdDecompressor(options=options))


def _new_isal(kind: int) -> Decoder:
    return cast("Decoder", igzip_lib.IgzipDecompressor(flag=kind))


_NEW: dict[Codec, Callable[[], Decoder]] = {
    "gzip": lambda: _new_isal(igzip_lib.DECOMP_GZIP),
    "zlib": lambda: _new_isal(igzip_lib.DECOMP_ZLIB),
    "deflate-raw": lambda: _new_isal(igzip_lib.DECOMP_DEFLATE),
    "zstd": _new_zstd,
    "br": _BrotliDecoder,
    "xz": lambda: cast("Decoder", lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_BYTES)),
    "bz2": lambda: cast("Decoder", bz2.BZ2Decompressor()),
    "lz4": _Lz4Decoder,
}

# What the libraries raise on bad content; `bz2` and `lz4.frame` have no class of their own.
_ISAL_ERROR = cast("type[Exception]", igzip_lib.IsalError)
FAILURES: dict[Codec, type[Exception]] = {
    "gzip": _ISAL_ERROR,
    "zlib": _ISAL_ERROR,
    "deflate-raw": _ISAL_ERROR,
    "zstd": zstd.ZstdError,
    "br": brotli.error,
    "xz": lzma.LZMAError,
    "bz2": OSError,
    "lz4": RuntimeError,
}


def new_decoder(codec: Codec) -> Decoder:
    """Make a decoder for the next member, stream or frame."""
    return _NEW[codec]()


def translated(codec: Codec, error: Exception, position: int) -> OffloadError | MemoryError:
    """Say what a library's error means; `position` is about where in the input it came up."""
    said = str(error)
    low = said.lower()
    if "too much memory" in low or "memory usage limit" in low:
        return MemoryExceeded(
            f"The {codec} stream asks its reader for more memory than the "
            f"{(1 << WINDOW_LOG) // MIB} MiB of window that are allowed here."
        )
    if "not enough memory" in low or "allocation" in low:
        return MemoryError(said)
    return StreamDamaged(
        f"The {codec} stream is damaged at or before byte {position}.",
        log_detail=said,
        position=position,
    )
