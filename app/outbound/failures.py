"""What goes wrong in aiohttp, with its `fetch.*` code."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp
from aiohttp.http_exceptions import ContentLengthError, TransferEncodingError

from app.errors import (
    FetchConnectError,
    FetchError,
    FetchProtocolError,
    FetchTimeout,
    FetchTlsError,
    FetchTruncated,
)
from app.outbound.guard import forbidden


class AddressRefusedError(PermissionError):
    """An OSError, since that is all aiohttp's race between addresses lets through."""

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(why)
        self.refusal = forbidden(host, port, why)


def said_by(exc: Exception) -> str:
    """Give what the log may know: the texts of these two classes carry the URL and the headers."""
    if isinstance(exc, aiohttp.ClientResponseError):
        text = exc.message
    elif isinstance(exc, aiohttp.ConnectionTimeoutError):
        text = ""
    else:
        text = str(exc)
    return f"{type(exc).__name__}: {text[:300]}"


def head_error(exc: Exception, *, proxied: bool) -> FetchError:
    """Translate what went wrong up to the end of the response's header."""
    said = said_by(exc)
    if isinstance(exc, aiohttp.ClientConnectorError) and isinstance(
        exc.os_error, AddressRefusedError
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


def body_error(exc: Exception) -> FetchError:
    """Translate what went wrong after the header."""
    said = said_by(exc)
    if isinstance(exc, asyncio.TimeoutError):
        return FetchTimeout("The origin stopped sending.", log_detail=said, phase="read")
    if isinstance(exc, aiohttp.ClientPayloadError) and not _cut(exc):
        return FetchProtocolError("The response's body is not valid HTTP.", log_detail=said)
    return FetchTruncated("The response ended before its declared end.", log_detail=said)


def _cut(exc: aiohttp.ClientPayloadError) -> bool:
    return isinstance(exc.__cause__, ContentLengthError | TransferEncodingError)
