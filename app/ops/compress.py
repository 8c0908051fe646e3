"""Compress: one file into one compressed stream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema, field_validator

from app.ops import spellings
from app.ops.base import Operation, Params, Result, Work
from app.ops.codecs.kinds import MEDIA_TYPES, SUFFIXES, Codec, Level, LevelName, check_level
from app.ops.codecs.packing import packing
from app.ops.codecs.sampling import choose
from app.ops.draft import Draft

Format = Annotated[Literal[Codec, "auto"], BeforeValidator(spellings.compression)]

_LONGEST_WINDOW_LOG = 27
_HTTP_WINDOW_LOG = 23
"""RFC 9659."""


def _window_log(value: Any) -> int | bool:
    """Take "true" for the longest window, and a number for its power of two."""
    text = str(value).strip().lower()
    if text in ("false", "off", "no", "0", ""):
        return False
    if text in ("true", "on", "yes", "1"):
        return _LONGEST_WINDOW_LOG
    if re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) and 10 <= int(text) <= _LONGEST_WINDOW_LOG:
        return int(text)
    raise ValueError(f"must be true, false or a whole number from 10 to {_LONGEST_WINDOW_LOG}")


_WindowLog = Annotated[
    int, WithJsonSchema({"type": "integer", "minimum": 10, "maximum": _LONGEST_WINDOW_LOG})
]


class CompressParams(Params):
    """The coding, and how much time to spend on it."""

    format: Format = "gzip"
    """`gzip`, `zlib` and `deflate-raw` are the same codec in different wrappers. `auto` compresses
    samples of the file and takes the format that saves most for its time, gzip unless another is
    smaller; a file that hardly shrinks is then passed on as it is."""
    level: LevelName | spellings.LevelNumber = "balanced"
    """`fast`, `balanced` or `best`, or a number as the codec's usual tool counts: 1 to 9 for gzip,
    zlib, deflate-raw and bz2, 1 to 22 for zstd, 0 to 11 for br, 0 to 9 for xz, 1 to 12 for lz4. A
    number compresses about as well as the usual tool's level of that number or better, usually
    sooner. `auto` takes the three names only."""
    skip_if_larger: bool = False
    """Pass the file on as it is, with its name and type, if the result would not be smaller."""
    long: bool | _WindowLog = False
    """For zstd: look for repetitions further back. `true` is a window of 128 MiB, a number from 10
    to 27 one of 2 to that power bytes. Whoever reads the result needs as much memory; the zstd tool
    allows it, HTTP clients stop at 8 MiB (23)."""

    _level_is_number_or_name = field_validator("level", mode="before")(spellings.level)
    _long_is_a_window = field_validator("long", mode="before")(_window_log)

    @field_validator("level", mode="after")
    @classmethod
    def _within_the_codec(cls, value: Level, info: ValidationInfo) -> Level:
        """Hold a number against the range of the chosen format."""
        chosen = info.data.get("format")
        if isinstance(value, int) and chosen is not None:
            if chosen == "auto":
                raise ValueError("must be fast, balanced or best where the format is auto")
            check_level(chosen, value, chosen)
        return value

    @field_validator("long", mode="after")
    @classmethod
    def _long_is_for_zstd(cls, value: bool | int, info: ValidationInfo) -> bool | int:
        if value and info.data.get("format") not in ("zstd", None):
            raise ValueError("is for zstd only")
        return value


def compress(work: Work, params: CompressParams) -> Result:
    """Compress the source into one file.

    The same input and parameters give the same bytes: no name, no time, whatever number of threads,
    however busy the machine. gzip results are one member, since many HTTP clients stop
    after the first. Large inputs are compressed in blocks by as many threads as may compute.
    Memory: some MiB for each block in work, and the codec's tables, whatever the source's size.

    Returns:
        One output, named as the source with the format's suffix added; or the source itself, if
        `skip_if_larger` or `auto` found that better. Facts: `format` (None for the source
        itself), `level` as asked or, by `auto`, as chosen, `method` as run, `ratio` (input by
        output, three decimals; None for an empty input); `kept` says why the source was passed
        on; `auto` how the format was chosen; `window_bytes` and `reader` what reading a `long`
        window takes.

    Raises:
        MemoryError: the codec's tables do not fit into what the process may use.
        OSError: reading or writing failed.
    """
    level: Level = params.level
    facts: dict[str, Any] = {"format": params.format, "level": level}
    if params.format == "auto":
        choice = choose(work.source, cast("LevelName", level), work.limits.time_s)
        facts["auto"] = choice.facts
        if choice.codec is None:
            return _kept(work, facts, choice.why)
        codec, level = choice.codec, choice.level
        facts |= {"format": codec, "level": level}
    else:
        codec = params.format
    size_bytes = work.source.size_bytes
    with Draft(work) as draft:
        facts["method"] = _pack(work, draft, codec, level, params.long)
        packed_bytes = draft.size_bytes
        if packed_bytes >= size_bytes and (params.skip_if_larger or params.format == "auto"):
            draft.discard()
            return _kept(work, facts, f"{codec} would make {packed_bytes} bytes of {size_bytes}.")
    facts["ratio"] = round(size_bytes / packed_bytes, 3) if size_bytes else None
    if params.long:
        facts |= _reading(params.long)
    name = f"{work.source.name or 'file'}{SUFFIXES[codec]}"
    return Result((draft.output(name, MEDIA_TYPES[codec]),), facts)


def _pack(work: Work, draft: Draft, codec: Codec, level: Level, long: bool | int) -> str:
    """Write the result; returns the method that was used."""
    known = {"size_bytes": work.source.size_bytes, "window_log": int(long) or None}
    with packing(draft, codec, level, cores=work.cores, **known) as packer:
        for piece in work.pieces():
            packer.write(piece)
    return packer.method


def _kept(work: Work, facts: dict[str, Any], why: str) -> Result:
    """Pass the source on as it is."""
    source = work.source
    # Not a link: the result is taken over by rename, and must not be the source itself.
    with Draft(work) as draft:
        for piece in work.pieces():
            draft.write(piece)
    ratio = 1.0 if draft.size_bytes else None
    facts |= {"format": None, "method": "none", "ratio": ratio, "kept": why}
    return Result((draft.output(source.name or "file", source.media_type),), facts)


def _reading(window_log: int) -> dict[str, Any]:
    window_bytes = 1 << window_log
    if window_log <= _HTTP_WINDOW_LOG:
        reader = "Every reader of zstd that holds a window of 8 MiB, HTTP clients included."
    else:
        reader = (
            f"A reader that holds a window of {window_bytes >> 20} MiB. The zstd tool does without "
            "being asked; HTTP clients need not go beyond 8 MiB (RFC 9659)."
        )
    return {"window_bytes": window_bytes, "reader": reader}


_MIB_MS: dict[str, tuple[float, float, float]] = {
    "gzip": (4, 20, 220),
    "zlib": (4, 20, 220),
    "deflate-raw": (4, 20, 220),
    "zstd": (5, 25, 500),
    "br": (15, 50, 2500),
    "lz4": (3, 15, 40),
    "bz2": (100, 125, 125),
    "xz": (150, 400, 700),
    "auto": (60, 1500, 4000),
}
"""Milliseconds for a MiB: fast, balanced and best."""


def _weight_ms(size_bytes: int, params: Mapping[str, Any]) -> float:
    level = params.get("level", "balanced")
    place = {"fast": 0, "balanced": 1, "best": 2}.get(level, 2)
    return 0.1 + _MIB_MS[params.get("format", "gzip")][place] * size_bytes / (1 << 20)


OPERATION = Operation(
    name="compress",
    summary="Compress a file: gzip, zlib, raw deflate, zstd, Brotli, xz, bzip2 or LZ4.",
    params=CompressParams,
    runs="process",
    accepts=("*/*",),
    run=compress,
    takes_bytes=True,
    weight_ms=_weight_ms,
    example={"format": "zstd", "level": "best"},
)
