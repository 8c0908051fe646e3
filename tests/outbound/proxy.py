"""A real CONNECT proxy on loopback, and an origin that speaks TLS behind it."""

import asyncio
import contextlib
import re
import ssl
from pathlib import Path

from .origin import Origin, Server

PEM = Path(__file__).with_name("tls.pem")
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
HANG = None


def refusal(status, *headers):
    body = b"<html>the proxy's own page</html>"
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class ConnectProxy(Server):
    """Tunnels to wherever it is asked to, unless it is told to answer something else."""

    def __init__(self, *script, then=OPEN):
        super().__init__()
        self._script = list(script)
        self._then = then
        self.heads = []
        """The raw header of each request."""
        self.passed = b""
        """What clients have sent through the tunnels."""

    @property
    def targets(self):
        return [head.split(b" ", 2)[1].decode() for head in self.heads]

    async def serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        says = self._script.pop(0) if self._script else self._then
        if says is HANG:
            await asyncio.Event().wait()
        writer.write(says)
        await writer.drain()
        if re.search(rb"HTTP/1\.[01] 2[^\n]*\n([^\n]+\n)*\r\n\Z", says):
            host, _, port = head.split(b" ", 2)[1].decode().rpartition(":")
            await self._tunnel(reader, writer, host.strip("[]"), int(port))

    async def _tunnel(self, reader, writer, host, port):
        upstream, out = await asyncio.open_connection(host, port)
        ways = [
            asyncio.create_task(self._pass(reader, out, keep=True)),
            asyncio.create_task(self._pass(upstream, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            out.close()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass(self, reader, writer, *, keep=False):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if keep:
                    self.passed += data
                writer.write(data)
                await writer.drain()


class TlsOrigin(Origin):
    """Has a certificate for name.test, other.test and 127.0.0.1, in `PEM`."""

    def __init__(self):
        super().__init__()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(PEM)
        self.tls.sni_callback = lambda _, name, __: self.names.append(name)
        self.names = []
        """What each client said that it wanted to talk to."""
