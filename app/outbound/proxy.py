"""The operator's proxy: every connection as a CONNECT tunnel to an address judged here.

The proxy is told numbers and never names. So what the guard has judged is what gets reached, with
no second look-up that could answer differently, and TLS goes through to the origin's real name.

aiohttp's own proxy support is not used: for http it hands the whole request over in absolute form,
with the credentials beside the origin's headers, and for https it names the host.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import aiohttp
import httpx

from app.errors import FetchConnectError, FetchProxyError, FetchTlsError, FetchUrlInvalid
from app.outbound.addresses import Address, unmapped
from app.outbound.guard import Guard, Lookup, forbidden, host_of

MAX_ANSWER_BYTES = 16 * 1024
"""Longest answer of a proxy, up to the end of its header."""
MAX_ADDRESSES = 4
"""How many of a name's addresses the proxy is asked for; its owner may have listed thousands."""

_NOT_A_PROXY = (
    "a proxy is http://host:port, with user:password@ before the host if it wants that, and no "
    "path; what is special in a URL has to be percent-encoded in the password"
)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?(?:\r\n|\Z)")


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy is, and how it is told who asks."""

    host: str
    """A name or an address, without brackets."""
    port: int
    authorization: str = field(default="", repr=False)
    """Value of Proxy-Authorization; empty where none is sent."""

    def __str__(self) -> str:
        """Give it as a URL, without credentials."""
        return f"http://{_authority(self.host, self.port)}"

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Read `http://[user:password@]host[:port]`, port 80 unless said; both are decoded.

        Raises:
            ValueError: it is not that; the text repeats nothing of it.
        """
        try:
            parsed = httpx.URL(url)
            host = host_of(parsed.raw_host)
        except (httpx.InvalidURL, ValueError, FetchUrlInvalid):
            raise ValueError(_NOT_A_PROXY) from None
        port = 80 if parsed.port is None else parsed.port
        extra = parsed.path.strip("/") or parsed.query or parsed.fragment
        if parsed.scheme != "http" or extra or not 1 <= port <= 65535:
            raise ValueError(_NOT_A_PROXY)
        if not parsed.userinfo:
            return cls(host, port)
        if ":" in parsed.username:
            # Basic has no way to say it (RFC 7617, 2).
            raise ValueError("the proxy's user name cannot contain a colon")
        credentials = f"{parsed.username}:{parsed.password}".encode()
        return cls(host, port, "Basic " + base64.b64encode(credentials).decode())


