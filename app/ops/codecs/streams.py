"""Zstandard and Brotli: streams that their libraries write, with threads of their own or none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import brotli

from app.ops.codecs.blocks import MIB, Cutter, Packer, Sink

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_BROTLI_PORTION_BYTES = 128 << 10
"""Its lowest levels compress each call's bytes apart from the others."""

_PORTION_BYTES = 128 << 10
"""One call of a high level gets so much at most: a deadline waits until it returns."""

# Levels 20 to 22 would take windows up to 128 MiB: 0.8 GiB of memory, nearly all that a worker
# has, and more than the 8 MiB that RFC 9659 lets an HTTP client expect. So they get level 19's
# window (and need 0.14 GiB).
_WINDOW_LOG = 23

_HIGHEST_SHARED = 15
"""Levels above it run on one core. Each of the library's jobs first learns the window before it,
at these levels all 8 MiB: jobs short enough to be interrupted would do little else."""
_THREADS = 4
_THREADS_OF_LONG = 2
"""Each also holds the tables of its level; a long window comes on top."""


class ZstdPacker(Packer):
    """Writes one Zstandard frame, in the library's own threads where the input is large."""

    def __init__(
        self,
        sink: Sink,
        cores: Callable[[], int],
        level: int,
        size_bytes: int | None,
        window_log: int | None,
    ) -> None:
        """Start the threads: the library asks for their number once."""
        self.method = f"zstd {level}"
        self._sink = sink
        self._portion_bytes = MIB if level <= _HIGHEST_SHARED else _PORTION_BYTES
        options = _zstd_options(level, size_bytes, window_log, cores)
        with _zstd_memory():
            self._compressor = zstd.ZstdCompressor(options=options)
            if size_bytes is not None:
                # Puts the size into the frame's header and fits the tables of a high level to a
                # small file.
                self._compressor.set_pledged_input_size(size_bytes)

    def write(self, data: bytes, /) -> int:
        """Compress the next bytes of the input."""
        with _zstd_memory():
            for at in range(0, len(data), self._portion_bytes):
                portion = data[at : at + self._portion_bytes]
                self._sink.write(self._compressor.compress(portion))
        return len(data)

    def finish(self) -> None:
        """Write what is left, and the end of the frame."""
        with _zstd_memory():
            # Ending the frame is one call that waits for all threads: so wait before, a part of a
            # job at a time, and a deadline can come in between.
            while out := self._compressor.compress(b""):
                self._sink.write(out)
            self._sink.write(self._compressor.flush())

    def abandon(self) -> None:
        """Wait for the library's threads."""
        del self._compressor


def _zstd_options(
    level: int, size_bytes: int | None, window_log: int | None, cores: Callable[[], int]
) -> dict[int, int]:
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: level,
        # The command line tool's default too: damage is noticed, for 4 bytes.
        zstd.CompressionParameter.checksum_flag: 1,
    }
    if level <= _HIGHEST_SHARED:
        most = _THREADS if window_log is None else _THREADS_OF_LONG
        # Never none: the bytes differ between none and one, but not between one and more.
        options[zstd.CompressionParameter.nb_workers] = max(1, min(cores(), most))
        options[zstd.CompressionParameter.job_size] = (4 if level < 13 else 2) * MIB
    if window_log is not None:
        options[zstd.CompressionParameter.enable_long_distance_matching] = 1
        options[zstd.CompressionParameter.window_log] = window_log
    elif level > 19 and (size_bytes is None or size_bytes > 1 << _WINDOW_LOG):
        options[zstd.CompressionParameter.window_log] = _WINDOW_LOG
    return options


@contextmanager
def _zstd_memory() -> Iterator[None]:
    """Translate how the binding reports that a table or the window could not be allocated."""
    try:
        yield
    except zstd.ZstdError as error:
        if "memory" in str(error).lower() or "allocat" in str(error).lower():
            raise MemoryError(str(error)) from error
        raise


class BrotliPacker(Packer):
    """Writes one Brotli stream, on one core: the format's library has no threads."""

    def __init__(self, sink: Sink, level: int) -> None:
        self.method = f"brotli {level}"
        self._sink = sink
        self._cutter = Cutter(_BROTLI_PORTION_BYTES)
        self._compressor: Any = brotli.Compressor(quality=level)

    def write(self, data: bytes, /) -> int:
        """Compress the next bytes of the input."""
        for portion in self._cutter.add(bytes(data)):
            if out := self._compressor.process(portion):
                self._sink.write(out)
        return len(data)

    def finish(self) -> None:
        """Write what is left, and the end of the stream."""
        out = self._compressor.process(self._cutter.rest())
        self._sink.write(out + self._compressor.finish())
