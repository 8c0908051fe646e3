"""A receiver of webhooks and results on loopback that behaves as the path says."""

import asyncio
import re
import socket
import struct
from dataclasses import dataclass
from email.utils import formatdate

from .origin import CHUNKED, Server, answer, chunks


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver(Server):
    """Keeps what it is sent. The first part of a path names the behaviour, one method each."""

    def __init__(self, host="127.0.0.1", port=0):
        super().__init__(host, port)
        self.received = []
        self.arrived = asyncio.Semaphore(0)
        """Released once for each whole request."""
        self.hold = asyncio.Event()
        """Lets go of the requests to /held."""
        self.under_way = 0
        self.most_under_way = 0

    def to(self, path):
        """Give what came to a path."""
        return [one for one in self.received if one.path.partition("?")[0] == path]

    async def wait_for(self, count):
        """Return when so many more requests have come."""
        async with asyncio.timeout(20):
            for _ in range(count):
                await self.arrived.acquire()

    async def serve(self, reader, writer):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            method, path, _ = first.split(" ")
            fields = dict(re.split(r":\s*", line, maxsplit=1) for line in lines if line)
            headers = {name.lower(): value for name, value in fields.items()}
            name, *rest = path.partition("?")[0].strip("/").split("/")
            if name == "unread":
                writer.write(answer(b"too much", "413 Content Too Large", "Connection: close"))
                await writer.drain()
                return
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.received.append(Received(method, path, headers, body))
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            self.arrived.release()
            try:
                await getattr(self, f"do_{name.replace('-', '_')}")(writer, *rest)
                await writer.drain()
            finally:
                self.under_way -= 1
            if name in ("cut", "garbage"):
                return

    async def do_ok(self, writer, *_):
        writer.write(answer(b"thanks"))

    async def do_204(self, writer):
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def do_status(self, writer, status, *headers):
        lines = [header.replace("=", ": ") for header in headers]
        writer.write(answer(b"no: %s" % status.encode(), f"{status} Whatever", *lines))

    async def do_busy(self, writer, status, seconds):
        late = formatdate(0, usegmt=True) if seconds == "past" else seconds
        writer.write(answer(b"", f"{status} Busy", f"Retry-After: {late}"))

    async def do_flaky(self, writer, failures):
        seen = len(self.to(f"/flaky/{failures}"))
        writer.write(answer(b"", "500 Oops" if seen <= int(failures) else "200 OK"))

    async def do_opens(self, writer):
        """Gone at first, and there again."""
        writer.write(answer(b"", "410 Gone" if len(self.to("/opens")) == 1 else "200 OK"))

    async def do_redirect(self, writer, status="302"):
        writer.write(answer(b"", f"{status} Elsewhere", f"Location: {self.url}/ok"))

    async def do_redirect_badly(self, writer):
        writer.write(answer(b"", "302 Found", "Location: http://[::1?s3cret"))

    async def do_held(self, writer, *_):
        await self.hold.wait()
        writer.write(answer(b"at last"))

    async def do_stall(self, writer, *_):
        await asyncio.Event().wait()

    async def do_stall_in_body(self, writer):
        writer.write(answer(b"so", length=100))
        await asyncio.Event().wait()

    async def do_drip_headers(self, writer):
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def do_huge(self, writer):
        writer.write(CHUNKED)
        while True:
            writer.write(chunks(b"x" * 65536, end=b""))
            await writer.drain()

    async def do_binary(self, writer):
        writer.write(answer(b"\xff\x00\x1b[31mred"))

    async def do_cut(self, writer, status="200"):
        writer.write(answer(b"some", f"{status} OK", length=100))

    async def do_close(self, writer):
        raise ConnectionAbortedError

    async def do_reset(self, writer):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionAbortedError

    async def do_garbage(self, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
