"""A zip's central directory, read as a stranger's: APPNOTE 6.3, without trust.

The directory says where each member is. Readers differ in what they do where it contradicts
itself, and attackers live off that; here a contradiction is an error. What it says of members is
held against their own headers when they are read (`zip_reader.py`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

from app.errors import ArchiveDamaged, ArchiveOverlap, ArchiveTruncated, ArchiveUnsupported
from app.ops.archives.members import Budget
from app.ops.archives.names import decode, unicode_extra

END = struct.Struct("<4s4H2LH")
END_MARK = b"PK\x05\x06"
LOCATOR = struct.Struct("<4sLQL")
LOCATOR_MARK = b"PK\x06\x07"
END64 = struct.Struct("<4sQ2H2L4Q")
END64_MARK = b"PK\x06\x06"
ENTRY = struct.Struct("<4s6H3L5H2L")
ENTRY_MARK = b"PK\x01\x02"
_SIGNATURE_MARK = b"PK\x05\x05"
_EXTRA = struct.Struct("<2H")

_MAX_COMMENT_BYTES = 0xFFFF
FULL16 = 0xFFFF
FULL32 = 0xFFFF_FFFF
"""Stands in a 16 or 32-bit field whose value is in the zip64 record or field instead."""

LOCAL = struct.Struct("<4s5H3L2H")
"""The fixed part of a member's own header."""
LOCAL_MARK = b"PK\x03\x04"

_ZIP64_EXTRA = 0x0001
_UNICODE_PATH_EXTRA = 0x7075

UTF8 = 1 << 11
"""Flag: the name is UTF-8."""


@dataclass(frozen=True, slots=True)
class End:
    """Where the directory is."""

    entries: int
    """As announced."""
    start: int
    """Of the directory, in bytes from the file's beginning."""
    stop: int
    prefix_bytes: int
    """In front of the zip, and not counted in its offsets."""
    trailing_bytes: int
    """Behind the zip and its comment."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as the directory describes it."""

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    compressed_bytes: int
    size_bytes: int
    offset: int
    """Of its own header, from the file's beginning."""
    mode: int
    """Unix mode with the file type; 0 if there is none."""
    is_folder: bool


def find_end(file: BinaryIO, size_bytes: int) -> End:
    """Find the one end record.

    Raises:
        ArchiveTruncated: there is none, or its comment is cut.
        ArchiveDamaged: there are two that could be it, or it contradicts itself.
        ArchiveUnsupported: the archive is spread over several files.
    """
    window = min(size_bytes, END.size + _MAX_COMMENT_BYTES)
    file.seek(size_bytes - window)
    tail = file.read(window)
    base = size_bytes - window
    exact, early = None, None
    cut: ArchiveTruncated | None = None
    for at in _marks(tail):
        comment_bytes = END.unpack_from(tail, at)[-1]
        over = at + END.size + comment_bytes - len(tail)
        found = _read_end(file, base + at, size_bytes, trailing_bytes=max(-over, 0))
        if found is None:
            continue
        if over > 0:
            cut = cut or ArchiveTruncated("The zip's comment at its end is cut.")
        elif over < 0:
            early = early or found
        elif early or cut:
            raise ArchiveDamaged(
                "The zip's comment holds what could be another end of it; readers would disagree."
            )
        else:
            exact = found
            break
    if exact is not None:
        return exact
    if early is not None:
        return early
    raise cut or ArchiveTruncated("The zip has no directory at its end; it is cut.")


def _marks(tail: bytes) -> Iterator[int]:
    """Give the places of possible end records, the last first."""
    at = tail.rfind(END_MARK)
    while at >= 0:
        if at + END.size <= len(tail):
            yield at
        at = tail.rfind(END_MARK, 0, at + len(END_MARK) - 1)


def _read_end(file: BinaryIO, at: int, size_bytes: int, trailing_bytes: int) -> End | None:
    """Read an end record; None if no directory can be where it says: then it is none."""
    file.seek(at)
    fields = END.unpack(file.read(END.size))
    disk, first_disk, here, entries, length, offset, _ = fields[1:]
    stop = at
    wide = _read_end64(file, at)
    if wide is not None:
        stop, said_stop, *of_wide = wide
        narrow = (disk, first_disk, here, entries, length, offset)
        full = (FULL16, FULL16, FULL16, FULL16, FULL32, FULL32)
        for one, other, marker in zip(narrow, of_wide, full, strict=True):
            if one not in (other, marker):
                raise ArchiveDamaged("The zip's two end records contradict each other.")
        disk, first_disk, here, entries, length, offset = of_wide
    start = stop - length
    prefix_bytes = start - offset
    if start < 0 or prefix_bytes < 0:
        return None
    if wide is not None and said_stop + prefix_bytes != stop:
        raise ArchiveDamaged("The zip64 record is not where its locator says.")
    file.seek(start)
    if length and file.read(4) != ENTRY_MARK:
        return None
    if disk or first_disk or here != entries:
        raise ArchiveUnsupported("The zip is one part of several.")
    return End(entries, start, stop, prefix_bytes, trailing_bytes)


