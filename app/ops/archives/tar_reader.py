"""A tar's members, read in one pass with bounded memory: `tarfile` has neither promise.

It takes a damaged header for the end, and reads an extended header of any length into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, Protocol

from app.errors import (
    ArchiveDamaged,
    ArchiveTrailing,
    ArchiveTruncated,
    ArchiveUnsupported,
    OffloadError,
)
from app.ops.archives.members import CHUNK_BYTES, Budget, Kind, Member, kind_problem
from app.ops.archives.tar_headers import (
    BLOCK_BYTES,
    EMPTY_BLOCK,
    GLOBAL_PAX,
    LONG_LINK,
    LONG_NAME,
    PAX_TYPES,
    VOLUME_LABEL,
    Header,
    Pax,
    data_bytes,
    kind_of,
    parse_header,
    text,
)
from app.ops.archives.tar_sparse import Sparse, read_sparse

MAX_HEADER_BYTES = 1 << 20
"""Of one extended header: a path has 4 KiB at most, the rest is for attributes we do not keep."""
MAX_HEADERS = 16
"""In a row, for one member."""

_READ_BYTES = 256 << 10


class Stream(Protocol):
    """What a tar is read from: a file, or what comes out of a decompressor."""

    def read(self, size_bytes: int, /) -> bytes:
        """Give up to so many bytes, none at the end."""
        ...


class _Blocks:
    """Cuts a stream, counting what it gives."""

    def __init__(self, stream: Stream, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget
        self._held = b""
        self._at = 0

    def some(self, most: int) -> bytes:
        """Give up to `most` bytes, none at the end."""
        if self._at == len(self._held):
            self._held, self._at = self._stream.read(_READ_BYTES), 0
            self._budget.decoded(len(self._held))
        data = self._held[self._at : self._at + most]
        self._at += len(data)
        return data

    def up_to(self, size_bytes: int) -> bytes:
        """Give exactly so many bytes, or what there is before the end."""
        parts = []
        while size_bytes and (data := self.some(size_bytes)):
            parts.append(data)
            size_bytes -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def exactly(self, size_bytes: int) -> bytes:
        """Give exactly so many bytes."""
        data = self.up_to(size_bytes)
        if len(data) < size_bytes:
            raise ArchiveTruncated("The archive ends inside a header.")
        return data


class TarReader:
    """An open tar.

    Args:
        stream: the tar itself, decompressed.
        source: the file behind it, for telling how far it has been read.
        size_bytes: of that file.
        archive_format: `tar`, `tar.gz`, ...
        budget: counts members, and all bytes that come out of the stream.
    """

    def __init__(
        self,
        stream: Stream,
        source: BinaryIO,
        size_bytes: int,
        archive_format: str,
        budget: Budget,
    ) -> None:
        self.format = archive_format
        self._blocks = _Blocks(stream, budget)
        self._source = source
        self._size_bytes = size_bytes
        self._budget = budget
        self._everywhere = Pax()
        self._left = 0
        """Of the current member's data."""
        self._padding = 0
        self._name = ""
        self._is_cut = False

    def done_bytes(self) -> tuple[int, int]:
        """Tell how much of the source has been read."""
        return min(self._source.tell(), self._size_bytes), self._size_bytes

    def members(self) -> Iterator[Member]:
        """Give the members; see `Archive.members`.

        Raises:
            ArchiveTruncated: the archive ends inside a member or without its end mark.
            ArchiveDamaged: what should be a header is none; where the next one is, nobody knows.
            ArchiveTrailing: something follows the end mark.
            CodecError: the compressed stream is cut or damaged, in front of this or behind.
        """
        try:
            while (member := self._next()) is not None:
                self._budget.entry()
                yield member
                self._skip_data()
                if self._is_cut:
                    return
        except ArchiveDamaged:
            # What follows is of no use, but a compressor's checksum over all of it is.
            self._drain()
            raise

    def _next(self) -> Member | None:
        pax = Pax(self._everywhere.values)
        has_pax = False
        long_name = long_link = None
        for _ in range(MAX_HEADERS):
            header = self._header()
            if header is None:
                return None
            if header.type in PAX_TYPES:
                pax.read(self._payload(header))
                has_pax = True
            elif header.type == GLOBAL_PAX:
                self._everywhere.read(self._payload(header))
                pax.values = self._everywhere.values | pax.values
            elif header.type == LONG_NAME:
                long_name = self._payload(header).partition(b"\0")[0]
            elif header.type == LONG_LINK:
                long_link = self._payload(header).partition(b"\0")[0]
            elif header.type != VOLUME_LABEL:
                raw_name = pax.values.get(b"GNU.sparse.name") or pax.values.get(b"path")
                name = text(raw_name or long_name or header.raw_name)
                link = text(pax.values.get(b"linkpath") or long_link or header.raw_link)
                return self._member(header, pax, name, link, has_pax=has_pax)
        raise ArchiveDamaged(f"More than {MAX_HEADERS} extended headers stand in a row.")

    def _header(self) -> Header | None:
        """Read the next header; None at the end mark, which is two empty blocks, or one."""
        block = self._blocks.up_to(BLOCK_BYTES)
        if not block:
            raise ArchiveTruncated("The archive has no end mark; members may be missing.")
        if len(block) < BLOCK_BYTES:
            raise ArchiveTruncated("The archive ends inside a header.")
        if block == EMPTY_BLOCK:
            self._check_nothing_follows()
            return None
        header = parse_header(block)
        if header is None:
            raise ArchiveDamaged("A header of the tar is damaged; what follows cannot be found.")
        return header

    def _payload(self, header: Header) -> bytes:
        if header.size_bytes > MAX_HEADER_BYTES:
            raise ArchiveDamaged(
                f"An extended header of the tar states {header.size_bytes} bytes; "
                f"{MAX_HEADER_BYTES} are the most that is read."
            )
        payload = self._blocks.exactly(header.size_bytes)
        self._blocks.exactly(-header.size_bytes % BLOCK_BYTES)
        return payload

    def _member(self, header: Header, pax: Pax, name: str, link: str, *, has_pax: bool) -> Member:
        kind = kind_of(header, name)
        size_bytes = data_bytes(header, pax, has_pax=has_pax)
        sparse = read_sparse(header, pax, size_bytes, self._blocks.exactly)
        self._name = name
        self._left = size_bytes - (sparse.map_bytes if sparse else 0)
        self._padding = -size_bytes % BLOCK_BYTES
        return Member(
            name,
            kind,
            sparse.size_bytes if sparse else size_bytes if kind == "file" else 0,
            None,
            _problem(header, kind, link),
            partial(self._content, sparse),
        )

    def _content(self, sparse: Sparse | None) -> Iterator[bytes]:
        if sparse is None:
            yield from self._pieces(self._left)
        else:
            for chunk in sparse.filled(self._pieces):
                # The holes come out of nothing, and count all the same.
                self._budget.decoded(len(chunk))
                yield chunk

    def _pieces(self, size_bytes: int) -> Iterator[bytes]:
        while size_bytes:
            data = self._blocks.some(min(size_bytes, CHUNK_BYTES))
            if not data:
                self._is_cut = True
                raise ArchiveTruncated("The archive ends inside this member.")
            size_bytes -= len(data)
            self._left -= len(data)
            yield data

    def _skip_data(self) -> None:
        """Pass what nobody has asked for, and the rest of the last block."""
        if self._is_cut:
            return
        left = self._left + self._padding
        while left:
            data = self._blocks.some(left)
            if not data:
                what = "inside" if self._left else "directly behind"
                raise ArchiveTruncated(f"The archive ends {what} the member {self._name[:100]!r}.")
            left -= len(data)
            self._left = max(self._left - len(data), 0)

    def _check_nothing_follows(self) -> None:
        """Read to the end, where a compressor's checksum is; tar itself fills up with zeros."""
        followed = not_empty = 0
        while data := self._blocks.some(CHUNK_BYTES):
            followed += len(data)
            not_empty |= bool(data.strip(b"\0"))
        if not_empty and not self._budget.entries:
            raise ArchiveUnsupported("It begins as an empty tar does, and goes on as none.")
        if not_empty:
            raise ArchiveTrailing(
                f"Something follows the archive's end mark, in {followed} bytes that were not read."
            )

    def _drain(self) -> None:
        while self._blocks.some(CHUNK_BYTES):
            pass


def _problem(header: Header, kind: Kind, link: str) -> OffloadError | None:
    if header.type == b"M":
        return ArchiveUnsupported("The member is the rest of one in another volume.")
    return kind_problem(kind, link[:200])
