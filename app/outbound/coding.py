"""Content codings that an origin applies although it was asked for none (RFC 9110, 8.4).

Decoded here and not by the HTTP client, because httpx and aiohttp both deliver a body cut in half
as a success. Here the end is checked, and no step produces more than a bounded amount.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

from app.errors import FetchEncodingError, FetchTruncated

STEP_BYTES = 64 * 1024
"""Most bytes that come out of one step, however much a bomb has in store."""


class Decoder(Protocol):
    """Turns the bytes of the wire into the bytes of the content."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` decodes to, in pieces of at most `STEP_BYTES`; raises `FetchError`."""

    def finish(self) -> None:
        """Raise `FetchTruncated` unless the stream has come to its end."""


def decoder_for(content_encoding: str) -> Decoder | None:
    """Choose the decoder for a Content-Encoding header; None where there is nothing to decode.

    Raises:
        FetchEncodingError: a coding that is not read here, or several on top of each other.
    """
    codings = [part.strip().lower() for part in content_encoding.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if not codings:
        return None
    if codings in (["gzip"], ["x-gzip"]):
        return _Gzip()
    if codings == ["deflate"]:
        return _Deflate()
    raise FetchEncodingError(
        "The response has a content coding that is not read here; identity was asked for, "
        "gzip and deflate are understood.",
        log_detail=f"Content-Encoding: {content_encoding[:200]}",
    )


def _damaged(exc: zlib.error) -> FetchEncodingError:
    return FetchEncodingError("The response's compressed stream is damaged.", log_detail=str(exc))


def _trailing() -> FetchEncodingError:
    return FetchEncodingError("The response has bytes after the end of its compressed stream.")


class _Zlib:
    """One stream of zlib's, of the kind that `wbits` says."""

    def __init__(self, wbits: int) -> None:
        self._stream = zlib.decompressobj(wbits)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while not self.ended:
            try:
                piece = self._stream.decompress(data, STEP_BYTES)
            except zlib.error as exc:
                raise _damaged(exc) from exc
            data = self._stream.unconsumed_tail
            if piece:
                yield piece
            # A full piece may have left output behind in zlib's window with no input to show it.
            if not data and len(piece) < STEP_BYTES:
                return

    @property
    def ended(self) -> bool:
        return self._stream.eof

    @property
    def rest(self) -> bytes:
        """What followed the end in the last input."""
        return self._stream.unused_data


class _Gzip:
    """gzip (RFC 1952): one member or many, with their checksums and lengths checked by zlib."""

    _WBITS = 31

    def __init__(self) -> None:
        self._member = _Zlib(self._WBITS)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member.ended:
                if not data.startswith(b"\x1f"):
                    raise _trailing()
                self._member = _Zlib(self._WBITS)
            yield from self._member.feed(data)
            data = self._member.rest

    def finish(self) -> None:
        if not self._member.ended:
            raise FetchTruncated("The response's compressed stream is cut off.")


class _Deflate:
    """deflate: the zlib format (RFC 1950), or the bare stream (RFC 1951) that some origins send."""

    def __init__(self) -> None:
        self._head = b""
        self._stream: _Zlib | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return
            # RFC 1950, 2.2: method 8 in the low bits, and the pair a multiple of 31.
            wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._stream = _Zlib(15 if wrapped else -15)
        if data and self._stream.ended:
            raise _trailing()
        yield from self._stream.feed(data)
        if self._stream.rest:
            raise _trailing()

    def finish(self) -> None:
        if self._stream is None or not self._stream.ended:
            raise FetchTruncated("The response's compressed stream is cut off.")
