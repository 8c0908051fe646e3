"""What the first bytes of a compressed file say of it; nothing is decompressed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from app.moments import rfc3339
from app.ops.codecs.kinds import Codec

_GZIP_EXTRA, _GZIP_NAME, _GZIP_COMMENT = 4, 8, 16
_XZ_CHECKS = {0: "none", 1: "crc32", 4: "crc64", 10: "sha256"}
_LZ4_BLOCK_BYTES = {4: 64 << 10, 5: 256 << 10, 6: 1 << 20, 7: 4 << 20}


def describe_stream(head: bytes, codec: Codec) -> dict[str, Any]:
    """Tell what a compressed stream's header says.

    Args:
        head: the file's first bytes; a header that goes on behind them is told as far as it is
            there.
        codec: what `codec_of` called it.

    Returns:
        `codec`, and what the format keeps, where the stream has it: `name` and `modified` (gzip,
        RFC 1952), `content_size_bytes`, `window_bytes` and `checksum` (zstd, RFC 8878), `check`
        (xz), `block_bytes` (bz2, lz4).
    """
    describe = _BY_CODEC.get(codec)
    return {"codec": codec, **(describe(head) if describe else {})}


def _gzip(head: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if len(head) < 10:
        return facts
    flags, modified_s = head[3], int.from_bytes(head[4:8], "little")
    at = 10
    if flags & _GZIP_EXTRA:
        at += 2 + int.from_bytes(head[10:12], "little")
    if flags & _GZIP_NAME and (end := head.find(0, at)) >= 0:
        facts["name"] = head[at:end].decode("latin-1")
        at = end + 1
    if flags & _GZIP_COMMENT and (end := head.find(0, at)) >= 0:
        facts["comment"] = head[at:end].decode("latin-1")
    if modified_s:
        facts["modified"] = rfc3339(datetime.fromtimestamp(modified_s, UTC))
    return facts


def _zlib(head: bytes) -> dict[str, Any]:
    return {"window_bytes": 1 << (8 + (head[0] >> 4))}


def _zstd(head: bytes) -> dict[str, Any]:
    """Read a frame header (RFC 8878, 3.1.1.1)."""
    if head[:4] != b"\x28\xb5\x2f\xfd" or len(head) < 6:
        return {}
    descriptor = head[4]
    is_single = bool(descriptor & 0x20)
    at = 5
    window_bytes: int | None = None
    if not is_single:
        base = 1 << (10 + (head[5] >> 3))
        window_bytes = base + base // 8 * (head[5] & 7)
        at = 6
    id_bytes = (0, 1, 2, 4)[descriptor & 3]
    dictionary = int.from_bytes(head[at : at + id_bytes], "little")
    at += id_bytes
    size_bytes_length = (1 if is_single else 0, 2, 4, 8)[descriptor >> 6]
    facts: dict[str, Any] = {"checksum": bool(descriptor & 4)}
    if size_bytes_length and len(head) >= at + size_bytes_length:
        size_bytes = int.from_bytes(head[at : at + size_bytes_length], "little")
        # Two bytes begin to count where one byte ends.
        facts["content_size_bytes"] = size_bytes + (256 if size_bytes_length == 2 else 0)
    window = window_bytes if window_bytes is not None else facts.get("content_size_bytes")
    return {**facts, "window_bytes": window, **({"dictionary": dictionary} if dictionary else {})}


def _xz(head: bytes) -> dict[str, Any]:
    """Read the stream flags (the .xz file format 1.2.1, 2.1.1.2)."""
    return {"check": _XZ_CHECKS.get(head[7] & 15, "unknown")} if len(head) > 7 else {}


def _bz2(head: bytes) -> dict[str, Any]:
    return {"block_bytes": (head[3] - ord("0")) * 100_000}


def _lz4(head: bytes) -> dict[str, Any]:
    """Read a frame descriptor (LZ4 frame format 1.6.4)."""
    if head[:4] != b"\x04\x22\x4d\x18" or len(head) < 6:
        return {}
    flags = head[4]
    facts: dict[str, Any] = {
        "block_bytes": _LZ4_BLOCK_BYTES.get(head[5] >> 4 & 7),
        "checksum": bool(flags & 4),
    }
    if flags & 8 and len(head) >= 14:
        facts["content_size_bytes"] = int.from_bytes(head[6:14], "little")
    return facts


_BY_CODEC: dict[Codec, Callable[[bytes], dict[str, Any]]] = {
    "gzip": _gzip,
    "zlib": _zlib,
    "zstd": _zstd,
    "xz": _xz,
    "bz2": _bz2,
    "lz4": _lz4,
}
