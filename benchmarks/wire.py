"""HTTP/1.1 on a raw socket: so little work for the client that the service is what is measured.

Knows what the measured services send, and no more: Content-Length, no chunks, keep-alive.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self

RECEIVE_BYTES = 1 << 20
SMALL_BYTES = 16 << 10
"""For who opens hundreds of connections: a MiB each would be what is measured."""
JOINED_BYTES = 64 << 10
"""Pieces up to so many bytes leave together with what stands before and after them."""
BOUNDARY = "offload-benchmark-boundary"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; its body is kept only where it was asked for."""

    status: int
    headers: dict[str, str]
    size_bytes: int
    body: bytes

    def json(self) -> Any:
        """Read the kept body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Upload:
    """A request body in pieces that are sent as they lie in memory."""

    content_type: str
    pieces: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        """What Content-Length says."""
        return sum(len(piece) for piece in self.pieces)


def multipart(files: Sequence[tuple[str, bytes]]) -> Upload:
    """Put files, each with its name, into one multipart/form-data body."""
    pieces: list[bytes] = []
    for name, data in files:
        head = (
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
            f'name="file"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        )
        pieces += [head.encode(), data, b"\r\n"]
    pieces.append(f"--{BOUNDARY}--\r\n".encode())
    return Upload(f"multipart/form-data; boundary={BOUNDARY}", tuple(pieces))


def _joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Put small neighbours together; large pieces are not copied."""
    for large, group in groupby(pieces, lambda piece: len(piece) > JOINED_BYTES):
        if large:
            yield from group
        else:
            yield b"".join(group)


class Connection:
    """One connection to a service on this machine; one request at a time."""

    def __init__(self, port: int, receive_bytes: int = RECEIVE_BYTES) -> None:
        self._port = port
        self._buffer = bytearray(receive_bytes)

    async def __aenter__(self) -> Self:
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(self._socket, ("127.0.0.1", self._port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()

    async def get(self, target: str, *, keep: bool = False) -> Response:
        """As `request`, without a body to send."""
        return await self.request("GET", target, keep=keep)

    async def request(
        self, method: str, target: str, upload: Upload | None = None, *, keep: bool = False
    ) -> Response:
        """Send a request and read the whole answer; `keep` keeps its body."""
        loop = asyncio.get_running_loop()
        head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
        if upload is not None:
            head += f"Content-Type: {upload.content_type}\r\n"
            head += f"Content-Length: {upload.size_bytes}\r\n"
        pieces = [f"{head}\r\n".encode(), *(upload.pieces if upload else ())]
        for piece in _joined(pieces):
            await loop.sock_sendall(self._socket, piece)
        return await self._answer(keep=keep)

    async def _answer(self, *, keep: bool) -> Response:
        received = b""
        while b"\r\n\r\n" not in received:
            count = await self._receive()
            received += self._buffer[:count]
        head, _, rest = received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        size_bytes = int(headers["content-length"])
        kept = [rest]
        missing = size_bytes - len(rest)
        while missing:
            count = await self._receive()
            missing -= count
            if keep:
                kept.append(bytes(self._buffer[:count]))
        body = b"".join(kept) if keep else b""
        return Response(int(status_line.split(" ")[1]), headers, size_bytes, body)

    async def _receive(self) -> int:
        count = await asyncio.get_running_loop().sock_recv_into(self._socket, self._buffer)
        if not count:
            raise ConnectionError("The service closed the connection in the middle of an answer.")
        return count
