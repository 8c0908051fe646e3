"""Compress: one file into one gzip member, zlib stream, raw deflate stream or zstd frame.

Which backend runs at which level is decided by measured ratio, not by the number asked for: the
libraries number their levels differently, and some of zlib-ng's and libdeflate's compress less
than the standard library's level of the same number. 32 MiB of generated JSON logs and 32 MiB of
Python source, one core, Python 3.11, MB/s of CPU time and input/output:

    ================  ==============  ==============
    backend, level    JSON logs       source text
    ================  ==============  ==============
    stdlib zlib 1      120     4.90     65     3.59
    stdlib zlib 6       37     6.08     21     4.47
    stdlib zlib 9       10     6.46      6     4.51
    libdeflate 1       154     5.41    121     3.99
    libdeflate 6        56     6.50     49     4.47
    libdeflate 7        45     6.68     30     4.51
    libdeflate 8        24     6.86     26     4.55
    libdeflate 9        27     6.91     17     4.56
    libdeflate 10        5     7.02      5     4.74
    libdeflate 12        2     7.12      2     4.75
    zlib-ng 6           47     6.22     34     4.43
    zlib-ng 7           43     6.49     22     4.48
    zlib-ng 8           27     6.66     11     4.50
    zlib-ng 9           28     6.16     16     4.50
    isal 1             304     5.22    226     3.68
    zstd 1             181     6.21    119     4.02
    zstd 3             104     5.89     85     4.41
    zstd 9              20     6.68     18     5.33
    zstd 12             10     6.88      9     5.44
    zstd 19              1     7.93      1     6.23
    ================  ==============  ==============

So a number asked for gets the quickest libdeflate level that compresses both at least as well as
the standard library's level of that number. For files above 64 MiB, where zlib-ng streams, its
levels 7 to 9 come within half a percent of that on source text and lie above it on logs.
"""

from __future__ import annotations

import mmap
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, cast

import deflate
from isal import isal_zlib
from pydantic import Field, ValidationInfo, field_validator
from zlib_ng import zlib_ng

from app.ops.base import Operation, Output, Params, Result, Work

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Format = Literal["gzip", "zlib", "deflate-raw", "zstd"]
LevelName = Literal["balanced", "fast", "best"]

_MIB = 1 << 20
_CHUNK_BYTES = _MIB

_WHOLE_BYTES = 64 * _MIB
"""Largest file that libdeflate gets in one call: it needs the result's size in memory, and a
signal waits until it returns."""

_HIGHEST_LEVEL = {"gzip": 9, "zlib": 9, "deflate-raw": 9, "zstd": 22}
_SUFFIX = {"gzip": ".gz", "zlib": ".zz", "deflate-raw": ".deflate", "zstd": ".zst"}
_MEDIA_TYPE = {
    "gzip": "application/gzip",
    "zlib": "application/zlib",
    # Raw deflate has neither signature nor registered name.
    "deflate-raw": "application/octet-stream",
    "zstd": "application/zstd",
}
_WINDOW_BITS = {"gzip": 31, "zlib": 15, "deflate-raw": -15}
_LIBDEFLATE: dict[str, Callable[[Any, int], bytearray]] = {
    "gzip": deflate.gzip_compress,
    "zlib": deflate.zlib_compress,
    "deflate-raw": deflate.deflate_compress,
}

_LIBDEFLATE_LEVEL = {1: 1, 2: 1, 3: 1, 4: 3, 5: 5, 6: 6, 7: 7, 8: 7, 9: 8, "balanced": 6}
_ZLIB_NG_LEVEL = {1: 2, 2: 2, 3: 3, 4: 4, 5: 5, 6: 7, 7: 7, 8: 8, 9: 8, "balanced": 6, "best": 8}

# `best` takes at most some 10 s for 100 MiB at the speeds above, and so keeps within an item's
# default 30 s on a machine that is half as fast.
_LIBDEFLATE_BEST = ((8 * _MIB, 12), (32 * _MIB, 10), (_WHOLE_BYTES, 9))
_ZSTD_BEST = ((8 * _MIB, 19), (sys.maxsize, 12))
_ZSTD_LEVEL = {"fast": 1, "balanced": 3}

# Levels 20 to 22 would take windows up to 128 MiB: 0.8 GiB of memory, nearly all that a worker
# has, and more than the 8 MiB that RFC 9659 lets an HTTP client expect. So they get level 19's
# window (and need 0.14 GiB).
_ZSTD_WINDOW_LOG = 23


