"""What libvips does not tell of a TIFF: whether its colours would be wrong, and whose it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, Literal

from app.ops.base import Content, opened

_COMPRESSION, _PHOTOMETRIC = 259, 262
_YCBCR = 6
_JPEG = (6, 7)
"""Old and new style."""

_ASCII = 2
_MOST_ENTRIES = 4096
_MOST_TEXT_BYTES = 8192


@dataclass(frozen=True, slots=True)
class _Entry:
    """One tag of a directory."""

    kind: int
    count: int
    value: bytes
    """Four bytes, eight in BigTIFF: the value itself, or where it is."""


def stores_plain_ycbcr(content: Content) -> bool:
    """Tell whether the first page keeps YCbCr without JPEG compression (TIFF 6.0, section 21).

    libvips gives such pixels out as if they were red, green and blue. With JPEG compression the
    JPEG library converts them.
    """
    with opened(content) as file:
        order, entries = _first_directory(file)
    return (
        _number(entries, _PHOTOMETRIC, order) == _YCBCR
        and _number(entries, _COMPRESSION, order) not in _JPEG
    )


def read_texts(file: BinaryIO, tags: Iterable[int]) -> dict[int, bytes]:
    """Read texts of the first directory, without the zero at their end.

    Args:
        file: a TIFF, or an EXIF block, which is built as one (Exif 3.0, 4.5.2).
        tags: which to look for.
    """
    texts: dict[int, bytes] = {}
    order, entries = _first_directory(file)
    for tag in tags:
        entry = entries.get(tag)
        if entry is None or entry.kind != _ASCII or entry.count > _MOST_TEXT_BYTES:
            continue
        if entry.count <= len(entry.value):
            text = entry.value[: entry.count]
        else:
            text = _read_at(file, int.from_bytes(entry.value, order), entry.count)
        texts[tag] = text.rstrip(b"\x00")
    return texts


Order = Literal["little", "big"]


def _first_directory(file: BinaryIO) -> tuple[Order, dict[int, _Entry]]:
    """Read the tags of a classic TIFF or a BigTIFF.

    What is cut short or makes no sense gives fewer tags: the loader will have its own word on
    it.
    """
    head = file.read(16)
    order: Order = "little" if head[:2] == b"II" else "big"
    big = int.from_bytes(head[2:4], order) == 43
    count_bytes, entry_bytes, value_at = (8, 20, 12) if big else (2, 12, 8)
    at = int.from_bytes(head[8:16] if big else head[4:8], order)
    count = int.from_bytes(_read_at(file, at, count_bytes), order)
    packed = file.read(min(count, _MOST_ENTRIES) * entry_bytes) if count else b""
    entries: dict[int, _Entry] = {}
    for start in range(0, len(packed) - entry_bytes + 1, entry_bytes):
        entry = packed[start : start + entry_bytes]
        tag = int.from_bytes(entry[:2], order)
        kind = int.from_bytes(entry[2:4], order)
        entries[tag] = _Entry(kind, int.from_bytes(entry[4:value_at], order), entry[value_at:])
    return order, entries


def _read_at(file: BinaryIO, at: int, size_bytes: int) -> bytes:
    try:
        file.seek(at)
    except (OSError, OverflowError, ValueError):
        # Behind the end of what a file can be; of 2^63 and more, Python says ValueError.
        return b""
    return file.read(size_bytes)


def _number(entries: dict[int, _Entry], tag: int, order: Order) -> int | None:
    """Give a short or long value that stands in the directory itself."""
    entry = entries.get(tag)
    value_bytes = {3: 2, 4: 4}.get(entry.kind) if entry else None
    return int.from_bytes(entry.value[:value_bytes], order) if entry and value_bytes else None
