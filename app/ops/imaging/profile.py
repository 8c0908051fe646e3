"""The name of a colour profile."""

from __future__ import annotations

import struct

_HEADER_BYTES = 128
_MOST_TAGS = 200
_MOST_CHARACTERS = 200


def profile_name(profile: bytes) -> str | None:
    """Read the description out of an ICC profile, version 2 or 4.

    Follows ICC.1:2022, 7.3 (the tag table) and 10.15 (`mluc`, of which the first record is
    taken), and ICC.1:2001-04, 6.5.17 (`desc`).

    Returns:
        None if there is none, or it cannot be read.
    """
    try:
        tag = _description(profile)
        return _text(tag)[:_MOST_CHARACTERS].split("\x00")[0].strip() or None
    except (struct.error, UnicodeDecodeError):
        return None


def _description(profile: bytes) -> bytes:
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    for number in range(min(count, _MOST_TAGS)):
        at = _HEADER_BYTES + 4 + 12 * number
        signature, offset, size_bytes = struct.unpack_from(">4sII", profile, at)
        if signature == b"desc":
            return profile[offset : offset + size_bytes]
    return b""


def _text(tag: bytes) -> str:
    if tag[:4] == b"desc":
        (length,) = struct.unpack_from(">I", tag, 8)
        return tag[12 : 12 + length].decode("ascii")
    if tag[:4] == b"mluc":
        length, offset = struct.unpack_from(">II", tag, 20)
        return tag[offset : offset + length].decode("utf-16-be")
    return ""
