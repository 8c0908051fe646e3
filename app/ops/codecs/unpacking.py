"""Unpacking: reading one compressed file, whatever the codec, with bounded memory."""

from __future__ import annotations

from typing import BinaryIO

from app.errors import CodecUnknown, OffloadError, StreamDamaged, StreamTruncated, TrailingData
from app.ops.codecs.decoders import FAILURES, Decoder, new_decoder, translated
from app.ops.codecs.kinds import Codec, begins

_PORTION_BYTES = 64 << 10
"""Read at once. Small, since what follows a member is copied for each of thousands of tiny ones."""
_HEAD_BYTES = 16
_OUTPUT_BYTES = 1 << 20
"""Decoded at once, at most."""

_MANY: frozenset[Codec] = frozenset({"gzip", "zstd", "xz", "bz2", "lz4"})
"""Formats whose files may be several members, streams or frames, one after the other."""


class Unpacker:
    """Reads what a compressed file holds: of all its members, frames or streams.

    Memory: about 3 MiB, and the window or dictionary that the stream asks for, up to 128 MiB.

    Args:
        file: gives the compressed bytes by `read`, from where it is; not closed. For Brotli it
            should be able to `seek`, so that data after the stream can be told from damage.
        codec: its format; see `codec_of`.
    """

    def __init__(self, file: BinaryIO, codec: Codec) -> None:
        self._file = file
        self._codec = codec
        self._start = file.tell() if codec == "br" and file.seekable() else None
        self._decoder: Decoder | None = None
        self._rest = b""
        """Read, and not given to a decoder yet."""
        self._fed = b""
        """What a decoder got last."""
        self._over = b""
        """Decoded, and not given away yet: Brotli's binding gives more than it is asked for."""
        self._ended = False
        self.members = 0
        """How many members, frames or streams have been begun, skippable frames included."""
        self.read_bytes = 0
        """How much of the compressed file has been read."""

    def read(self, size_bytes: int) -> bytes:
        """Decode the next bytes.

        Args:
            size_bytes: how many, at least 1.

        Returns:
            Exactly so many, or fewer at the end, and then nothing. Read until there is nothing:
            only then everything was checked, since formats have their checksums at the end.

        Raises:
            CodecUnknown: the file does not begin as the format does.
            StreamTruncated: the file ends before its last member does.
            StreamDamaged: the content breaks the format's rules, or a checksum does not fit.
            TrailingData: something else follows; zero bytes after gzip members and xz streams
                belong there.
            MemoryExceeded: the stream asks for a larger window than is allowed.
        """
        parts = [self._over] if self._over else []
        have = len(self._over)
        self._over = b""
        while have < size_bytes and not self._ended:
            part = self._decode(min(size_bytes - have, _OUTPUT_BYTES))
            if part:
                parts.append(part)
                have += len(part)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if have > size_bytes:
            self._over = data[size_bytes:]
            data = data[:size_bytes]
        return data

    def _decode(self, max_bytes: int) -> bytes:
        """Take one step: begin a member, or decode some of it; may give nothing."""
        if self._decoder is None and not self._begin():
            self._ended = True
            return b""
        assert self._decoder is not None  # noqa: S101 - `_begin` has seen to it
        data = b""
        if self._decoder.needs_input:
            data = self._rest or self._fill()
            self._rest = b""
            if not data:
                raise self._truncated()
            self._fed = data
        try:
            out = self._decoder.decompress(data, max_bytes)
        except FAILURES[self._codec] as error:
            raise self._judged(error) from error
        if self._decoder.eof:
            self._rest = self._decoder.unused_data
            self._decoder = None
        return out

    def _fill_rest(self) -> bool:
        self._rest += self._fill()
        return bool(self._rest)

    def _fill(self) -> bytes:
        data = self._file.read(_PORTION_BYTES)
        self.read_bytes += len(data)
        return data

    def _begin(self) -> bool:
        """Begin the next member; False if there is none."""
        self._skip_padding()
        while len(self._rest) < _HEAD_BYTES and (data := self._fill()):
            self._rest += data
        if not self._rest and self.members:
            return False
        if self.members and self._codec not in _MANY:
            raise self._trailing()
        self._check_head()
        self._decoder = new_decoder(self._codec)
        self.members += 1
        return True

    def _check_head(self) -> None:
        fits = begins(self._codec, self._rest[:_HEAD_BYTES])
        if fits is None:
            raise self._truncated()
        if not fits and self.members:
            raise self._trailing()
        if not fits:
            raise CodecUnknown(f"The content does not begin as {self._codec} does.")

    def _skip_padding(self) -> None:
        """Pass the zero bytes that gzip(1) and xz(1) accept after a member or stream."""
        if not self.members or self._codec not in ("gzip", "xz"):
            return
        padding_bytes = 0
        while self._rest or self._fill_rest():
            kept = self._rest.lstrip(b"\0")
            padding_bytes += len(self._rest) - len(kept)
            self._rest = kept
            if kept:
                break
        if self._codec == "gzip":
            # gzip(1) takes zeros for the last tape block's filling: nothing follows them.
            if padding_bytes and self._rest:
                raise self._trailing()
        elif padding_bytes % 4 and begins("xz", self._rest) is not False:
            raise StreamDamaged(
                f"The zeros before byte {self._at()} of the xz file are no multiple of 4.",
                position=self._at(),
            )

    def _truncated(self) -> StreamTruncated:
        return StreamTruncated(
            f"The {self._codec} stream ends after {self.read_bytes} bytes, before its end.",
            position=self.read_bytes,
        )

    def _trailing(self) -> TrailingData:
        return TrailingData(
            f"Something that is not {self._codec} follows the end of the stream at byte "
            f"{self._at()}.",
            position=self._at(),
        )

    def _at(self) -> int:
        """Where in the file `_rest` begins."""
        return self.read_bytes - len(self._rest)

    def _judged(self, error: Exception) -> OffloadError | MemoryError:
        """Say what a decoder's error means."""
        if self._codec == "br" and self._start is not None:
            end = self._end_of_brotli(self.read_bytes - len(self._fed), self._fed)
            if end:
                self._rest = self._fed[end:]
                return self._trailing()
        return translated(self._codec, error, self.read_bytes)

    def _end_of_brotli(self, before_bytes: int, portion: bytes) -> int | None:
        """Find after how many bytes of a portion that could not be decoded the stream ends.

        Its decoder says the same of damage and of what follows the end. So all is decoded again,
        the last portion byte by byte. None: it does not end there.
        """
        assert self._start is not None  # noqa: S101 - the caller has looked
        decoder = new_decoder("br")
        self._file.seek(self._start)
        at = 0
        while at < before_bytes:
            data = self._file.read(min(_PORTION_BYTES, before_bytes - at))
            at += len(data)
            _discard(decoder, data)
        for number in range(len(portion)):
            if decoder.eof:
                return number
            try:
                _discard(decoder, portion[number : number + 1])
            except FAILURES["br"]:
                return None
        return None


def _discard(decoder: Decoder, data: bytes) -> None:
    decoder.decompress(data, _OUTPUT_BYTES)
    while not decoder.needs_input and not decoder.eof:
        decoder.decompress(b"", _OUTPUT_BYTES)
