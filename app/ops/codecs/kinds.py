"""The codecs: their names, levels, suffixes and media types, and how to know them by content."""

from __future__ import annotations

import zlib
from typing import Literal, get_args

Codec = Literal["gzip", "zlib", "deflate-raw", "zstd", "br", "xz", "bz2", "lz4"]
CODECS: tuple[Codec, ...] = get_args(Codec)

LevelName = Literal["balanced", "fast", "best"]
Level = LevelName | int

_ABOUT: dict[Codec, tuple[str, str, tuple[int, int]]] = {
    "gzip": (".gz", "application/gzip", (1, 9)),
    "zlib": (".zz", "application/zlib", (1, 9)),
    # Raw deflate and Brotli have neither signature nor registered media type.
    "deflate-raw": (".deflate", "application/octet-stream", (1, 9)),
    "zstd": (".zst", "application/zstd", (1, 22)),
    "br": (".br", "application/octet-stream", (0, 11)),
    "xz": (".xz", "application/x-xz", (0, 9)),
    "bz2": (".bz2", "application/x-bzip2", (1, 9)),
    "lz4": (".lz4", "application/x-lz4", (1, 12)),
}
SUFFIXES = {codec: suffix for codec, (suffix, _, _) in _ABOUT.items()}
MEDIA_TYPES = {codec: media_type for codec, (_, media_type, _) in _ABOUT.items()}
LEVELS = {codec: levels for codec, (_, _, levels) in _ABOUT.items()}
"""Lowest and highest number, as the codec's usual command line tool counts them."""

TarFormat = Literal["tar.gz", "tar.zst", "tar.xz", "tar.bz2", "tar.lz4"]

TAR_FORMATS: dict[Codec, TarFormat] = {
    "gzip": "tar.gz",
    "zstd": "tar.zst",
    "xz": "tar.xz",
    "bz2": "tar.bz2",
    "lz4": "tar.lz4",
}
"""What a tar is called that a codec has compressed."""


def check_level(codec: Codec, level: Level, called: str) -> None:
    """Raise `ValueError` if `level` is a number out of the codec's range.

    `called` is the format's name as the client knows it.
    """
    lowest, highest = LEVELS[codec]
    if isinstance(level, int) and not lowest <= level <= highest:
        raise ValueError(f"must be from {lowest} to {highest} for {called}, and is {level}")


_MAGIC: dict[Codec, tuple[bytes, ...]] = {
    "gzip": (b"\x1f\x8b\x08",),
    "zstd": (b"\x28\xb5\x2f\xfd",),
    "xz": (b"\xfd7zXZ\x00",),
    # Behind "BZh1" to "BZh9" comes the first block or, if there is none, the end.
    "bz2": tuple(
        b"BZh%d" % level + follows
        for level in range(1, 10)
        for follows in (b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90")
    ),
    "lz4": (b"\x04\x22\x4d\x18",),
}
_SKIPPABLE = tuple(bytes([0x50 + number]) + b"\x2a\x4d\x18" for number in range(16))
"""Frames for notes, which Zstandard (RFC 8878, 3.1.2) and LZ4 share."""
_BEGINNINGS = _MAGIC | {codec: _MAGIC[codec] + _SKIPPABLE for codec in ("zstd", "lz4")}

_ZLIB_TRIAL_BYTES = 512


def codec_of(head: bytes) -> Codec | None:
    """Tell which codec made the file that begins with `head`.

    Raw deflate and Brotli have no signature, so they are never found. zlib (RFC 1950) has a
    header of two bytes with a check in it, which one text in a thousand passes too: so the
    deflate blocks behind it have to make sense as far as `head` goes.

    Args:
        head: the first bytes of the file; 4 KiB are plenty, 16 the least that is of use.
    """
    head = bytes(head)
    head = head[_skippable_bytes(head) :] or head
    for codec, signatures in _MAGIC.items():
        if head.startswith(signatures):
            return codec
    if head.startswith(_SKIPPABLE):
        return "zstd"
    return "zlib" if _is_zlib(head) else None


def begins(codec: Codec, head: bytes) -> bool | None:
    """Tell whether a member, stream or frame of a codec may begin so.

    Args:
        codec: which; raw deflate and Brotli may begin in any way.
        head: the first bytes, 10 or more if there are so many.

    Returns:
        None if there are too few bytes to tell.
    """
    if codec == "zlib":
        return _has_zlib_header(head) if len(head) > 1 else None
    beginnings = _BEGINNINGS.get(codec)
    if beginnings is None:
        return True if head else None
    if head.startswith(beginnings):
        return True
    return None if any(beginning.startswith(head) for beginning in beginnings) else False


def _has_zlib_header(head: bytes) -> bool:
    """Check the two bytes of RFC 1950; a preset dictionary is none that we would have."""
    method, flags = head[0], head[1]
    return (
        method & 15 == zlib.DEFLATED
        and method >> 4 <= 7
        and not flags & 0x20
        and (method << 8 | flags) % 31 == 0
    )


def _is_zlib(head: bytes) -> bool:
    if len(head) < 3 or not _has_zlib_header(head):
        return False
    try:
        zlib.decompressobj().decompress(head, _ZLIB_TRIAL_BYTES)
    except zlib.error:
        return False
    return True


def _skippable_bytes(head: bytes) -> int:
    """Count the bytes of the skippable frames at the beginning, as far as `head` has them."""
    at = 0
    while head[at : at + 4] in _SKIPPABLE and len(head) >= at + 8:
        at += 8 + int.from_bytes(head[at + 4 : at + 8], "little")
    return at
