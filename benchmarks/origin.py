"""A loopback origin for the fetch cases: GET /DELAY_MS/NUMBER gives 4 KB that no other URL has.

As little as answers correctly, so that the fetchers are measured and not the origin.
`python -m benchmarks.origin PORT` serves until it is told to stop.
"""

import asyncio
import hashlib
import sys

BODY_BYTES = 4_000


def body_of(path: bytes) -> bytes:
    seed = hashlib.sha256(path).hexdigest().encode()
    return (seed * (BODY_BYTES // len(seed) + 1))[:BODY_BYTES]


class Origin(asyncio.Protocol):
    """One connection, kept alive; requests without bodies only."""

    def __init__(self) -> None:
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what is written to."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request whose head is here."""
        self._unread += data
        while b"\r\n\r\n" in self._unread:
            head, _, self._unread = self._unread.partition(b"\r\n\r\n")
            path = head.split(b" ", 2)[1]
            delay_ms = int(path.split(b"/")[1]) if path.count(b"/") > 1 else 0
            if delay_ms:
                asyncio.get_running_loop().call_later(delay_ms / 1000, self._answer, path)
            else:
                self._answer(path)

    def _answer(self, path: bytes) -> None:
        if not self._transport.is_closing():
            body = body_of(path)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
            self._transport.write(head % len(body) + body)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Origin, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
