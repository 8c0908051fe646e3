"""Content codings that an origin applies although it was asked for none (RFC 9110, 8.4).

Decoded here and not by the HTTP client, because httpx and aiohttp both deliver a body cut in half
as a success. Here the end is checked, and no step produces more than a bounded amount.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.errors import FetchEncodingError, FetchTruncated
from app.ops.codecs.decoders import FAILURES, Decoder, new_decoder
from app.ops.codecs.kinds import Codec, begins

STEP_BYTES = 64 * 1024
"""Most bytes that come out of one step, however much a bomb has in store."""


def decoding_of(content_encoding: str) -> Decoding | None:
    """Choose how to decode what a Content-Encoding header names; None for nothing to decode.

    Raises:
        FetchEncodingError: a coding that is not read here, or several on top of each other.
    """
    codings = [part.strip().lower() for part in content_encoding.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if not codings:
        return None
    if codings in (["gzip"], ["x-gzip"]):
        return Decoding("gzip")
    if codings == ["deflate"]:
        return Decoding("zlib")
    raise FetchEncodingError(
        "The response has a content coding that is not read here; identity was asked for, "
        "gzip and deflate are understood.",
        log_detail=f"Content-Encoding: {content_encoding[:200]}",
    )


class Decoding:
    """Turns the bytes of the wire into those of the content.

    gzip (RFC 1952) may be several members, each with its checksum and length. deflate is the zlib
    format (RFC 1950), or the bare stream (RFC 1951) that some origins send.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._head = b""
        self._decoder: Decoder | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` decodes to, in pieces of at most `STEP_BYTES`; raises `FetchError`."""
        while data:
            if self._decoder is None or self._decoder.eof:
                data = self._begin(data)
            if self._decoder is None:
                return
            yield from self._pieces(self._decoder, data)
            data = self._decoder.unused_data

    def finish(self) -> None:
        """Raise `FetchTruncated` unless the stream has come to its end."""
        if self._decoder is None or not self._decoder.eof:
            raise FetchTruncated("The response's compressed stream is cut off.")

    def _begin(self, data: bytes) -> bytes:
        """Begin a stream as soon as it can be told which; gives what it begins with."""
        if self._decoder is not None and not (self._codec == "gzip" and data.startswith(b"\x1f")):
            raise FetchEncodingError(
                "The response has bytes after the end of its compressed stream."
            )
        if self._codec == "zlib":
            data = self._head = self._head + data
            if (wrapped := begins("zlib", data)) is None:
                return b""
            self._codec = "zlib" if wrapped else "deflate-raw"
        self._decoder = new_decoder(self._codec)
        return data

    def _pieces(self, decoder: Decoder, data: bytes) -> Iterator[bytes]:
        while True:
            try:
                piece = decoder.decompress(data, STEP_BYTES)
            except FAILURES[self._codec] as exc:
                raise FetchEncodingError(
                    "The response's compressed stream is damaged.", log_detail=str(exc)
                ) from exc
            if piece:
                yield piece
            if decoder.needs_input or decoder.eof:
                return
            data = b""