def _read_end64(file: BinaryIO, end_at: int) -> tuple[int, ...] | None:
    """Read the zip64 record before the end record, if there is one.

    Returns:
        Where it is, where its locator says that it is, and its six values that the end record has
        too.
    """
    locator_at = end_at - LOCATOR.size
    if locator_at < 0:
        return None
    file.seek(locator_at)
    mark, _, said_at, _ = LOCATOR.unpack(file.read(LOCATOR.size))
    if mark != LOCATOR_MARK:
        return None
    # With something in front of the zip the record is not where the locator says, but still
    # directly before it.
    for at in dict.fromkeys((said_at, locator_at - END64.size)):
        if 0 <= at <= locator_at - END64.size:
            file.seek(at)
            fields = END64.unpack(file.read(END64.size))
            if fields[0] == END64_MARK and at + 12 + fields[1] == locator_at:
                return (at, said_at, *fields[4:])
    raise ArchiveDamaged("The zip has a zip64 locator, and not the record that belongs to it.")


def read_entries(file: BinaryIO, end: End, budget: Budget) -> list[Entry]:
    """Read the whole directory, each member counted before the next is read.

    Raises:
        ArchiveDamaged: it is cut, or not what the end record announces.
        ArchiveOverlap: two members share bytes.
        TooManyMembers: over the budget.
    """
    budget.check_entries(end.entries)
    entries: list[Entry] = []
    file.seek(end.start)
    left = end.stop - end.start
    while left:
        head = file.read(min(left, ENTRY.size))
        if len(entries) == end.entries and head.startswith(_SIGNATURE_MARK):
            break
        if len(head) < ENTRY.size or not head.startswith(ENTRY_MARK):
            raise ArchiveDamaged("The zip's directory is damaged.")
        fields = ENTRY.unpack(head)
        name_bytes, extra_bytes, comment_bytes = fields[10:13]
        rest_bytes = name_bytes + extra_bytes + comment_bytes
        left -= ENTRY.size + rest_bytes
        if left < 0:
            raise ArchiveDamaged("The zip's directory is damaged: an entry reaches over its end.")
        budget.entry()
        rest = file.read(rest_bytes)
        extra = rest[name_bytes : name_bytes + extra_bytes]
        entries.append(_entry(fields, rest[:name_bytes], extra, end))
    # Without zip64, some writers let the count run over.
    if len(entries) != end.entries and len(entries) & FULL16 != end.entries:
        raise ArchiveDamaged(
            f"The zip announces {end.entries} members, and its directory has {len(entries)}."
        )
    _check_apart(entries)
    return entries


def _entry(fields: tuple[int, ...], raw_name: bytes, extra: bytes, end: End) -> Entry:
    made_by, _, flags, method = fields[1:5]
    crc, compressed_bytes, size_bytes = fields[7:10]
    disk, _, external, offset = fields[13:]
    found = dict(extra_fields(extra))
    size_bytes, compressed_bytes, offset = widened(
        (size_bytes, compressed_bytes, offset), found.get(_ZIP64_EXTRA, b"")
    )
    if disk not in (0, FULL16):
        raise ArchiveUnsupported("The zip is one part of several.")
    name = unicode_extra(found.get(_UNICODE_PATH_EXTRA, b""), raw_name)
    if name is None:
        name = decode(raw_name, utf8=bool(flags & UTF8))
    is_dos = made_by >> 8 in (0, 10, 14)
    return Entry(
        raw_name,
        name,
        flags,
        method,
        crc,
        compressed_bytes,
        size_bytes,
        offset + end.prefix_bytes,
        external >> 16,
        # Windows' own archiver of old writes `folder\`.
        name.endswith("/") or (is_dos and name.endswith("\\")),
    )


def extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Give the extra field's parts by number; what is cut at its end is padding, and left out."""
    at = 0
    while at + _EXTRA.size <= len(extra):
        number, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if at + length <= len(extra):
            yield number, extra[at : at + length]
        at += length


def widened(values: tuple[int, ...], extra: bytes) -> tuple[int, ...]:
    """Take the values that did not fit into 32 bits from the zip64 field, in its order.

    Raises:
        ArchiveDamaged: it does not have them.
    """
    result, at = [], 0
    for value in values:
        if value == FULL32:
            if at + 8 > len(extra):
                raise ArchiveDamaged("A zip64 value is missing in the zip's directory.")
            value = int.from_bytes(extra[at : at + 8], "little")  # noqa: PLW2901
            at += 8
        result.append(value)
    return tuple(result)


def zip64_extra(extra: bytes) -> bytes:
    """Give the zip64 part of an extra field; empty if it has none."""
    return dict(extra_fields(extra)).get(_ZIP64_EXTRA, b"")


def _check_apart(entries: list[Entry]) -> None:
    """Refuse members that share bytes: Fifield's bomb gets 10 MiB out of every 300 bytes so."""
    ordered = sorted(entries, key=lambda entry: entry.offset)
    for one, following in pairwise(ordered):
        least = LOCAL.size + len(one.raw_name) + one.compressed_bytes
        if one.offset + least > following.offset:
            raise ArchiveOverlap(
                f"Two members of the zip share bytes: {one.name[:100]!r} and "
                f"{following.name[:100]!r}."
            )
