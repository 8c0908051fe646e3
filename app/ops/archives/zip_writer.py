"""Writing a zip (APPNOTE 6.3) that every tool opens.

Sizes stand in front of the data, zip64 is used only where a value needs it, and names that are
not ASCII are marked as UTF-8. Not with `zipfile`: it deflates with zlib, on one core.
"""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self

from isal import isal_zlib

from app.ops.archives.zip_directory import (
    END,
    END64,
    END64_MARK,
    END_MARK,
    ENTRY,
    ENTRY_MARK,
    FULL16,
    FULL32,
    LOCAL,
    LOCAL_MARK,
    LOCATOR,
    LOCATOR_MARK,
    UTF8,
)
from app.ops.codecs.blocks import Lane, Sink
from app.ops.codecs.kinds import Level
from app.ops.codecs.packing import packing

_STORED, _DEFLATED = 0, 8
_PLAIN_VERSION, _ZIP64_VERSION = 20, 45
_MADE_ON_UNIX = 3 << 8
_MODE = 0o100644 << 16
"""An ordinary file that its owner may write and everybody read."""

_WHOLE_BYTES = 4 << 20
"""Up to here a file is compressed whole, in memory, beside others; above, by itself in blocks."""
_MAX_THREADS = 8
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Packed:
    """A small file, ready to be written."""

    data: bytes
    method: int
    how: str
    crc: int
    size_bytes: int


@dataclass(slots=True)
class _Written:
    """What the directory says of a member."""

    raw_name: bytes
    method: int
    offset: int
    size_bytes: int
    crc: int = 0
    compressed_bytes: int = 0