class Tunnels:
    """Opens connections through a proxy (RFC 9110, 9.3.6)."""

    def __init__(self, proxy: Proxy, lookup: Lookup) -> None:
        self._proxy = proxy
        self._lookup = lookup

    async def open(self, targets: Sequence[tuple[Address, int]]) -> socket.socket:
        """Give a socket whose other end is the first of `targets` that the proxy reaches.

        Waits for as long as the proxy does: the caller has the deadline.

        Args:
            targets: addresses and ports, judged; at least one.

        Raises:
            FetchProxyError: none was reached; says why the first was not.
        """
        # That the proxy has IPv4 may be expected, that it has IPv6 cannot be seen from here; a
        # route into nowhere would use up the time for both.
        ordered = sorted(targets, key=lambda target: target[0].version)
        first: FetchProxyError | None = None
        for address, port in ordered[:MAX_ADDRESSES]:
            sock = await self._dial()
            try:
                await self._connect(sock, _authority(str(address), port))
            except FetchProxyError as error:
                sock.close()
                first = first or error
                if error.extra.get("proxy_status") == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
                    break
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        assert first is not None  # noqa: S101 - there was at least one target
        raise first

    async def _dial(self) -> socket.socket:
        """Connect to the proxy itself, which the operator chose: the guard has no say in it."""
        loop = asyncio.get_running_loop()
        said = "it has no address"
        for address in await self._addresses():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
                sock.setblocking(False)
                try:
                    await loop.sock_connect(sock, (address, self._proxy.port))
                except BaseException:
                    sock.close()
                    raise
            except OSError as exc:
                said = str(exc)
            else:
                return sock
        raise self._error("The proxy cannot be reached.", said, temporary=True)

    async def _addresses(self) -> Sequence[str]:
        try:
            return [str(ip_address(self._proxy.host))]
        except ValueError:
            pass
        try:
            return await self._lookup(self._proxy.host)
        except (OSError, UnicodeError) as exc:
            raise self._error("The proxy cannot be reached.", str(exc), temporary=True) from exc

    async def _connect(self, sock: socket.socket, authority: str) -> None:
        """Make the connection to the proxy one to `authority`; raises `FetchProxyError`."""
        loop = asyncio.get_running_loop()
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if self._proxy.authorization:
            lines.append(f"Proxy-Authorization: {self._proxy.authorization}")
        try:
            await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("ascii"))
            status = await self._status(sock)
        except OSError as exc:
            raise self._closed(str(exc)) from exc
        if 200 <= status < 300:
            return
        if status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
            detail = "The proxy does not accept this service's credentials (status 407)."
        else:
            detail = f"The proxy answered with status {status}."
        raise self._error(
            detail,
            f"CONNECT {authority}",
            # Any 5xx: which of them says that the origin was not reached, proxies disagree about.
            temporary=status >= 500 or status == httpx.codes.TOO_MANY_REQUESTS,
            proxy_status=status,
        )

    async def _status(self, sock: socket.socket) -> int:
        """Read the proxy's answer, up to the end of its header."""
        loop = asyncio.get_running_loop()
        received = b""
        while (answer := self._final(received)) is None:
            if len(received) == MAX_ANSWER_BYTES:
                raise self._malformed(f"its header is longer than {MAX_ANSWER_BYTES} bytes")
            piece = await loop.sock_recv(sock, MAX_ANSWER_BYTES - len(received))
            if not piece:
                raise self._closed(f"after {received[:60]!r}")
            received += piece
        status, rest = answer
        if status < 300 and rest:
            # A 2xx to CONNECT has no body, and no origin speaks before it is asked: this could be
            # taken for the answer to a request that was not sent yet.
            raise self._malformed(f"it goes on {rest[:60]!r}")
        return status

    def _final(self, received: bytes) -> tuple[int, bytes] | None:
        """Give the status that is not interim, and what follows its header; None if not yet."""
        while True:
            head, end, rest = received.partition(b"\r\n\r\n")
            if not end:
                # What is not HTTP may never end its header: no waiting for that.
                if not b"HTTP/1.".startswith(received[:7]):
                    raise self._malformed(f"it begins {received[:60]!r}")
                return None
            line = _STATUS_LINE.match(head)
            if line is None or line[1] == b"101":
                raise self._malformed(f"it begins {head[:60]!r}")
            if (status := int(line[1])) >= 200:
                return status, rest
            received = rest

    def _closed(self, said: str) -> FetchProxyError:
        return self._error(
            "The proxy closed the connection without an answer.", said, temporary=True
        )

    def _malformed(self, said: str) -> FetchProxyError:
        return self._error("The proxy's answer is not valid HTTP.", said, temporary=False)

    def _error(self, detail: str, said: str, **extra: Any) -> FetchProxyError:
        return FetchProxyError(detail, log_detail=f"{self._proxy}: {said[:300]}", **extra)


class TunnelConnector(aiohttp.TCPConnector):
    """Makes aiohttp's connections, pooled by the origin's scheme, host and port, inside tunnels.

    It overrides the one method through which all of them come, which is not public; there is no
    public place between an address and its connection. Should a later aiohttp not call it, nothing
    goes past the proxy for that: without it no socket is made.
    """

    def __init__(self, guard: Guard, tunnels: Tunnels, **options: Any) -> None:
        super().__init__(socket_factory=_no_socket, **options)
        self._guard = guard
        self._tunnels = tunnels

    async def _wrap_create_connection(
        self, *args: Any, addr_infos: list[aiohttp.AddrInfoType], **kwargs: Any
    ) -> tuple[asyncio.Transport, Any]:
        wanted = {name: kwargs[name] for name in ("ssl", "server_hostname")}
        targets = [self._judged(str(dial[0]), int(dial[1])) for *_, dial in addr_infos]
        sock = await self._tunnels.open(targets)
        loop = asyncio.get_running_loop()
        # aiohttp's own errors would make it go through the addresses once more.
        try:
            return await loop.create_connection(*args, **wanted, sock=sock)
        except ssl.SSLError as exc:
            raise FetchTlsError(
                "The TLS handshake with the origin failed.", log_detail=str(exc)[:300]
            ) from exc
        except OSError as exc:
            raise FetchConnectError(
                "No connection to the origin.", log_detail=f"through the proxy: {str(exc)[:300]}"
            ) from exc

    def _judged(self, host: str, port: int) -> tuple[Address, int]:
        """Judge an address once more: no resolver is asked about one that a URL has itself."""
        address: Address = ip_address(host)
        if why := self._guard.judge(address, port):
            raise forbidden(host, port, why)
        # What was judged of a mapped address is the IPv4 address inside.
        return unmapped(address), port


def _no_socket(info: aiohttp.AddrInfoType) -> socket.socket:
    raise PermissionError("a connection that would not go through the proxy")


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
