"""Decompress: what one compressed file holds, as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BeforeValidator, Field

from app.errors import CodecUnknown, OutputTooLarge, RatioExceeded
from app.ops import spellings
from app.ops.base import MAX_BYTES, MAX_RATIO, Operation, Params, Result, Work, by_size
from app.ops.codecs.kinds import SUFFIXES, Codec, codec_of
from app.ops.codecs.unpacking import Unpacker
from app.ops.draft import Draft
from app.ops.media_type import HEAD_BYTES, sniff
from app.ops.text_types import Word, called

_READ_BYTES = 1 << 20

_FREE_BYTES = 16 << 20
"""Less than this is never too much for its size: a page of zeros packs to next to nothing."""

# By suffix of the name; the second is what is left of the name then.
_ENDINGS: dict[Codec, dict[str, str]] = {codec: {suffix: ""} for codec, suffix in SUFFIXES.items()}
_ENDINGS["gzip"] |= {".tgz": ".tar", ".gzip": "", ".z": "", "-gz": ""}
_ENDINGS["zlib"] |= {".zlib": "", ".z": ""}
_ENDINGS["zstd"] |= {".tzst": ".tar", ".zstd": ""}
_ENDINGS["xz"] |= {".txz": ".tar"}
_ENDINGS["bz2"] |= {".tbz2": ".tar", ".tbz": ".tar", ".bz": ""}
_ENDINGS["br"] |= {".brotli": ""}


class DecompressParams(Params):
    """The coding, and how large the result may be."""

    format: Annotated[Literal[Codec, "auto"], BeforeValidator(spellings.compressed)] = "auto"
    """`auto` goes by content. `br` and `deflate-raw` have no signature, so they have to be
    named."""
    max_output_bytes: int | None = Field(default=None, ge=1, le=MAX_BYTES)
    """Most bytes that the result may have; the service's own limit holds too."""
    max_ratio: float = Field(default=2000.0, ge=1, le=MAX_RATIO)
    """Most bytes of the result for each byte of the file, once the result is over 16 MiB. Deflate
    cannot exceed 1032; other formats come to 2000 only with content that is nearly all one
    repetition."""


def decompress(work: Work, params: DecompressParams) -> Result:
    """Decompress the source into one file.

    All members, frames and streams are read, and their checksums checked. Memory: some MiB and
    the window or dictionary that the stream asks for, at most 128 MiB.

    Returns:
        One output, named as the source without the format's suffix. Facts: `format`, `members`
        (frames or streams too), `input_bytes`, `output_bytes`, `ratio` (output by input, three
        decimals).

    Raises:
        CodecUnknown: the content is in no format with a signature, or not in the one named.
        StreamTruncated: the content ends before its end.
        StreamDamaged: it breaks the format's rules, or a checksum does not fit.
        TrailingData: something else follows.
        MemoryExceeded: the stream asks for too large a window.
        OutputTooLarge: there is more than `max_output_bytes`, or more than one item may produce.
        RatioExceeded: there is more than `max_ratio` allows.
        OSError: reading or writing failed.
    """
    with work.source.open() as reader, Draft(work) as draft:
        codec = _codec(reader, params)
        unpacker = Unpacker(reader, codec)
        head = _pump(unpacker, draft, work, params)
    input_bytes = unpacker.read_bytes
    facts: dict[str, Any] = {
        "format": codec,
        "members": unpacker.members,
        "input_bytes": input_bytes,
        "output_bytes": draft.size_bytes,
        "ratio": round(draft.size_bytes / input_bytes, 3),
    }
    name = _name(work.source.name, codec)
    return Result((draft.output(name, called(sniff(head), Word(name))),), facts)


def _codec(reader: BinaryIO, params: DecompressParams) -> Codec:
    if params.format != "auto":
        return params.format
    codec = codec_of(reader.read(HEAD_BYTES))
    reader.seek(0)
    if codec is None:
        raise CodecUnknown(
            "The content is in no format that can be told by its beginning: gzip, zlib, zstd, xz, "
            "bz2 or lz4. Name `br` or `deflate-raw` if it is one of these."
        )
    return codec


def _pump(unpacker: Unpacker, draft: Draft, work: Work, params: DecompressParams) -> bytes:
    """Write all that there is, or stop at the limit; returns the first bytes."""
    size_bytes = work.source.size_bytes
    allowed_bytes = work.limits.max_output_bytes
    if params.max_output_bytes is not None:
        allowed_bytes = min(allowed_bytes, params.max_output_bytes)
    ratio_bytes = max(_FREE_BYTES, int(params.max_ratio * size_bytes))
    most_bytes = min(allowed_bytes, ratio_bytes)
    head = b""
    # One byte more than may be: to know that there is more.
    while data := unpacker.read(min(_READ_BYTES, most_bytes + 1 - draft.size_bytes)):
        if draft.size_bytes + len(data) > most_bytes:
            raise _too_much(allowed_bytes, ratio_bytes, params)
        draft.write(data)
        head = head or data[:HEAD_BYTES]
        work.tell(unpacker.read_bytes, size_bytes)
    return head


def _too_much(
    allowed_bytes: int, ratio_bytes: int, params: DecompressParams
) -> OutputTooLarge | RatioExceeded:
    if allowed_bytes <= ratio_bytes:
        return OutputTooLarge(
            f"The decompressed content is more than the {allowed_bytes} bytes that it may have.",
            max_bytes=allowed_bytes,
        )
    return RatioExceeded(
        f"The decompressed content is more than {params.max_ratio:g} times the compressed size "
        f"(over {ratio_bytes} bytes).",
        max_ratio=params.max_ratio,
    )


def _name(name: str, codec: Codec) -> str:
    """Give the name without the format's suffix, or with one that says what became of it."""
    path = Path(name)
    for ending, instead in _ENDINGS[codec].items():
        if path.name.lower().endswith(ending) and len(path.name) > len(ending):
            return name[: -len(ending)] + instead
    return name or "file"


OPERATION = Operation(
    name="decompress",
    summary="Decompress a file: gzip, zlib, raw deflate, zstd, Brotli, xz, bzip2 or LZ4.",
    params=DecompressParams,
    runs="process",
    accepts=("*/*",),
    run=decompress,
    takes_bytes=True,
    weight_ms=by_size(0.3, 40),
    example={"format": "auto"},
)
