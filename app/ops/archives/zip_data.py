"""The content of one member of a zip, by each of the methods that are read here."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterator
from typing import cast

from app.errors import ArchiveDamaged, ArchiveUnsupported, StreamDamaged
from app.ops.archives.members import CHUNK_BYTES
from app.ops.archives.zip_directory import Entry
from app.ops.codecs.decoders import FAILURES, WINDOW_LOG, Decoder, new_decoder, translated
from app.ops.codecs.kinds import Codec

_STORED, _LZMA = 0, 14
_CODECS: dict[int, Codec] = {8: "deflate-raw", 12: "bz2", 93: "zstd"}
METHODS = (_STORED, _LZMA, *_CODECS)
"""As APPNOTE 4.4.5 numbers them."""

_READ_BYTES = 256 << 10
_LZMA_HEAD_BYTES = 9
_LZMA_END_MARK = 1 << 1

_DAMAGED = "Its compressed data is damaged."
_WINDOW = f"It needs a window of more than {1 << WINDOW_LOG >> 20} MiB to be decompressed."

Read = Callable[[int], bytes]
"""Reads at most so many of the member's bytes on."""


def decoded(read: Read, entry: Entry) -> Iterator[bytes]:
    """Give the content, at most `CHUNK_BYTES` at a time. Its length and checksum are not looked at.

    Args:
        read: reads from where the member's data begins.
        entry: its method and compressed size.

    Raises:
        ArchiveDamaged: not what the method writes, or it does not end with the compressed size.
        ArchiveUnsupported: it needs too much memory.
    """
    if entry.method == _STORED:
        yield from _stored(read, entry.compressed_bytes)
    elif entry.method == _LZMA:
        yield from _lzma(read, entry)
    else:
        codec = _CODECS[entry.method]
        decoder = new_decoder(codec)
        yield from _pumped(read, decoder, codec, entry.compressed_bytes)


def _stored(read: Read, left: int) -> Iterator[bytes]:
    while left and (data := read(min(left, CHUNK_BYTES))):
        left -= len(data)
        yield data


def _pumped(
    read: Read, decoder: Decoder, codec: Codec, left: int, size_bytes: int | None = None
) -> Iterator[bytes]:
    """Decode `left` compressed bytes; with `size_bytes` until so many came out, end or no end."""
    produced = 0
    while not decoder.eof and (size_bytes is None or produced < size_bytes):
        data = b""
        if decoder.needs_input:
            data = read(min(left, _READ_BYTES)) if left else b""
            if not data:
                raise ArchiveDamaged("Its compressed data ends early.")
            left -= len(data)
        room = CHUNK_BYTES if size_bytes is None else min(size_bytes - produced, CHUNK_BYTES)
        chunk = _decompressed(decoder, codec, data, room)
        produced += len(chunk)
        if chunk:
            yield chunk
    if size_bytes is None and (left or decoder.unused_data):
        raise ArchiveDamaged("Something follows the end of its compressed data.")


def _decompressed(decoder: Decoder, codec: Codec, data: bytes, room_bytes: int) -> bytes:
    try:
        chunk = decoder.decompress(data, room_bytes)
    except (FAILURES[codec], EOFError, ValueError) as error:
        problem = translated(codec, error, 0)
        if isinstance(problem, StreamDamaged):
            raise ArchiveDamaged(_DAMAGED, log_detail=str(error)) from error
        if isinstance(problem, MemoryError):
            raise problem from error
        raise ArchiveUnsupported(_WINDOW) from error
    if not (chunk or data or decoder.needs_input or decoder.eof):
        raise ArchiveDamaged(_DAMAGED)
    return chunk


def _lzma(read: Read, entry: Entry) -> Iterator[bytes]:
    """Decode LZMA behind the header that APPNOTE 5.8.8 gives it."""
    head = read(min(_LZMA_HEAD_BYTES, entry.compressed_bytes))
    # Two bytes of version, two of the properties' length, which is 5, then those.
    if len(head) < _LZMA_HEAD_BYTES or head[2:4] != b"\x05\x00" or head[4] >= 9 * 5 * 5:
        raise ArchiveDamaged(_DAMAGED)
    rest, literal_context = divmod(head[4], 9)
    position, literal_position = divmod(rest, 5)
    if literal_context + literal_position > 4:
        # More than liblzma takes, and than anything writes.
        raise ArchiveUnsupported("Its LZMA settings are not supported.")
    # The window is set aside at once, and more of it than the member is long is of no use.
    window_bytes = max(min(int.from_bytes(head[5:9], "little"), entry.size_bytes), 1 << 12)
    if window_bytes > 1 << WINDOW_LOG:
        raise ArchiveUnsupported(_WINDOW)
    settings = {
        "id": lzma.FILTER_LZMA1,
        "dict_size": window_bytes,
        "lc": literal_context,
        "lp": literal_position,
        "pb": position,
    }
    decoder = cast("Decoder", lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[settings]))
    left = entry.compressed_bytes - len(head)
    # It need not mark its end; then the size in the header is all there is.
    size_bytes = None if entry.flags & _LZMA_END_MARK else entry.size_bytes
    yield from _pumped(read, decoder, "xz", left, size_bytes)
