"""Sparse members: files with holes, of which a tar keeps only what is between the holes.

GNU tar writes them in four ways (its manual, appendix D): its own header type, and three versions
in pax headers; bsdtar on macOS writes the last without being asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.errors import ArchiveDamaged
from app.ops.archives.members import CHUNK_BYTES
from app.ops.archives.tar_headers import BLOCK_BYTES, GNU_SPARSE, Header, Pax, decimal, number

MAX_EXTENTS = 10_000

_OLD_AT = 386
_OLD_COUNT = 4
_OLD_MORE_AT = 482
_OLD_SIZE_AT = 483
_EXTENSION_COUNT = 21
_EXTENSION_MORE_AT = 504
_NUMBER_BYTES = 12
_LINE_BYTES = 20

_TOO_MANY = f"A sparse member of the tar is in more than {MAX_EXTENTS} pieces."
_BAD = "The map of a sparse member of the tar is damaged."

Exactly = Callable[[int], bytes]
"""Reads so many bytes of the tar; raises if there are fewer."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """Where a sparse member's data belongs."""

    size_bytes: int
    """With the holes."""
    extents: tuple[tuple[int, int], ...]
    """Offset and length of each piece, in order, not overlapping."""
    map_bytes: int
    """Of the member's own data, taken up by the map and read already."""

    def filled(self, pieces: Callable[[int], Iterator[bytes]]) -> Iterator[bytes]:
        """Give the whole content; `pieces(n)` gives the next n bytes of what the tar keeps."""
        at = 0
        for offset, length in self.extents:
            yield from _zeros(offset - at)
            yield from pieces(length)
            at = offset + length
        yield from _zeros(self.size_bytes - at)


def _zeros(size_bytes: int) -> Iterator[bytes]:
    chunk = bytes(min(size_bytes, CHUNK_BYTES))
    while size_bytes > 0:
        yield chunk if size_bytes >= len(chunk) else chunk[:size_bytes]
        size_bytes -= len(chunk)


def read_sparse(header: Header, pax: Pax, data_bytes: int, exactly: Exactly) -> Sparse | None:
    """Read the map of a sparse member; None if it is not one.

    Args:
        header: the member's own.
        pax: what its extended headers say.
        data_bytes: how much data follows the header, the map of version 1.0 included.
        exactly: reads on behind the header.

    Raises:
        ArchiveDamaged: the map contradicts itself, or is longer than is reasonable.
        ArchiveTruncated: as `exactly` does.
    """
    if header.type == GNU_SPARSE:
        size_bytes = number(header.block[_OLD_SIZE_AT : _OLD_SIZE_AT + _NUMBER_BYTES])
        return _checked(size_bytes, _old_map(header, exactly), data_bytes, 0)
    if not pax.is_sparse:
        return None
    if pax.values.get(b"GNU.sparse.major") == b"1":
        numbers, map_bytes = _map_in_data(data_bytes, exactly)
        size_bytes = _stated_size(pax, b"GNU.sparse.realsize")
        return _checked(size_bytes, numbers, data_bytes, map_bytes)
    listed = pax.values[b"GNU.sparse.map"].split(b",") if b"GNU.sparse.map" in pax.values else []
    numbers = [decimal(value) for value in (listed or pax.sparse_pairs)]
    return _checked(_stated_size(pax, b"GNU.sparse.size"), numbers, data_bytes, 0)


def _stated_size(pax: Pax, key: bytes) -> int:
    size_bytes = pax.number(key)
    if size_bytes is None:
        raise ArchiveDamaged(_BAD)
    return size_bytes


def _checked(size_bytes: int, numbers: list[int], data_bytes: int, map_bytes: int) -> Sparse:
    if len(numbers) % 2:
        raise ArchiveDamaged(_BAD)
    if len(numbers) > 2 * MAX_EXTENTS:
        raise ArchiveDamaged(_TOO_MANY)
    extents = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    at = 0
    for offset, length in extents:
        if offset < at:
            raise ArchiveDamaged(_BAD)
        at = offset + length
    if at > size_bytes or sum(length for _, length in extents) != data_bytes - map_bytes:
        raise ArchiveDamaged(_BAD)
    return Sparse(size_bytes, extents, map_bytes)


def _old_map(header: Header, exactly: Exactly) -> list[int]:
    numbers = _old_numbers(header.block, _OLD_AT, _OLD_COUNT)
    more = header.block[_OLD_MORE_AT]
    while more:
        if len(numbers) > 2 * MAX_EXTENTS:
            raise ArchiveDamaged(_TOO_MANY)
        block = exactly(BLOCK_BYTES)
        numbers += _old_numbers(block, 0, _EXTENSION_COUNT)
        more = block[_EXTENSION_MORE_AT]
    return numbers


def _old_numbers(block: bytes, at: int, count: int) -> list[int]:
    numbers: list[int] = []
    for place in range(at, at + count * 2 * _NUMBER_BYTES, 2 * _NUMBER_BYTES):
        if block[place] == 0:
            break
        numbers.append(number(block[place : place + _NUMBER_BYTES]))
        numbers.append(number(block[place + _NUMBER_BYTES : place + 2 * _NUMBER_BYTES]))
    return numbers


def _map_in_data(data_bytes: int, exactly: Exactly) -> tuple[list[int], int]:
    """Read version 1.0's map: decimal lines in whole blocks in front of the data."""
    held, at, blocks = b"", 0, 0
    numbers: list[int] = []
    count: int | None = None
    while count is None or len(numbers) < 2 * count:
        stop = held.find(b"\n", at)
        if stop < 0:
            if (blocks + 1) * BLOCK_BYTES > data_bytes or len(held) - at > _LINE_BYTES:
                raise ArchiveDamaged(_BAD)
            held, at = held[at:] + exactly(BLOCK_BYTES), 0
            blocks += 1
            continue
        value = decimal(held[at:stop])
        at = stop + 1
        if count is None:
            count = value
            if count > MAX_EXTENTS:
                raise ArchiveDamaged(_TOO_MANY)
        else:
            numbers.append(value)
    return numbers, blocks * BLOCK_BYTES
