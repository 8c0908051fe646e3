"""Server-sent events (WHATWG HTML, section 9.2), from bytes as they come."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from offload.errors import NotOffload

MAX_EVENT_BYTES = 16 << 20
_LINE_END = re.compile(rb"\r\n|\n|\r(?!$)")


@dataclass(slots=True)
class Message:
    """One event as it came."""

    event: str
    data: str
    id: str | None


@dataclass(slots=True)
class Parser:
    """Takes pieces of a stream, and gives the events that are whole."""

    last_id: str | None = None
    """To be sent as `Last-Event-ID` by whoever comes back."""
    retry_s: float | None = None
    """How long to wait before that, if the service says."""
    _rest: bytearray = field(default_factory=bytearray)
    _event: str = ""
    _id: str | None = None
    """Of the event that is coming: it is the last one only when that is whole."""
    _data: list[str] = field(default_factory=list)

    def feed(self, piece: bytes) -> Iterator[Message]:
        """Take a piece. Raises `NotOffload` if an event does not end."""
        self._rest += piece
        start = 0
        for found in _LINE_END.finditer(self._rest):
            line = self._rest[start : found.start()].decode("utf-8", "replace")
            start = found.end()
            if message := self._line(line):
                yield message
        del self._rest[:start]
        if len(self._rest) + sum(map(len, self._data)) > MAX_EVENT_BYTES:
            raise NotOffload(f"An event is larger than {MAX_EVENT_BYTES} bytes.")

    def begin(self) -> None:
        """Forget what is not whole: a new connection begins with a new event."""
        self._rest.clear()
        self._data.clear()
        self._event, self._id = "", self.last_id

    def _line(self, line: str) -> Message | None:
        if not line:
            return self._ended()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_s = min(int(value[:9]) / 1000, 60.0)
        return None

    def _ended(self) -> Message | None:
        data, event = self._data, self._event
        self._data, self._event, self.last_id = [], "", self._id
        return Message(event or "message", "\n".join(data), self.last_id) if data else None