class CompressParams(Params):
    """The coding, and how much time to spend on it."""

    format: Format = Field(
        default="gzip",
        description="`gzip`, `zlib` and `deflate-raw` are the same codec in different wrappers.",
    )
    level: LevelName | int = Field(
        default="balanced",
        description="`fast`, `balanced` or `best`, or a number: 1 to 9, for zstd 1 to 22. A "
        "number compresses about as well as the usual tool's level of that number or better, "
        "usually sooner.",
    )

    @field_validator("level", mode="before")
    @classmethod
    def _number_or_name(cls, value: Any) -> Any:
        """Take a query's "9" for 9, and say once, in one sentence, what else is valid."""
        if isinstance(value, str):
            if value in ("balanced", "fast", "best"):
                return value
            if re.fullmatch(r"[+-]?[0-9]{1,6}", value.strip(), re.ASCII):
                return int(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            return value
        raise ValueError("must be fast, balanced, best or a whole number")

    @field_validator("level", mode="after")
    @classmethod
    def _within_the_codec(cls, value: LevelName | int, info: ValidationInfo) -> LevelName | int:
        """Hold a number against the range of the chosen format."""
        chosen = info.data.get("format")
        if isinstance(value, int) and chosen is not None:
            highest = _HIGHEST_LEVEL[chosen]
            if not 1 <= value <= highest:
                raise ValueError(f"must be from 1 to {highest} for {chosen}, and is {value}")
        return value


def compress(work: Work, params: CompressParams) -> Result:
    """Compress the source into one file.

    The same input and parameters give the same bytes: no name, no time. gzip results are one
    member, since many HTTP clients stop after the first. Memory: at most twice the source for
    sources up to 64 MiB in the gzip family, a few MiB and zstd's window otherwise.

    Returns:
        One output, named as the source with `.gz`, `.zz`, `.deflate` or `.zst` added. Facts:
        `format`, `level` as asked, `method` as run, `ratio` (input by output, three decimals;
        None for an empty input).

    Raises:
        MemoryError: the codec's tables do not fit into what the process may use.
        OSError: reading or writing failed.
    """
    size_bytes = work.source.path.stat().st_size
    target = work.folder / f"result{_SUFFIX[params.format]}"
    if params.format == "zstd":
        method = _by_zstd(work.source.path, target, params.level, size_bytes)
    elif params.level != "fast" and size_bytes <= _WHOLE_BYTES:
        method = _by_libdeflate(work.source.path, target, params, size_bytes)
    else:
        method = _by_stream(work.source.path, target, params)
    output = Output(
        path=target,
        name=f"{work.source.name or 'file'}{_SUFFIX[params.format]}",
        media_type=_MEDIA_TYPE[params.format],
    )
    facts = {
        "format": params.format,
        "level": params.level,
        "method": method,
        "ratio": round(size_bytes / target.stat().st_size, 3) if size_bytes else None,
    }
    return Result((output,), facts)


def _by_libdeflate(source: Path, target: Path, params: CompressParams, size_bytes: int) -> str:
    if params.level == "best":
        level = _tier(_LIBDEFLATE_BEST, size_bytes)
    else:
        level = _LIBDEFLATE_LEVEL[params.level]
    run = _LIBDEFLATE[params.format]
    if size_bytes:
        with source.open("rb") as reader, _mapped(reader) as data:
            result = run(data, level)
    else:
        # An empty file cannot be mapped.
        result = run(b"", level)
    with target.open("xb") as writer:
        writer.write(result)
    return f"libdeflate {level}"


def _mapped(file: BinaryIO) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _tier(tiers: Sequence[tuple[int, int]], size_bytes: int) -> int:
    return next(level for up_to_bytes, level in tiers if size_bytes <= up_to_bytes)


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _by_stream(source: Path, target: Path, params: CompressParams) -> str:
    window_bits = _WINDOW_BITS[params.format]
    if params.level == "fast":
        method = "isal 1"
        compressor = cast("_Compressor", isal_zlib.compressobj(1, isal_zlib.DEFLATED, window_bits))
    else:
        level = _ZLIB_NG_LEVEL[params.level]
        method = f"zlib-ng {level}"
        compressor = cast(
            "_Compressor", zlib_ng.compressobj(level, zlib_ng.DEFLATED, window_bits, 9)
        )
    _pump(source, target, compressor)
    return method


def _pump(source: Path, target: Path, compressor: _Compressor) -> None:
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            writer.write(compressor.compress(chunk))
        writer.write(compressor.flush())


def _by_zstd(source: Path, target: Path, asked: LevelName | int, size_bytes: int) -> str:
    if isinstance(asked, int):
        level = asked
    elif asked == "best":
        level = _tier(_ZSTD_BEST, size_bytes)
    else:
        level = _ZSTD_LEVEL[asked]
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: level,
        # The command line tool's default too: damage is noticed, for 4 bytes.
        zstd.CompressionParameter.checksum_flag: 1,
    }
    if level > 19 and size_bytes > 1 << _ZSTD_WINDOW_LOG:
        options[zstd.CompressionParameter.window_log] = _ZSTD_WINDOW_LOG
    try:
        compressor = zstd.ZstdCompressor(options=options)
        # Puts the size into the frame's header and fits the tables of a high level to a small
        # file.
        compressor.set_pledged_input_size(size_bytes)
        _pump(source, target, cast("_Compressor", compressor))
    except zstd.ZstdError as error:
        # How the binding reports that a table or the window could not be allocated.
        if "memory" in str(error).lower() or "allocat" in str(error).lower():
            raise MemoryError(str(error)) from error
        raise
    return f"zstd {level}"


OPERATION = Operation(
    name="compress",
    summary="Compress a file with gzip, zlib, raw deflate or zstd.",
    params=CompressParams,
    runs="process",
    accepts=("*/*",),
    run=compress,
    example={"format": "gzip", "level": "balanced"},
)
