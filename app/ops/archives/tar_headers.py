"""A tar's headers: POSIX ustar and pax (IEEE 1003.1, pax), GNU's, and the seventh edition's."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.errors import ArchiveDamaged
from app.ops.archives.members import Kind
from app.ops.archives.names import decode

BLOCK_BYTES = 512
EMPTY_BLOCK = bytes(BLOCK_BYTES)

PAX_TYPES = (b"x", b"X")
GLOBAL_PAX = b"g"
LONG_NAME = b"L"
LONG_LINK = b"K"
VOLUME_LABEL = b"V"
GNU_SPARSE = b"S"
_HARD_LINK = b"1"

_CHECKSUM = slice(148, 156)
_ASCII = bytes(range(128))
_PAX_LENGTH = re.compile(rb"([0-9]{1,7}) ")
_PAX_NUMBER = re.compile(rb"[0-9]{1,19}")
_SPARSE = b"GNU.sparse."

_KINDS: dict[bytes, Kind] = {
    b"\0": "file",
    b"0": "file",
    b"7": "file",
    GNU_SPARSE: "file",
    _HARD_LINK: "hardlink",
    b"2": "symlink",
    b"3": "device",
    b"4": "device",
    b"5": "folder",
    b"D": "folder",
    b"6": "fifo",
}
_WITHOUT_DATA = (b"2", b"3", b"4", b"5", b"6")
"""Whatever size they state: POSIX lets a folder's be what it occupies."""


@dataclass(frozen=True, slots=True)
class Header:
    """One block, its checksum right."""

    type: bytes
    raw_name: bytes
    raw_link: bytes
    size_bytes: int
    block: bytes


class Pax:
    """What extended headers say: the few of their records that matter here."""

    def __init__(self, values: dict[bytes, bytes] | None = None) -> None:
        self.values: dict[bytes, bytes] = dict(values or {})
        self.sparse_pairs: list[bytes] = []
        """Offsets and lengths in turn, as format 0.0 has them: one record each."""

    def read(self, payload: bytes) -> None:
        """Take the records of an extended header.

        Raises:
            ArchiveDamaged: they are not `length key=value` lines.
        """
        at = 0
        while at < len(payload):
            found = _PAX_LENGTH.match(payload, at)
            stop = at + int(found[1]) if found else 0
            if found is None or not found.end() < stop <= len(payload):
                raise ArchiveDamaged("An extended header of the tar is damaged.")
            key, equals, value = payload[found.end() : stop].partition(b"=")
            if not equals or not value.endswith(b"\n"):
                raise ArchiveDamaged("An extended header of the tar is damaged.")
            self._keep(key, value[:-1])
            at = stop

    def _keep(self, key: bytes, value: bytes) -> None:
        if key in (_SPARSE + b"offset", _SPARSE + b"numbytes"):
            self.sparse_pairs.append(value)
        elif key in (b"path", b"linkpath", b"size") or key.startswith(_SPARSE):
            if value:
                self.values[key] = value
            else:
                # An empty value takes back what a global header said.
                self.values.pop(key, None)

    def number(self, key: bytes) -> int | None:
        """Give a decimal value; None if there is none."""
        value = self.values.get(key)
        return None if value is None else decimal(value)

    @property
    def is_sparse(self) -> bool:
        """Tell whether the member has holes."""
        return bool(self.sparse_pairs) or any(key.startswith(_SPARSE) for key in self.values)


def decimal(value: bytes) -> int:
    """Read a decimal number of a bounded length; raises `ArchiveDamaged`."""
    if not _PAX_NUMBER.fullmatch(value):
        raise ArchiveDamaged("A number in an extended header of the tar is none.")
    return int(value)


def parse_header(block: bytes) -> Header | None:
    """Read a header block; None if it is none, which its checksum tells."""
    stated = _octal(block[_CHECKSUM])
    # The checksum's own field counts as blanks.
    unsigned = sum(block) - sum(block[_CHECKSUM]) + 8 * 0x20
    if stated != unsigned:
        # Some old writers took bytes as signed.
        high = len(block.translate(None, _ASCII)) - len(block[_CHECKSUM].translate(None, _ASCII))
        if stated != unsigned - 256 * high:
            return None
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0]
    # In GNU's own format other things stand where POSIX has the prefix.
    if prefix and block[257:263] == b"ustar\0":
        name = prefix + b"/" + name
    link = block[157:257].partition(b"\0")[0]
    return Header(block[156:157], name, link, number(block[124:136]), block)


def number(field: bytes) -> int:
    """Read a number: octal digits, or GNU's base 256.

    Raises:
        ArchiveDamaged: neither, or negative, or beyond 63 bits.
    """
    value = int.from_bytes(field[1:], "big") if field[0] == 0x80 else _octal(field)
    if value is None or value >= 1 << 63:
        raise ArchiveDamaged("A number in a header of the tar is none.")
    return value


def _octal(field: bytes) -> int | None:
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits.strip(b"01234567"):
        return None
    return int(digits, 8) if digits else 0


def kind_of(header: Header, name: str) -> Kind:
    """Tell what a header describes."""
    kind = _KINDS.get(header.type, "other")
    # The seventh edition had no type for folders.
    return "folder" if kind == "file" and name.endswith("/") else kind


def data_bytes(header: Header, pax: Pax, *, has_pax: bool) -> int:
    """Tell how much data follows the header."""
    if header.type in _WITHOUT_DATA or (header.type == _HARD_LINK and not has_pax):
        return 0
    stated = pax.number(b"size")
    return header.size_bytes if stated is None else stated


def text(raw: bytes) -> str:
    """Give a name as text. Tar does not say in which code page it is; ISO 8859-1 loses nothing."""
    return decode(raw, fallback="latin-1")
