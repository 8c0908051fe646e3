"""Counts what of a request is not its body: lines, headers, all of it; as it arrives."""

from __future__ import annotations

from app.errors import HeadTooLarge
from app.wire.settings import HttpSettings

LINE_OVERHEAD_BYTES = len(b": \r\n")
CHUNK_OVERHEAD_BYTES = 16
"""What each chunk may cost beside its bytes: its size, and two line ends (as Go's `net/http`)."""


class Head:
    """The count for one request; begun again for the next one of the connection.

    The parser gathers the bytes of a header until its line ends, and tells nobody: therefore what
    was fed to it since it last told of something is counted too. That is never more than the line
    under way has, so nothing is refused that fits.
    """

    __slots__ = ("_bytes", "_framing_bytes", "_headers", "_limits", "_untold_bytes")

    def __init__(self, limits: HttpSettings) -> None:
        """Begin with nothing."""
        self._limits = limits
        self.begin()

    def begin(self) -> None:
        """Count for a new request."""
        self._bytes = self._headers = self._untold_bytes = self._framing_bytes = 0

    def fed(self, size_bytes: int) -> None:
        """Note what the parser is about to get."""
        self._untold_bytes += size_bytes
        self._framing_bytes += size_bytes

    def judge(self) -> None:
        """Raise `HeadTooLarge` if what the parser has taken in, and not told of, is too much."""
        self._judge_line(self._untold_bytes)
        if self._bytes + self._untold_bytes > self._limits.max_head_bytes:
            raise self._too_large("head is larger", "max_head_bytes")

    def url(self, size_bytes: int) -> None:
        """Count the URL, as long as it is by now. Raises `HeadTooLarge`."""
        self._untold_bytes = 0
        self._bytes = size_bytes
        self._judge_line(size_bytes)

    def header(self, name: bytes, value: bytes) -> None:
        """Count a header or a trailer. Raises `HeadTooLarge`."""
        size_bytes = len(name) + len(value) + LINE_OVERHEAD_BYTES
        self._untold_bytes = 0
        self._bytes += size_bytes
        self._headers += 1
        self._judge_line(size_bytes)
        if self._bytes > self._limits.max_head_bytes:
            raise self._too_large("head is larger", "max_head_bytes")
        if self._headers > self._limits.max_headers:
            raise HeadTooLarge(
                f"The request has more than {self._limits.max_headers} headers.",
                limit="max_headers",
            )

    def body(self, pieces: int, size_bytes: int) -> None:
        """Count pieces of the body: what they pay for is no overhead. Raises `HeadTooLarge`."""
        self._untold_bytes = 0
        paid_bytes = CHUNK_OVERHEAD_BYTES * pieces + 3 * size_bytes
        self._framing_bytes = max(0, self._framing_bytes - paid_bytes)
        if self._framing_bytes > self._limits.max_head_bytes:
            raise self._too_large("chunk framing is larger", "max_head_bytes")

    def complete(self) -> None:
        """Note that the head is whole: from here on, framing is what stands between chunks."""
        self._untold_bytes = self._framing_bytes = 0

    def _judge_line(self, size_bytes: int) -> None:
        if size_bytes > self._limits.max_line_bytes:
            raise self._too_large("line, or one of its headers, is longer", "max_line_bytes")

    def _too_large(self, what: str, limit: str) -> HeadTooLarge:
        most_bytes = getattr(self._limits, limit)
        return HeadTooLarge(f"The request's {what} than {most_bytes} bytes.", limit=limit)
