"""A zip's members: what the directory says, held against what is there."""

from __future__ import annotations

import stat
import struct
from bisect import bisect_right
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from isal import isal_zlib

from app.errors import (
    ArchiveDamaged,
    ArchiveOverlap,
    ArchiveTrailing,
    ArchiveUnsupported,
    MemberEncrypted,
    OffloadError,
)
from app.ops.archives.members import Budget, Kind, Member, kind_problem
from app.ops.archives.zip_data import METHODS, decoded
from app.ops.archives.zip_directory import (
    FULL32,
    LOCAL,
    LOCAL_MARK,
    End,
    Entry,
    find_end,
    read_entries,
    widened,
    zip64_extra,
)

_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_SIZES_FOLLOW = 1 << 3
_PATCH = 1 << 5

_AES = 99
_OTHER_METHODS = {
    1: "Shrink",
    6: "Implode",
    9: "Deflate64",
    95: "xz",
    96: "JPEG",
    97: "WavPack",
    98: "PPMd",
}


class ZipReader:
    """An open zip.

    Raises:
        ArchiveError: it has no usable directory.
        TooManyMembers: over the budget.
    """

    format = "zip"

    def __init__(self, file: BinaryIO, size_bytes: int, budget: Budget) -> None:
        self._file = file
        self._budget = budget
        self._end: End = find_end(file, size_bytes)
        self._entries = read_entries(file, self._end, budget)
        self._offsets = sorted(entry.offset for entry in self._entries)
        self._read_bytes = 0
        stated_bytes = sum(entry.compressed_bytes for entry in self._entries)
        self._total_bytes = min(stated_bytes, size_bytes)

    @property
    def prefix_bytes(self) -> int:
        """Give how much stands in front of the zip."""
        return self._end.prefix_bytes

    def done_bytes(self) -> tuple[int, int]:
        """Tell how many of the compressed bytes have been read."""
        return self._read_bytes, self._total_bytes

    def members(self) -> Iterator[Member]:
        """Give the members in the directory's order.

        Raises:
            ArchiveTrailing: after the last, if something follows the zip.
        """
        for entry in self._entries:
            kind = _kind(entry)
            yield Member(
                entry.name,
                kind,
                entry.size_bytes,
                entry.compressed_bytes,
                _problem(entry, kind),
                partial(self._chunks, entry),
            )
        if self._end.trailing_bytes:
            raise ArchiveTrailing(
                f"{self._end.trailing_bytes} bytes follow the end of the zip, and were not read."
            )

    def _chunks(self, entry: Entry) -> Iterator[bytes]:
        self._file.seek(self._data_start(entry))
        produced, crc = 0, 0
        for chunk in decoded(self._read, entry):
            produced += len(chunk)
            self._budget.decoded(len(chunk))
            if produced > entry.size_bytes:
                raise ArchiveDamaged(f"It is longer than the {entry.size_bytes} bytes it states.")
            crc = isal_zlib.crc32(chunk, crc)
            yield chunk
        if produced != entry.size_bytes:
            raise ArchiveDamaged(f"It is shorter than the {entry.size_bytes} bytes it states.")
        if crc != entry.crc:
            raise ArchiveDamaged("Its checksum does not match its content.")

    def _data_start(self, entry: Entry) -> int:
        """Read the member's own header, and find its data behind it."""
        # An offset of 64 bits can be more than a file can be sought to.
        self._file.seek(min(entry.offset, self._end.start))
        head = self._file.read(LOCAL.size)
        if entry.offset >= self._end.start or not head.startswith(LOCAL_MARK):
            raise ArchiveDamaged("It is not where the zip's directory says.")
        name_bytes, extra_bytes = struct.unpack_from("<2H", head, 26)
        raw_name = self._file.read(name_bytes)
        extra = self._file.read(extra_bytes)
        _check_agreement(entry, head, raw_name, extra)
        start = entry.offset + LOCAL.size + len(raw_name) + len(extra)
        stop = start + entry.compressed_bytes
        if stop > self._end.start:
            raise ArchiveDamaged("It reaches over the end of the zip's members.")
        following = bisect_right(self._offsets, entry.offset)
        if following < len(self._offsets) and stop > self._offsets[following]:
            raise ArchiveOverlap("It shares bytes with the next member.")
        return start

    def _read(self, size_bytes: int) -> bytes:
        data = self._file.read(size_bytes)
        self._read_bytes += len(data)
        return data


def _kind(entry: Entry) -> Kind:
    if entry.is_folder:
        return "folder"
    kinds: dict[int, Kind] = {
        stat.S_IFLNK: "symlink",
        stat.S_IFBLK: "device",
        stat.S_IFCHR: "device",
        stat.S_IFIFO: "fifo",
        stat.S_IFSOCK: "socket",
        stat.S_IFDIR: "folder",
    }
    return kinds.get(stat.S_IFMT(entry.mode), "file")


def _problem(entry: Entry, kind: Kind) -> OffloadError | None:
    problem = kind_problem(kind)
    if problem is not None:
        return problem
    if kind == "folder":
        if entry.size_bytes:
            return ArchiveDamaged("It is a folder, and has content.")
        return None
    if entry.flags & _ENCRYPTED or entry.method == _AES:
        return MemberEncrypted("The member is encrypted; there is no way to give a password.")
    if entry.flags & _PATCH:
        return ArchiveUnsupported("The member is a patch to another file.")
    if entry.method not in METHODS:
        name = _OTHER_METHODS.get(entry.method, f"method {entry.method}")
        return ArchiveUnsupported(
            f"The member is compressed with {name}; stored, deflate, bzip2, LZMA and zstd are read."
        )
    return None


def _check_agreement(entry: Entry, head: bytes, raw_name: bytes, extra: bytes) -> None:
    """Hold the member's own header against the directory's entry.

    Where they differ, one tool shows one file and another unpacks a different one.
    """
    _, _, flags, method, _, _, crc, compressed_bytes, size_bytes, _, _ = LOCAL.unpack(head)
    if raw_name != entry.raw_name:
        raise ArchiveDamaged("Its own header has another name than the zip's directory.")
    if method != entry.method or (flags ^ entry.flags) & _ENCRYPTED:
        raise ArchiveDamaged("Its own header has another coding than the zip's directory.")
    if FULL32 in (size_bytes, compressed_bytes):
        size_bytes, compressed_bytes = widened((size_bytes, compressed_bytes), zip64_extra(extra))
    here = (crc, compressed_bytes, size_bytes)
    there = (entry.crc, entry.compressed_bytes, entry.size_bytes)
    # Written before they were known, they stand behind the data and are zero here.
    later = bool(flags & _SIZES_FOLLOW)
    if any(h != t and not (later and h == 0) for h, t in zip(here, there, strict=True)):
        raise ArchiveDamaged("Its own header has other sizes than the zip's directory.")
