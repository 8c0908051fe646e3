"""A form with files (RFC 7578), streamed: nothing of it is whole in memory."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from offload.inputs import Reading

PIECE_BYTES = 256 << 10
Sent = Callable[[int], None]
"""Is told how many bytes of files have been handed over since the last time; a negative number
when a body begins anew."""


def unsent(_count: int) -> None:
    """Progress that nobody watches."""


class Progress:
    """How much of a body is sent, told on; what is sent again does not count twice."""

    def __init__(self, told: Sent) -> None:
        """Begin with nothing."""
        self._told = told
        self._sent_bytes = 0

    def add(self, count: int) -> None:
        """So much more is sent."""
        self._sent_bytes += count
        self._told(count)

    def begin_anew(self) -> None:
        """What was sent is void."""
        if self._sent_bytes:
            self._told(-self._sent_bytes)
        self._sent_bytes = 0


class Form:
    """One text field, and files; sent as often as it takes."""

    def __init__(self, field: tuple[str, str] | None, files: Sequence[Reading]) -> None:
        """Put it together; the files are the caller's to close."""
        self._files = files
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._heads = [_head(boundary, file, n) for n, file in enumerate(files)]
        self._opening = b""
        if field is not None:
            name, text = field
            self._opening = (
                f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n'
                f"Content-Type: application/json\r\n\r\n{text}\r\n"
            ).encode()
        self._closing = f"\r\n--{boundary}--\r\n".encode()

    @property
    def size_bytes(self) -> int | None:
        """All of it; None if a stream among its files does not say how long it is."""
        sizes = [file.size_bytes for file in self._files]
        if any(size is None for size in sizes):
            return None
        around = len(self._opening) + sum(map(len, self._heads)) + len(self._closing)
        return around + sum(size or 0 for size in sizes)

    def rewind(self) -> None:
        """Get ready to be sent. Raises `CannotRepeat`."""
        for file in self._files:
            file.rewind()

    def parts(self) -> list[tuple[bytes, Reading | None]]:
        """Give what is to be sent, in order: bytes, and behind them a file."""
        first, *others = self._heads
        opened = [(self._opening + first, self._files[0])]
        rest = zip(others, self._files[1:], strict=True)
        return [*opened, *rest, (self._closing, None)]


def _head(boundary: str, file: Reading, number: int) -> bytes:
    before = "\r\n" if number else ""
    kind = file.media_type or "application/octet-stream"
    if not (kind.isascii() and kind.isprintable()):
        raise ValueError("A media type is of printable ASCII.")
    return (
        f'{before}--{boundary}\r\nContent-Disposition: form-data; name="file"; '
        f'filename="{_quoted(file.name)}"\r\nContent-Type: {kind}\r\n\r\n'
    ).encode("utf-8", "surrogateescape")


def _quoted(name: str) -> str:
    """Write a name as browsers do (WHATWG HTML, multipart/form-data encoding)."""
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
