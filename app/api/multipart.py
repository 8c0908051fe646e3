"""multipart/form-data (RFC 7578) as a stream of parts, each a stream of chunks.

The parser is python-multipart's; what it hands out piecemeal is turned here into something that
can be awaited, so that a file goes straight from the socket into the store.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.api.digests import Announced, announced
from app.errors import MalformedBody

MAX_HEADERS_PER_PART = 16
MAX_HEADER_BYTES = 16 << 10
SLICE_BYTES = 8 << 10
"""Parsed at a time while parts are small, before the event loop has its turn."""
SMALL_PARTS = 4
"""More in a slice are small ones, of which each costs 60 us whatever is in it."""


@dataclass(frozen=True, slots=True)
class Part:
    """The head of one part. Its content is read from the reader before the next part is."""

    name: str
    filename: str | None
    """None for a form field; empty where a browser's file input was left empty."""
    digests: list[Announced]
    """What its own headers say that its content has."""
    content_type: str
    """As the client sent it; empty where it did not."""


_End = object()

_ESCAPED = re.compile(rb"%(22|0A|0D)")
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"')
_EXTENDED_NAME = re.compile(rb"[;\s]filename\*\s*=\s*utf-8'[^']*'([^;\s\"]+)", re.IGNORECASE)


def parse_disposition(header: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Give the kind and the parameters of a Content-Disposition.

    `filename*` (RFC 8187) goes before `filename`, as RFC 6266 has it. RFC 7578 has no place for
    it in forms, and clients send it there all the same.
    """
    kind, options = parse_options_header(header)
    if extended := _EXTENDED_NAME.search(_QUOTED.sub(b"", header)):
        options[b"filename"] = unquote_to_bytes(extended[1])
    return kind, options


def _form_text(value: bytes) -> str:
    """Give a name of a form as text.

    Quotes and line ends in it come as `%22`, `%0D` and `%0A` from browsers and curl (WHATWG HTML,
    "multipart/form-data encoding algorithm"), and nothing else does, a `%` neither; older curls
    put a backslash before quotes and backslashes, which the parser has taken away.
    """
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), value).decode("utf-8", "replace")


class MultipartReader:
    """Reads one body, part after part."""

    def __init__(self, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        """Begin a body. Raises `MalformedBody` without a usable boundary."""
        _, options = parse_options_header(content_type.encode("latin-1", "replace"))
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise MalformedBody("The Content-Type of a multipart body needs a `boundary`.")
        self._chunks = chunks
        self._events: deque[Part | bytes | object] = deque()
        self._finished = False
        self._unparsed = b""
        self._begun = 0
        self._slice_bytes = SLICE_BYTES
        self._headers: list[tuple[str, bytes]] = []
        self._field = self._value = b""
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
                max_header_count=MAX_HEADERS_PER_PART,
                max_header_size=MAX_HEADER_BYTES,
            )
        except FormParserError as error:
            raise MalformedBody("The multipart boundary is not usable.") from error

    async def parts(self) -> AsyncIterator[Part]:
        """Give the parts in order.

        Raises:
            MalformedBody: the body is not multipart, or ends before its closing boundary.
        """
        while (event := await self._next()) is not None:
            if isinstance(event, Part):
                yield event
        # An epilogue (RFC 2046) says nothing, and is part of a body that has a digest.
        async for _ in self._chunks:
            pass

    async def content(self) -> AsyncIterator[bytes]:
        """Give the content of the part that `parts` gave last."""
        while (event := await self._next()) is not None:
            if event is _End:
                return
            if isinstance(event, bytes):
                yield event

    async def _next(self) -> Part | bytes | object | None:
        while not self._events:
            if self._finished:
                return None
            if self._unparsed:
                await asyncio.sleep(0)
            elif chunk := await anext(self._chunks, b""):
                self._unparsed = chunk
            else:
                raise MalformedBody(
                    "The multipart body ends before its closing boundary."
                    if self._parser.state
                    else "The body is not multipart."
                )
            self._parse()
        return self._events.popleft()

    def _parse(self) -> None:
        """Parse what has come: all of it, unless there are many parts in it."""
        end, before = self._slice_bytes, self._begun
        piece, self._unparsed = self._unparsed[:end], self._unparsed[end:]
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise MalformedBody("The multipart body is not well-formed.") from error
        many = self._begun - before > SMALL_PARTS
        self._slice_bytes = SLICE_BYTES if many else sys.maxsize

    # -- what the parser calls ---------------------------------------------------------------

    def _on_part_begin(self) -> None:
        self._begun += 1
        self._headers = []
        self._field = self._value = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers.append((self._field.decode("latin-1").lower(), self._value))
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        headers = dict(self._headers)
        kind, options = parse_disposition(headers.get("content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise MalformedBody("Each part needs `Content-Disposition: form-data; name=…`.")
        filename = options.get(b"filename")
        self._events.append(
            Part(
                name=_form_text(options[b"name"]),
                filename=None if filename is None else _form_text(filename),
                digests=announced((name, v.decode("latin-1")) for name, v in self._headers),
                content_type=headers.get("content-type", b"").decode("latin-1"),
            )
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        whole = start == 0 and end == len(data)
        self._events.append(data if whole else data[start:end])

    def _on_part_end(self) -> None:
        self._events.append(_End)

    def _on_end(self) -> None:
        self._finished = True
