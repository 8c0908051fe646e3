"""A loopback origin for the fetch cases.

GET /DELAY_MS/NUMBER/SIZE_BYTES gives a body that no other URL has (4,000 bytes where no size is
named), GET /counts what was asked for so far, as JSON.

As little as answers correctly, from bytes that lie in memory, so that the fetchers are measured and
not the origin. `python -m benchmarks.origin PORT` serves until it is told to stop.
"""

import asyncio
import hashlib
import json
import random
import sys

import uvloop

BODY_BYTES = 4_000
COUNTS = b"/counts"


class Bodies:
    """What is served, and how often each number was asked for."""

    def __init__(self) -> None:
        """Begin with nothing asked for."""
        self._requests = 0
        self._asked = bytearray()
        self._filler = b""

    def of(self, path: bytes) -> tuple[bytes, memoryview]:
        """Give a URL's body, which is text: a digest of its path, then what all bodies share."""
        seed = hashlib.sha256(path).hexdigest().encode()[: size_of(path)]
        rest_bytes = size_of(path) - len(seed)
        if rest_bytes > len(self._filler):
            self._filler = random.Random(0).randbytes(rest_bytes // 2 + 1).hex().encode()
        return seed, memoryview(self._filler)[:rest_bytes]

    def count(self, path: bytes) -> None:
        """Note a request."""
        number = int(path.split(b"/", 3)[2])
        if number >= len(self._asked):
            self._asked.extend(bytes(number + 1 - len(self._asked)))
        self._requests += 1
        self._asked[number] = min(self._asked[number] + 1, 255)

    def counts(self) -> bytes:
        """Say how many requests there were, for how many URLs, and of how many more than one."""
        once, never = self._asked.count(1), self._asked.count(0)
        urls = len(self._asked) - never
        told = {"requests": self._requests, "urls": urls, "repeated_urls": urls - once}
        return json.dumps(told).encode()


def size_of(path: bytes) -> int:
    parts = path.split(b"/")
    return int(parts[3]) if len(parts) > 3 else BODY_BYTES


class Origin(asyncio.Protocol):
    """One connection, kept alive; requests without bodies only."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
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
            if path == COUNTS:
                self._answer(self._bodies.counts(), b"")
                continue
            self._bodies.count(path)
            delay_ms = int(path.split(b"/", 2)[1])
            if delay_ms:
                asyncio.get_running_loop().call_later(delay_ms / 1000, self._serve, path)
            else:
                self._serve(path)

    def _serve(self, path: bytes) -> None:
        self._answer(*self._bodies.of(path))

    def _answer(self, begin: bytes, rest: bytes | memoryview) -> None:
        if not self._transport.is_closing():
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
            # In two pieces, or each large body would be copied.
            pieces = (head % (len(begin) + len(rest)) + begin, rest)
            # Without what is empty: asyncio of 3.12 and later goes round and round at it.
            self._transport.writelines([piece for piece in pieces if piece])


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    bodies = Bodies()
    server = await loop.create_server(lambda: Origin(bodies), "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1])))
