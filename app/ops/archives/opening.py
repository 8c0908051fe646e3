"""Which archive a file is, by its content, and its reader."""

from __future__ import annotations

from typing import BinaryIO

from app.errors import ArchiveDamaged, ArchiveTruncated, ArchiveUnsupported
from app.ops.archives.members import Archive, Budget
from app.ops.archives.tar_headers import BLOCK_BYTES, EMPTY_BLOCK, parse_header
from app.ops.archives.tar_reader import Stream, TarReader
from app.ops.archives.zip_directory import find_end
from app.ops.archives.zip_reader import ZipReader
from app.ops.codecs.kinds import TAR_FORMATS, Codec, codec_of
from app.ops.codecs.unpacking import Unpacker
from app.ops.media_type import HEAD_BYTES, UNKNOWN, sniff

# A member, an empty archive, and the mark that a zip of one part out of possibly several has.
_ZIP_MARKS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08PK\x03\x04", b"PK00PK\x03\x04")
_PROGRAM_MARKS = (b"MZ", b"\x7fELF", b"#!")
"""What a self-extracting zip may begin with. Anything else in front makes it two files in one, of
which every reader sees another."""

_TAKEN = "zip, tar, tar.gz, tar.zst, tar.xz, tar.bz2 and tar.lz4 are taken"


class _Begun:
    """A stream of which the beginning has been read already."""

    def __init__(self, head: bytes, rest: Stream) -> None:
        self._head = head
        self._rest = rest

    def read(self, size_bytes: int, /) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        return self._rest.read(size_bytes)


def open_archive(file: BinaryIO, size_bytes: int, budget: Budget) -> Archive:
    """Open an archive of whatever format, told by its beginning alone.

    Raises:
        ArchiveUnsupported: it is none that is read here.
        ArchiveError: a zip's directory is missing, damaged or contradicts itself.
        CodecError: a compressed tar's first bytes cannot be decompressed.
        TooManyMembers: a zip over the budget.
    """
    head = file.read(HEAD_BYTES)
    if head.startswith(_ZIP_MARKS):
        archive = ZipReader(file, size_bytes, budget)
        if archive.prefix_bytes:
            raise ArchiveDamaged(
                f"{archive.prefix_bytes} bytes stand between the file's beginning, which is a "
                "zip's, and the zip that its end belongs to: it is two zips, or cut."
            )
        return archive
    codec = codec_of(head)
    if codec in TAR_FORMATS:
        return _compressed_tar(file, size_bytes, codec, budget)
    first = head[:BLOCK_BYTES]
    if _begins_tar(first):
        return TarReader(_Begun(head, file), file, size_bytes, "tar", budget)
    return _behind_something(file, size_bytes, head, budget)


def _compressed_tar(file: BinaryIO, size_bytes: int, codec: Codec, budget: Budget) -> Archive:
    file.seek(0)
    stream = Unpacker(file, codec)
    first = stream.read(BLOCK_BYTES)
    if not _begins_tar(first):
        raise ArchiveUnsupported(
            f"What {codec} has compressed here is one file and no tar; `decompress` gives it."
        )
    return TarReader(_Begun(first, stream), file, size_bytes, TAR_FORMATS[codec], budget)


def _begins_tar(first: bytes) -> bool:
    if len(first) < BLOCK_BYTES:
        return False
    return first == EMPTY_BLOCK or parse_header(first) is not None


def _behind_something(file: BinaryIO, size_bytes: int, head: bytes, budget: Budget) -> Archive:
    """Open a self-extracting zip, or say what else it is."""
    kind = sniff(head)
    what = "of an unknown kind" if kind == UNKNOWN else kind
    try:
        end = find_end(file, size_bytes)
    except (ArchiveDamaged, ArchiveTruncated):
        raise ArchiveUnsupported(f"The file is {what}, and no archive; {_TAKEN}.") from None
    if not head.startswith(_PROGRAM_MARKS) or not end.entries:
        raise ArchiveUnsupported(
            f"The file is {what}, and has a zip behind it. What it is depends on who reads it; "
            "send the zip alone."
        )
    return ZipReader(file, size_bytes, budget)
