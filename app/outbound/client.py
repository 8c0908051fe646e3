"""The one HTTP client for everything outbound: httpx above, aiohttp's connections below.

httpx is the interface; its own connection pool is not used, because its cost per request grows
with the number of connections (docs/fetch.md has the figures). The transport that joins the two is
written out here, not taken from a library, for what it has to guarantee: the guard judges every
dial, nothing is re-quoted, nothing is sent twice that may have arrived, and each failure gets its
`fetch.*` code where it is met.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_exceptions import ContentLengthError, TransferEncodingError

from app.errors import (
    FetchConnectError,
    FetchError,
    FetchProtocolError,
    FetchTimeout,
    FetchTlsError,
    FetchTruncated,
)
from app.outbound.guard import Guard, forbidden
from app.outbound.proxy import TunnelConnector, Tunnels

IDLE_S = 2.0
"""Seconds an idle connection is kept. Short: a list of 10,000 hosts would otherwise hold as many
descriptors."""


@asynccontextmanager
async def open_client(
    guard: Guard,
    *,
    user_agent: str,
    connect_timeout_s: float,
    read_timeout_s: float,
    tunnels: Tunnels | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """Open the process's HTTP client.

    It follows no redirects, keeps no cookies, decodes no content coding, retries nothing and
    ignores the environment's proxies and .netrc; `tunnels`, where given, are the only way out.
    There is no limit on connections: callers bound themselves. Requests raise `FetchError`, never
    an exception of httpx or aiohttp; `read_timeout_s` is the longest silence, not a total. A
    response's extension `timings` has the seconds that `dns`, `connect` (the tunnel included; None
    where not needed) and `first_byte` took.
    """
    # At INFO httpx logs every URL, and URLs carry signatures and tokens.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    tls = httpx.create_ssl_context()
    tls.set_alpn_protocols(["http/1.1"])
    async with (
        aiohttp.ClientSession(
            connector=_connector(guard, tls, tunnels),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            middlewares=(_send_once,),
            trace_configs=[_trace()],
        ) as session,
        _Client(
            transport=_Transport(guard, session, proxied=tunnels is not None),
            timeout=httpx.Timeout(read_timeout_s, connect=connect_timeout_s, pool=None),
            headers={"user-agent": user_agent, "accept-encoding": "identity"},
            follow_redirects=False,
            trust_env=False,
        ) as client,
    ):
        yield client


def _connector(guard: Guard, tls: ssl.SSLContext, tunnels: Tunnels | None) -> aiohttp.TCPConnector:
    options: dict[str, Any] = {
        "resolver": _Resolver(guard),
        "use_dns_cache": False,
        "limit": 0,
        "keepalive_timeout": IDLE_S,
        "ssl": tls,
    }
    if tunnels is not None:
        return TunnelConnector(guard, tunnels, **options)
    return aiohttp.TCPConnector(socket_factory=_SocketFactory(guard), **options)


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep nothing: what one client's fetch was given must not go out with another's."""


class _Client(httpx.AsyncClient):
    """httpx has a jar of its own above aiohttp's, and no option to do without."""

    _NONE = _NoCookies()

    @property
    def cookies(self) -> httpx.Cookies:
        return self._NONE

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        raise AttributeError("The outbound client keeps no cookies.")


