"""The one HTTP client for everything outbound: httpx above, aiohttp's connections below.

httpx is the interface; its own connection pool is not used, because its cost per request grows
with the number of connections (docs/fetch.md has the figures). The transport that joins the two is
written out here, not taken from a library, for what it has to guarantee: the guard judges every
dial, nothing is re-quoted, nothing is sent twice that may have arrived, and each failure gets its
`fetch.*` code where it is met.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import aiohttp
import httpx
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult

from app.errors import FetchConnectError
from app.outbound.failures import AddressRefusedError, body_error, head_error, said_by
from app.outbound.guard import Guard, Target
from app.outbound.limits import FetchSettings
from app.outbound.proxy import TunnelConnector, Tunnels
from app.outbound.timings import Noted, trace_config

IDLE_S = 2.0
"""Seconds an idle connection is kept. Short: a list of 10,000 hosts would otherwise hold as many
descriptors."""


@asynccontextmanager
async def open_client(
    guard: Guard, settings: FetchSettings, tunnels: Tunnels | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Open the process's HTTP client.

    It follows no redirects, keeps no cookies, decodes no content coding, retries nothing and
    ignores the environment's proxies and .netrc; `tunnels`, where given, are the only way out.
    There is no limit on connections: callers bound themselves. Requests raise `FetchError`, never
    an exception of httpx or aiohttp; the read timeout is the longest silence, not a total. A
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
            trace_configs=[trace_config()],
        ) as session,
        _Client(
            _Transport(guard, session, proxied=tunnels is not None),
            timeout=httpx.Timeout(
                settings.read_timeout_s, connect=settings.connect_timeout_s, pool=None
            ),
            headers={"user-agent": settings.user_agent, "accept-encoding": "identity"},
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


class _Client(httpx.AsyncClient):
    """httpx without what it does between a request and its transport.

    It would keep cookies, and read the Location of a redirect also where it does not follow it;
    what one client's fetch was given must not go out with another's.
    """

    def __init__(self, transport: _Transport, **options: Any) -> None:
        super().__init__(transport=transport, follow_redirects=False, trust_env=False, **options)
        self._below = transport

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **_: object
    ) -> httpx.Response:
        """Send a request as it is: no credentials, cookies or redirects are added."""
        response = await self._below.handle_async_request(request)
        if not stream:
            await response.aread()
        return response


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
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await self._guard.resolve(host, port)
        ]

    async def close(self) -> None:
        """Nothing to release: the lookup belongs to who made the guard."""


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
            raise AddressRefusedError(str(host), int(port), why)
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
        raise _BrokenError(said_by(exc)) from exc


class _Transport(httpx.AsyncBaseTransport):
    """Sends httpx's requests over one aiohttp session."""

    def __init__(self, guard: Guard, session: aiohttp.ClientSession, *, proxied: bool) -> None:
        self._guard = guard
        self._session = session
        self._proxied = proxied

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`; the body of the response, a `Wire`, is not read yet.

        Its extension `target`, where there is one, is its URL as the guard has judged it.

        Raises:
            FetchError: the matching leaf.
        """
        target = request.extensions.get("target")
        if not isinstance(target, Target):
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
            raise head_error(exc, proxied=self._proxied) from exc
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=Wire(response),
            request=request,
            extensions={"timings": noted.timings()},
        )

    async def _sent(
        self, request: httpx.Request, url: yarl.URL
    ) -> tuple[aiohttp.ClientResponse, Noted]:
        """Send until an answer comes, or until a new connection breaks as well.

        An origin may close a kept connection in the moment in which it is used again; that says
        nothing about the request, which may then be repeated (RFC 9112, 9.3.1). It ends: each
        round uses up one kept connection.
        """
        timeout = request.extensions.get("timeout", {})
        body = _content(request)
        while True:
            noted = Noted()
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
        return request.read() or None
    assert isinstance(request.stream, httpx.AsyncByteStream)  # noqa: S101 - an async client's
    return request.stream


class Wire(httpx.AsyncByteStream):
    """The bytes of one response as they come off the wire."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def read(self) -> bytes:
        """Give all that has come; nothing at the end. Raises the matching leaf of `FetchError`."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as exc:
            raise body_error(exc) from exc

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.read():
            yield chunk

    async def aclose(self) -> None:
        """Drop the connection, unless the body was read to its end: then it is in the pool."""
        self._response.close()
