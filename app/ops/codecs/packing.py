"""Packing: compressing one stream, whatever the codec."""

from __future__ import annotations

from collections.abc import Callable

from app.ops.codecs.blocks import Packer, Sink
from app.ops.codecs.bz2_blocks import Bz2Packer
from app.ops.codecs.deflate_blocks import DeflatePacker
from app.ops.codecs.kinds import Codec, Level
from app.ops.codecs.levels import deflate_levels, numbered
from app.ops.codecs.lz4_blocks import Lz4Packer
from app.ops.codecs.streams import BrotliPacker, ZstdPacker
from app.ops.codecs.xz_blocks import XzPacker


def packing(
    file: Sink,
    codec: Codec,
    level: Level = "balanced",
    *,
    cores: Callable[[], int],
    size_bytes: int | None = None,
    window_log: int | None = None,
) -> Packer:
    """Begin a compressed stream: one member, frame or stream that the usual tools read.

    The packer is a context manager. Leaving it finishes the stream; leaving it by an exception
    stops its threads, and what is in `file` by then is of no use. The same input, codec, level and
    `size_bytes` give the same bytes, however the input is divided among calls of `write` and
    however many threads there are. For the shortest way write `bytes` of 1 MiB.

    Args:
        file: gets the result, by `write` alone; not closed.
        codec: which format.
        level: `fast`, `balanced` or `best`, or a number from `LEVELS[codec]`.
        cores: how many threads may compute right now; asked again as the work goes on.
        size_bytes: how much will be written, if known: some codecs keep it in their header, and
            some levels suit themselves to it.
        window_log: for zstd: look for long repetitions in a window of 2 to this power bytes, 10
            to 27; a reader needs as much memory.

    Raises:
        MemoryError: the codec's tables do not fit into what the process may use. `write` and
            leaving may raise it too.
        ValueError: on leaving: `size_bytes` was not true.
    """
    if codec in ("gzip", "zlib", "deflate-raw"):
        return DeflatePacker(file, cores, codec, deflate_levels(level))
    number = numbered(codec, level, size_bytes)
    if codec == "zstd":
        return ZstdPacker(file, cores, number, size_bytes, window_log)
    if codec == "br":
        return BrotliPacker(file, number)
    if codec == "xz":
        return XzPacker(file, cores, number)
    if codec == "bz2":
        return Bz2Packer(file, cores, number)
    return Lz4Packer(file, cores, number, size_bytes)
