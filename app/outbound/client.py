"""The one HTTP client for everything outbound: aiohttp's connections, httpx's URLs and responses.

httpx's own connection pool is not used, because its cost per request grows with the number of
connections (docs/fetch.md has the figures). What is written out here is what has to be guaranteed:
the guard judges every dial, nothing is re-quoted, nothing is sent twice that may have arrived, and
each failure gets its `fetch.*` code where it is met.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping
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
NO_HEADERS: Mapping[str, str] = {}


@asynccontextmanager
async def open_client(
    guard: Guard, settings: FetchSettings, tunnels: Tunnels | None = None
) -> AsyncIterator[Client]:
    """Open the process's HTTP client; `tunnels`, where given, are the only way out."""
    tls = httpx.create_ssl_context()
    tls.set_alpn_protocols(["http/1.1"])
    async with aiohttp.ClientSession(
        connector=_connector(guard, tls, tunnels),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        middlewares=(_send_once,),
        trace_configs=[trace_config()],
    ) as session:
        yield Client(guard, settings, session)


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
    in `Client`, which knows more.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise _BrokenError(said_by(exc)) from exc


class Client:
    """Sends requests over one aiohttp session.

    It follows no redirects, keeps no cookies, decodes no content coding, retries nothing and
    ignores the environment's proxies and .netrc. There is no limit on connections: callers bound
    themselves.
    """

    def __init__(
        self, guard: Guard, settings: FetchSettings, session: aiohttp.ClientSession
    ) -> None:
        self._guard = guard
        self._settings = settings
        self._session = session
        self._headers = httpx.Headers(
            {
                "accept": "*/*",
                "accept-encoding": "identity",
                "connection": "keep-alive",
                "user-agent": settings.user_agent,
            }
        )

    async def send(
        self,
        method: str,
        url: str | Target,
        headers: Mapping[str, str] = NO_HEADERS,
        content: bytes | AsyncIterable[bytes] | None = None,
        *,
        connect_timeout_s: float | None = None,
        read_timeout_s: float | None = None,
    ) -> httpx.Response:
        """Send a request; the body of the response, a `Wire`, is not read yet.

        Args:
            method: in upper case.
            url: judged here, unless the guard has made a `Target` of it.
            headers: go beside the client's own, or in their place.
            content: bytes, or, with a Content-Length among the headers, what comes piece by piece.
            connect_timeout_s: from the name to the end of the TLS handshake, a proxy's tunnel
                included; None is the operator's limit.
            read_timeout_s: the longest silence, not a total; None is the operator's limit.

        Returns:
            The response, whose extension `timings` has the seconds that `dns`, `connect` (the
            tunnel included; None where not needed) and `first_byte` took.

        Raises:
            FetchError: the matching leaf; never an exception of httpx or aiohttp.
        """
        target = url if isinstance(url, Target) else self._guard.check_url(url)
        sent = self._headers
        if headers:
            sent = httpx.Headers(sent)
            sent.update(headers)
        options = {
            "headers": sent.multi_items(),
            "data": content or None,
            "timeout": aiohttp.ClientTimeout(
                total=None,
                connect=connect_timeout_s or self._settings.connect_timeout_s,
                sock_read=read_timeout_s or self._settings.read_timeout_s,
            ),
        }
        try:
            response, noted = await self._sent(method, _encoded(target), options)
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise head_error(exc, proxied=bool(self._settings.proxy_url)) from exc
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=Wire(response),
            extensions={"timings": noted.timings()},
        )

    async def _sent(
        self, method: str, url: yarl.URL, options: dict[str, Any]
    ) -> tuple[aiohttp.ClientResponse, Noted]:
        """Send until an answer comes, or until a new connection breaks as well.

        An origin may close a kept connection in the moment in which it is used again; that says
        nothing about the request, which may then be repeated (RFC 9112, 9.3.1). It ends: each
        round uses up one kept connection.
        """
        while True:
            noted = Noted()
            try:
                response = await self._session.request(
                    method, url, allow_redirects=False, trace_request_ctx=noted, **options
                )
            except _BrokenError as exc:
                if not noted.reused or method not in ("GET", "HEAD"):
                    raise FetchConnectError(
                        "The origin closed the connection without an answer.", log_detail=str(exc)
                    ) from exc
            else:
                return response, noted


def _encoded(target: Target) -> yarl.URL:
    """Give aiohttp a URL from its parts, as encoded.

    Parsed again it would be quoted anew (%20 to +, %7e to ~), which breaks signed URLs.
    """
    path, _, query = target.url.raw_path.decode("ascii").partition("?")
    return yarl.URL.build(
        scheme=target.scheme,
        host=f"[{target.host}]" if ":" in target.host else target.host,
        port=target.url.port,
        path=path,
        query_string=query,
        encoded=True,
    )


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