class ZipWriter:
    """Writes a zip to a file that can be sought in.

    A context manager: leaving it writes the directory, leaving it by an exception does not.
    Small files are compressed beside each other, large ones in blocks, by as many threads as
    `cores` tells; the bytes are the same however many these are.

    Args:
        file: empty, open for writing; not closed.
        level: of deflate.
        modified: the time that all members carry; to 2 s, without a zone.
        cores: see `Work.cores`.
        wrote: called with how many bytes of the input are through.
    """

    def __init__(
        self,
        file: BinaryIO,
        level: Level,
        modified: datetime,
        cores: Callable[[], int],
        wrote: Callable[[int], None],
    ) -> None:
        self._file = file
        self._level: Level = level
        self._date = (modified.year - 1980) << 9 | modified.month << 5 | modified.day
        self._time = modified.hour << 11 | modified.minute << 5 | modified.second // 2
        self._cores = cores
        self._wrote = wrote
        self._lane = Lane(self._take, cores, _MAX_THREADS)
        self._waiting: list[str] = []
        self._members: list[_Written] = []
        self.methods: set[str] = set()
        """How members were compressed: libraries with their levels, or `stored`."""
        self.stored = 0
        """How many members were not compressed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the directory, unless something went wrong."""
        try:
            if kind is None:
                self._lane.finish()
                self._write_directory()
        finally:
            self._lane.stop()

    def add(self, path: Path, name: str, *, deflated: bool) -> None:
        """Add a file as a member.

        Args:
            path: the file.
            name: in the archive, `/` between folders.
            deflated: whether to try; what would not get smaller is stored in any case.
        """
        size_bytes = path.stat().st_size
        if size_bytes <= _WHOLE_BYTES:
            self._waiting.append(name)
            self._lane.put(partial(_packed, path, self._level, deflated))
            return
        self._lane.finish()
        self._add_large(path, name, size_bytes, deflated=deflated)

    def _take(self, packed: _Packed) -> None:
        """Write a small file; they come in the order in which they were added."""
        name = self._waiting.pop(0).encode()
        member = _Written(name, packed.method, self._file.tell(), packed.size_bytes)
        member.crc, member.compressed_bytes = packed.crc, len(packed.data)
        self._file.write(self._local_header(member))
        self._file.write(packed.data)
        self._keep(member, packed.how)
        self._wrote(packed.size_bytes)

    def _add_large(self, path: Path, name: str, size_bytes: int, *, deflated: bool) -> None:
        method = _DEFLATED if deflated else _STORED
        member = _Written(name.encode(), method, self._file.tell(), size_bytes)
        # Zeros for what is not known yet; it has the same length.
        self._file.write(self._local_header(member))
        start = self._file.tell()
        how = self._deflate(path, member) if deflated else ""
        compressed_bytes = self._file.tell() - start
        if not deflated or compressed_bytes >= size_bytes:
            self._file.seek(start)
            self._file.truncate()
            member.method, how = _STORED, "stored"
            self._copy(path, member, self._file, told=not deflated)
        member.compressed_bytes = self._file.tell() - start
        self._file.seek(member.offset)
        self._file.write(self._local_header(member))
        self._file.seek(0, io.SEEK_END)
        self._keep(member, how)

    def _deflate(self, path: Path, member: _Written) -> str:
        with packing(self._file, "deflate-raw", self._level, cores=self._cores) as packer:
            self._copy(path, member, packer, told=True)
        return packer.method

    def _copy(self, path: Path, member: _Written, sink: Sink, *, told: bool) -> None:
        member.crc = 0
        with path.open("rb") as reader:
            while chunk := reader.read(_CHUNK_BYTES):
                member.crc = isal_zlib.crc32(chunk, member.crc)
                sink.write(chunk)
                if told:
                    self._wrote(len(chunk))

    def _keep(self, member: _Written, how: str) -> None:
        self._members.append(member)
        self.methods.add(how)
        self.stored += member.method == _STORED

    def _local_header(self, member: _Written) -> bytes:
        # What is deflated never stays if it is larger than the file, so the file's own size
        # decides for both.
        wide = member.size_bytes >= FULL32
        sizes = (member.size_bytes, member.compressed_bytes)
        extra = struct.pack("<2H2Q", 1, 16, *sizes) if wide else b""
        fixed = LOCAL.pack(
            LOCAL_MARK,
            _ZIP64_VERSION if wide else _PLAIN_VERSION,
            *self._described(member),
            FULL32 if wide else member.compressed_bytes,
            FULL32 if wide else member.size_bytes,
            len(member.raw_name),
            len(extra),
        )
        return fixed + member.raw_name + extra

    def _described(self, member: _Written) -> tuple[int, ...]:
        """Give what both headers of a member say in a row: flags, method, time, date, CRC."""
        flags = 0 if member.raw_name.isascii() else UTF8
        return flags, member.method, self._time, self._date, member.crc

    def _write_directory(self) -> None:
        start = self._file.tell()
        for member in self._members:
            self._file.write(self._entry(member))
        stop = self._file.tell()
        count, length = len(self._members), stop - start
        if count >= FULL16 or length >= FULL32 or start >= FULL32:
            versions = _MADE_ON_UNIX | _ZIP64_VERSION, _ZIP64_VERSION
            wide = (END64.size - 12, *versions, 0, 0, count, count, length, start)
            self._file.write(END64.pack(END64_MARK, *wide))
            self._file.write(LOCATOR.pack(LOCATOR_MARK, 0, stop, 1))
        counts = (min(count, FULL16),) * 2
        place = min(length, FULL32), min(start, FULL32)
        self._file.write(END.pack(END_MARK, 0, 0, *counts, *place, 0))

    def _entry(self, member: _Written) -> bytes:
        values = (member.size_bytes, member.compressed_bytes, member.offset)
        wide = [value for value in values if value >= FULL32]
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        version = _ZIP64_VERSION if wide else _PLAIN_VERSION
        fixed = ENTRY.pack(
            ENTRY_MARK,
            _MADE_ON_UNIX | version,
            version,
            *self._described(member),
            min(member.compressed_bytes, FULL32),
            min(member.size_bytes, FULL32),
            len(member.raw_name),
            len(extra),
            *(0, 0, 0),  # comment, disk, internal attributes
            _MODE,
            min(member.offset, FULL32),
        )
        return fixed + member.raw_name + extra


def _packed(path: Path, level: Level, deflated: bool, _: threading.Event) -> _Packed:
    data = path.read_bytes()
    crc = isal_zlib.crc32(data)
    if deflated and data:
        shrunk, how = _deflated(data, level)
        if len(shrunk) < len(data):
            return _Packed(shrunk, _DEFLATED, how, crc, len(data))
    return _Packed(data, _STORED, "stored", crc, len(data))


def _deflated(data: bytes, level: Level) -> tuple[bytes, str]:
    sink = io.BytesIO()
    with packing(sink, "deflate-raw", level, cores=lambda: 1) as packer:
        packer.write(data)
    return sink.getvalue(), packer.method
