"""Inspect: what is this file? By its content, in one pass, without making another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from isal import isal_zlib
from pydantic import Field, field_validator

from app.ops import spellings
from app.ops.base import Operation, Params, Result, Work
from app.ops.codecs.kinds import codec_of
from app.ops.imaging.facts import describe_picture
from app.ops.inspecting.contents import describe_archive
from app.ops.inspecting.names import extension_matches, extension_of
from app.ops.inspecting.streams import describe_stream
from app.ops.inspecting.texts import TextScan, is_text
from app.ops.media_type import HEAD_BYTES, sniff

Digest = Literal["sha256", "sha512", "sha1", "md5", "crc32"]


class InspectParams(Params):
    """What to find out beside what the content says itself."""

    digests: tuple[Digest, ...] = Field(default=("sha256",), max_length=5)
    """Which checksums to compute, hexadecimal. As a list, or in a query separated by commas. `sha1`
    and `md5` are for comparing with old records, not against forgery."""
    verify: bool = True
    """Whether to decode a picture whole, to tell if it is damaged further down. Done up to the
    pixel limit. Archives and compressed files are never decoded for that."""

    _list_or_text = field_validator("digests", mode="before")(spellings.listed)


def inspect(work: Work, params: InspectParams) -> Result:
    """Tell what the source is. Damaged content is told of, not refused.

    Returns:
        No output. Facts: `media_type` by content; `size_bytes`; `digests`; `extension` and
        `extension_matches`, null where there is nothing to compare. Further one block each for
        what it is: `picture` (see `describe_picture`), `compression` (`describe_stream`),
        `archive` (`describe_archive`), `text` (`TextScan.facts`).

        A picture's block has `format`; `readable` with a `reason` if not, and `verified`;
        `width_px` and `height_px` as it is seen, `stored_width_px` and `stored_height_px` as it
        is kept, and the `orientation` (EXIF, 1 to 8) between them; `frames`; `animation` with
        `delays_ms` (the first 1,000), `duration_ms` and `loops` (0: for ever); `colours`,
        `channels`, `bits_per_channel`, `palette`, `alpha`, `progressive`, `chroma_subsampling`;
        `icc_profile` with `name` and `size_bytes`; `metadata` with `exif`, `gps` (whether it
        tells a place), `xmp` and `iptc`, null where that cannot be told.

    Raises:
        OperationFailed: the file is a picture, and libvips is missing or too old.
    """
    source = work.source
    with source.open() as file:
        head = file.read(HEAD_BYTES)
    media_type = sniff(head)
    scan = TextScan() if is_text(media_type) else None
    facts: dict[str, Any] = {
        "media_type": media_type,
        "size_bytes": source.size_bytes,
        "digests": _digests(work, params.digests, scan),
        "extension": extension_of(source.name),
        "extension_matches": extension_matches(source.name, media_type),
    }
    if scan is not None:
        facts["text"] = scan.facts()
    return Result(facts=facts | _blocks(work, params, head, media_type))


def _blocks(work: Work, params: InspectParams, head: bytes, media_type: str) -> dict[str, Any]:
    blocks: dict[str, Any] = {}
    if media_type.startswith("image/"):
        blocks["picture"] = describe_picture(work.source.content, work.limits, verify=params.verify)
    codec = codec_of(head)
    if codec is not None:
        blocks["compression"] = describe_stream(head, codec)
    # Office documents, Java archives and the like are zip files of another name.
    if codec is not None or media_type.startswith("application/"):
        archive = describe_archive(work.source)
        if archive is not None:
            blocks["archive"] = archive
    return blocks


class _Crc32:
    """CRC-32 as gzip and zip have it (RFC 1952, 8), in the shape of a hash."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = isal_zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def _digests(work: Work, names: tuple[Digest, ...], scan: TextScan | None) -> dict[str, str]:
    """Read the file once, for all that wants to see every byte."""
    hashes = {
        name: _Crc32() if name == "crc32" else hashlib.new(name, usedforsecurity=False)
        for name in names
    }
    for piece in work.pieces():
        for one in hashes.values():
            one.update(piece)
        if scan is not None:
            scan.feed(piece)
    return {name: one.hexdigest() for name, one in hashes.items()}


def _weight_ms(size_bytes: int, params: Mapping[str, Any]) -> float:
    # Of a picture; of what is none it is a fifth.
    return 1 + (30 if params.get("verify", True) else 6) * size_bytes / (1 << 20)


OPERATION = Operation(
    name="inspect",
    summary="Tell what a file is: type, size, digests, and what its content says of itself.",
    params=InspectParams,
    runs="process",
    accepts=("*/*",),
    run=inspect,
    takes_bytes=True,
    weight_ms=_weight_ms,
    example={"digests": ["sha256", "md5"]},
)