class _Resolver(AbstractResolver):
    """Gives aiohttp judged addresses only."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve once; the numeric addresses given back are what gets dialled."""
        return [
            ResolveResult(
                hostname=host,
                host=judged.address,
                port=judged.port,
                family=judged.family,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for judged in await self._guard.resolve(host, port)
        ]

    async def close(self) -> None:
        """Nothing to release: the lookup belongs to who made the guard."""


class _AddressRefusedError(PermissionError):
    """An OSError, since that is all aiohttp's race between addresses lets through."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(why)
        self.refusal = forbidden(host, port, why)


class _SocketFactory:
    """Makes the sockets, and so sees each address in the moment before it is dialled.

    aiohttp asks no resolver about a host that is an address already: without this, every literal
    would pass.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def __call__(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Judge once more, then make the socket."""
        family, kind, protocol, _, (host, port, *_) = info
        if why := self._guard.judge(ip_address(str(host)), int(port)):
            raise _AddressRefusedError(str(host), int(port), why)
        return socket.socket(family, kind, protocol)


class _BrokenError(Exception):
    """The connection broke before any answer."""


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from silently repeating a request whose connection broke.

    It does so for every GET, which would make three tries six; whether to send again is decided
    in the transport, which knows more.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise _BrokenError(_said(exc)) from exc


@dataclass(slots=True)
class _Noted:
    """What aiohttp did for one request, and when, in seconds of a clock of no meaning."""

    began: float = field(default_factory=time.perf_counter)
    reused: bool = False
    """Whether it went over a kept connection."""
    dns_began: float = 0.0
    dns_s: float | None = None
    connect_began: float = 0.0
    connect_s: float | None = None
    """With the name's look-up in it."""

    def timings(self) -> dict[str, float | None]:
        """Give seconds by phase; None for one that was not needed."""
        connect_s = None if self.connect_s is None else self.connect_s - (self.dns_s or 0.0)
        first_byte_s = time.perf_counter() - self.began
        return {"dns": self.dns_s, "connect": connect_s, "first_byte": first_byte_s}


def _trace() -> aiohttp.TraceConfig:
    """Make aiohttp note in a request's own record what it does for it."""

    def noting(note: Callable[[_Noted, float], None]) -> Any:
        async def noted(_: object, context: SimpleNamespace, __: object) -> None:
            note(context.trace_request_ctx, time.perf_counter())

        return noted

    def reused(noted: _Noted, _: float) -> None:
        noted.reused = True

    def dns_began(noted: _Noted, now: float) -> None:
        noted.dns_began = now

    def dns_ended(noted: _Noted, now: float) -> None:
        noted.dns_s = now - noted.dns_began

    def connect_began(noted: _Noted, now: float) -> None:
        noted.connect_began = now

    def connect_ended(noted: _Noted, now: float) -> None:
        noted.connect_s = now - noted.connect_began

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(noting(reused))
    trace.on_dns_resolvehost_start.append(noting(dns_began))
    trace.on_dns_resolvehost_end.append(noting(dns_ended))
    trace.on_connection_create_start.append(noting(connect_began))
    trace.on_connection_create_end.append(noting(connect_ended))
    return trace


class _Transport(httpx.AsyncBaseTransport):
    """Sends httpx's requests over one aiohttp session."""

    def __init__(self, guard: Guard, session: aiohttp.ClientSession, *, proxied: bool) -> None:
        self._guard = guard
        self._session = session
        self._proxied = proxied

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; the body of the response is not read yet.

        Raises:
            FetchError: the matching leaf.
        """
        target = self._guard.check(request.url)
        path, _, query = target.url.raw_path.decode("ascii").partition("?")
        # Built from parts and taken as encoded: parsed again it would be quoted anew (%20 to +,
        # %7e to ~), which breaks signed URLs.
        url = yarl.URL.build(
            scheme=target.scheme,
            host=f"[{target.host}]" if ":" in target.host else target.host,
            port=target.url.port,
            path=path,
            query_string=query,
            encoded=True,
        )
        try:
            response, noted = await self._sent(request, url)
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise _head_error(exc, proxied=self._proxied) from exc
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Body(response),
            request=request,
            extensions={"timings": noted.timings()},
        )

    async def _sent(
        self, request: httpx.Request, url: yarl.URL
    ) -> tuple[aiohttp.ClientResponse, _Noted]:
        """Send until an answer comes, or until a new connection breaks as well.

        An origin may close a kept connection in the moment in which it is used again; that says
        nothing about the request, which may then be repeated (RFC 9112, 9.3.1). It ends: each
        round uses up one kept connection.
        """
        timeout = request.extensions.get("timeout", {})
        body = _content(request)
        while True:
            noted = _Noted()
            try:
                response = await self._session.request(
                    request.method,
                    url,
                    headers=request.headers.multi_items(),
                    data=body,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(
                        total=None,
                        # From the name to the end of the TLS handshake, a proxy's tunnel included.
                        connect=timeout.get("connect"),
                        sock_read=timeout.get("read"),
                    ),
                    trace_request_ctx=noted,
                )
            except _BrokenError as exc:
                if not noted.reused or request.method not in ("GET", "HEAD"):
                    raise FetchConnectError(
                        "The origin closed the connection without an answer.", log_detail=str(exc)
                    ) from exc
            else:
                return response, noted


def _content(request: httpx.Request) -> bytes | AsyncIterable[bytes] | None:
    """Give the request's body: bytes at once, or, with a Content-Length of its own, as it comes."""
    if isinstance(request.stream, httpx.ByteStream):
        return request.content or None
    assert isinstance(request.stream, httpx.AsyncByteStream)  # noqa: S101 - an async client's
    return request.stream


class _Body(httpx.AsyncByteStream):
    """The bytes of one response as they come off the wire."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as exc:
            raise _body_error(exc) from exc

    async def aclose(self) -> None:
        """Drop the connection, unless the body was read to its end: then it is in the pool."""
        self._response.close()


def _said(exc: Exception) -> str:
    """Give what the log may know: the texts of these two classes carry the URL and the headers."""
    if isinstance(exc, aiohttp.ClientResponseError):
        text = exc.message
    elif isinstance(exc, aiohttp.ConnectionTimeoutError):
        text = ""
    else:
        text = str(exc)
    return f"{type(exc).__name__}: {text[:300]}"


def _head_error(exc: Exception, *, proxied: bool) -> FetchError:
    """Translate what went wrong up to the end of the response's header."""
    said = _said(exc)
    if isinstance(exc, aiohttp.ClientConnectorError) and isinstance(
        exc.os_error, _AddressRefusedError
    ):
        return exc.os_error.refusal
    if isinstance(exc, aiohttp.ConnectionTimeoutError):
        way = "to the origin through the proxy" if proxied else "to the origin"
        return FetchTimeout(
            f"No connection {way} within the time limit.", log_detail=said, phase="connect"
        )
    if isinstance(exc, asyncio.TimeoutError):
        return FetchTimeout("The origin did not answer in time.", log_detail=said, phase="read")
    if isinstance(exc, aiohttp.ClientSSLError | ssl.SSLError | ssl.CertificateError):
        return FetchTlsError("The TLS handshake with the origin failed.", log_detail=said)
    if isinstance(exc, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        return FetchProtocolError("The origin's answer is not valid HTTP.", log_detail=said)
    if isinstance(exc, aiohttp.ClientConnectionError | OSError):
        return FetchConnectError("No connection to the origin.", log_detail=said)
    return FetchError("The URL could not be fetched.", log_detail=said)


def _body_error(exc: Exception) -> FetchError:
    """Translate what went wrong after the header."""
    said = _said(exc)
    if isinstance(exc, asyncio.TimeoutError):
        return FetchTimeout("The origin stopped sending.", log_detail=said, phase="read")
    if isinstance(exc, aiohttp.ClientPayloadError) and not _cut(exc):
        return FetchProtocolError("The response's body is not valid HTTP.", log_detail=said)
    return FetchTruncated("The response ended before its declared end.", log_detail=said)


def _cut(exc: aiohttp.ClientPayloadError) -> bool:
    return isinstance(exc.__cause__, ContentLengthError | TransferEncodingError)
