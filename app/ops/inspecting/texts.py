"""What text is written in, and how many lines it has; found out while the bytes go by."""

from __future__ import annotations

import codecs
from typing import Any

_MARKS = (
    # Of four bytes first: UTF-32's begins like UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks (Unicode 16, 23.8)."""

_BYTES = "latin-1"
"""Gives every byte a character, so that lines can be counted in what is not known."""

_LIKE_TEXT = ("json", "xml", "javascript", "yaml", "toml", "sql", "ecmascript", "x-sh", "csv")


def is_text(media_type: str) -> bool:
    """Tell whether a media type names something that people read as text."""
    kind, _, subtype = media_type.partition("/")
    return kind == "text" or subtype.rpartition("+")[2].removeprefix("x-") in _LIKE_TEXT


class TextScan:
    """Reads text piece by piece; holds one piece at most."""

    def __init__(self) -> None:
        self._encoding = ""
        self._has_mark = False
        self._decoder: codecs.IncrementalDecoder | None = None
        self._is_ascii = True
        self._lines = 0
        self._crlf = 0
        self._last = ""

    def feed(self, piece: bytes) -> None:
        """Take the next bytes; the first piece has at least four, if there are so many."""
        if not self._encoding:
            self._begin(piece)
        self._is_ascii = self._is_ascii and piece.isascii()
        text = self._decoded(piece, final=False)
        self._count(text)

    def facts(self) -> dict[str, Any]:
        """Tell what was found; nothing is to be fed afterwards.

        Returns:
            `encoding`: `ascii`, `utf-8`, `utf-16-le`, ..., or None if it is some other, in which
            case the lines are those that the byte 10 ends. `byte_order_mark`. `lines`: an
            unended last one counts. `line_ending`: `lf`, `crlf`, `mixed`, or None without any.
        """
        self._count(self._decoded(b"", final=True))
        unended = bool(self._last) and self._last != "\n"
        name = "ascii" if self._encoding == "utf-8" and self._is_ascii else self._encoding
        return {
            "encoding": None if name in ("", _BYTES) else name,
            "byte_order_mark": self._has_mark,
            "lines": self._lines + unended,
            "line_ending": self._ending(),
        }

    def _ending(self) -> str | None:
        if not self._lines:
            return None
        return "lf" if not self._crlf else "crlf" if self._crlf == self._lines else "mixed"

    def _begin(self, piece: bytes) -> None:
        found = next(((mark, name) for mark, name in _MARKS if piece.startswith(mark)), None)
        self._has_mark = found is not None
        self._encoding = found[1] if found else "utf-8"
        self._decoder = codecs.getincrementaldecoder(self._encoding)("strict")

    def _decoded(self, piece: bytes, *, final: bool) -> str:
        if self._decoder is None:
            return piece.decode(_BYTES)
        try:
            return self._decoder.decode(piece, final)
        except UnicodeDecodeError:
            # Bytes that the decoder had kept were in the middle of a character: no line end.
            self._decoder, self._encoding = None, _BYTES
            return piece.decode(_BYTES)

    def _count(self, text: str) -> None:
        if not text:
            return
        self._lines += text.count("\n")
        self._crlf += text.count("\r\n")
        if self._last == "\r" and text[0] == "\n":
            self._crlf += 1
        self._last = text[-1]
