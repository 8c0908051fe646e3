"""Requests: sent, sent again where that does no harm, and their refusals as exceptions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx

from offload import __version__, skew
from offload._async.waiting import call, sleep
from offload.errors import (
    CannotRepeat,
    ConnectionFailed,
    NotOffload,
    OffloadError,
    Unauthorized,
    from_problem,
)
from offload.multipart import PIECE_BYTES, Form, Progress, Sent, unsent
from offload.records import read_json
from offload.retrying import REFUSED, UNCERTAIN, Retry

MAX_DOCUMENT_BYTES = 64 << 20
CONNECT_TIMEOUT_S = 10.0
DIRECT = ("all://localhost", "all://127.0.0.1", "all://[::1]")
"""Reached without a proxy, whatever HTTP_PROXY says: it would be the proxy's own machine."""
REDIRECTS = frozenset({302, 303, 307, 308})
UNSIGNED = frozenset({"Range", "Accept-Encoding"})
"""Headers that go to a bucket: its URLs are signed without any."""
MISUNDERSTOOD = frozenset({404, 405, 415, 422})
"""Statuses behind which a service of another version may be."""


class AsyncTransport:
    """One service, and how patiently it is asked."""

    def __init__(
        self,
        server: str,
        key: str | None,
        *,
        retry: Retry,
        timeout_s: float,
        http: httpx.AsyncClient | None,
    ) -> None:
        """Connect to nothing yet."""
        self.server = server
        self.retry = retry
        self.timeout_s = timeout_s
        self._own = http is None
        # Certificates are read when the first client is made: 20 ms, once a process.
        self._http = http or httpx.AsyncClient(mounts=dict.fromkeys(DIRECT), follow_redirects=False)
        self._headers = {"User-Agent": f"offload-client/{__version__}"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"

    async def close(self) -> None:
        """Close the connections that are its own."""
        if self._own:
            await self._http.aclose()

    # -- documents ---------------------------------------------------------------------------

    async def get(self, path: str, params: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Give a document. Raises `OffloadError`."""
        return document_of(await self.ask("GET", path, params=params, again=True, **options))

    async def post(self, path: str, *, again: bool = False, **options: Any) -> Any:
        """Give what a POST answers. Raises `OffloadError`."""
        return document_of(await self.ask("POST", path, again=again, **options))

    async def ask(
        self,
        method: str,
        path: str,
        *,
        again: bool,
        params: Mapping[str, Any] | None = None,
        document: Any = None,
        form: Form | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0,
        told: Sent = unsent,
    ) -> httpx.Response:
        """Send a request until it is answered; gives the answer, read whole.

        Args:
            method: of HTTP.
            path: behind the server's address.
            again: whether it may be sent again though it may have had its effect.
            params: the query.
            document: a JSON body.
            form: or a form.
            headers: beside the client's own.
            wait_s: how long the service may take with its answer on purpose.
            told: see `Sent`.

        Raises:
            ServiceError: it was refused.
            ConnectionFailed: there was no answer.
            CannotRepeat: it would have to be sent again, and its body cannot.
            NotOffload: the answer is not one of an Offload service.
        """
        patience, progress = AsyncPatience(self), Progress(told)
        while True:
            if form is not None:
                await call(self._rewind, form, patience.failure)
            content = None if form is None else _sending(form, progress)
            request = self._request(method, path, params, document, headers, wait_s, content, form)
            try:
                return await self._answer(request)
            except (httpx.TransportError, OffloadError) as error:
                progress.begin_anew()
                await patience.wait(error, again=again)

    @staticmethod
    def _rewind(form: Form, failure: Exception | None) -> None:
        try:
            form.rewind()
        except CannotRepeat as error:
            error.detail += f" The try before failed: {failure}"
            error.args = (error.detail,)
            raise error from failure

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        document: Any,
        headers: Mapping[str, str] | None,
        wait_s: float,
        content: AsyncIterator[bytes] | None,
        form: Form | None,
    ) -> httpx.Request:
        more = {**self._headers, "Accept": "application/json", **(headers or {})}
        body: Any = content
        if form is not None:
            more["Content-Type"] = form.content_type
            if form.size_bytes is not None:
                more["Content-Length"] = str(form.size_bytes)
        elif document is not None:
            body = json.dumps(document, allow_nan=False).encode()
            more["Content-Type"] = "application/json"
        return self._http.build_request(
            method,
            self.server + path,
            params={name: value for name, value in (params or {}).items() if value is not None},
            headers=more,
            content=body,
            timeout=self.timeout(wait_s),
        )

    def timeout(self, wait_s: float = 0) -> httpx.Timeout:
        """Give how long each part of a request may take that may be held for `wait_s`."""
        return httpx.Timeout(
            self.timeout_s, connect=CONNECT_TIMEOUT_S, read=self.timeout_s + wait_s, pool=None
        )

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        response = await self._http.send(request, stream=True)
        try:
            response._content = await _whole(response)  # noqa: SLF001 - as `read` does, bounded
        finally:
            await response.aclose()
        if response.is_success or response.status_code == HTTPStatus.NOT_MODIFIED:
            return response
        raise await self.refusal(response)

    async def refusal(self, response: httpx.Response) -> OffloadError:
        """Make the exception of an answer that has been read."""
        error = _refusal(response, self.server)
        error.retry_after = response.headers.get("retry-after")
        if isinstance(error, Unauthorized) and "Authorization" not in self._headers:
            error.hint = "Set OFFLOAD_KEY, or give `key`."
        elif isinstance(error, NotOffload) or error.status in MISUNDERSTOOD:
            error.hint = skew.told(self.server, await self._root())
        return error

    async def root(self) -> dict[str, Any]:
        """Give what the service says of itself: `name`, `version`, `links`."""
        said = await self.get("/")
        if not isinstance(said, dict) or said.get("name") != "Offload":
            raise NotOffload(f"What answers at {self.server} is no Offload service.")
        return said

    async def _root(self) -> dict[str, Any] | None:
        """Ask it once, whatever comes of it."""
        request = self._request("GET", "/", None, None, None, 0, None, None)
        try:
            response = await self._http.send(request, stream=True)
            try:
                said = read_json(await _whole(response))
            finally:
                await response.aclose()
        except (httpx.TransportError, OffloadError, ValueError):
            return None
        return said if isinstance(said, dict) else None

    # -- streams -----------------------------------------------------------------------------

    @asynccontextmanager
    async def stream(
        self, path: str, headers: Mapping[str, str], read_s: float | None = None
    ) -> AsyncIterator[tuple[httpx.Response, httpx.Headers]]:
        """Open an answer's body; beside it the service's headers, wherever the body comes from.

        Bytes that are in a bucket come straight from there, without the key.

        Raises:
            httpx.TransportError: no connection, or a lost one; reading raises it too.
            OffloadError: it was refused.
        """
        timeout = self.timeout(0 if read_s is None else read_s - self.timeout_s)
        url, more = self.server + path, {**self._headers, **headers}
        response = await self._open(url, more, timeout)
        try:
            own = response.headers
            if response.status_code in REDIRECTS and "location" in own:
                await response.aclose()
                elsewhere = _joined(url, own["location"])
                kept = {name: value for name, value in more.items() if name in UNSIGNED}
                response = await self._open(elsewhere, kept, timeout)
            if not response.is_success:
                response._content = await _whole(response)  # noqa: SLF001 - see `_answer`
                raise await self.refusal(response)
            yield response, own
        finally:
            await response.aclose()

    async def _open(
        self, url: str, headers: Mapping[str, str], timeout: httpx.Timeout
    ) -> httpx.Response:
        request = self._http.build_request("GET", url, headers=headers, timeout=timeout)
        return await self._http.send(request, stream=True)


class AsyncPatience:
    """How often in a row something has failed, and the pause before the next try."""

    def __init__(self, transport: AsyncTransport) -> None:
        """Begin with no failure."""
        self._transport = transport
        self._failures = 0
        self.failure: Exception | None = None

    def forget(self) -> None:
        """Something got through."""
        self._failures = 0

    async def wait(self, error: Exception, *, again: bool) -> None:
        """Wait before the next try.

        Raises:
            OffloadError: there is none: enough tries have failed, it is no use, or it might do
                something twice.
        """
        self._failures += 1
        self.failure = error
        asked = getattr(error, "retry_after", None)
        delay_s = self._transport.retry.delay_s(self._failures, asked)
        if delay_s is None or not _repeatable(error, again=again):
            raise _told(error, self._transport.server, self._failures)
        await sleep(delay_s)


def _repeatable(error: Exception, *, again: bool) -> bool:
    if isinstance(error, OffloadError):
        return error.status in REFUSED or (again and error.status in UNCERTAIN)
    # What did not get as far as a connection has had no effect.
    nothing_sent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
    retried = again or isinstance(error, nothing_sent)
    return retried and not isinstance(error, httpx.UnsupportedProtocol | httpx.ProxyError)


def _told(error: Exception, server: str, tries: int) -> OffloadError:
    """Give what to raise at last: an exception of this package, behind it what was behind it."""
    if isinstance(error, OffloadError):
        return error
    reason = str(error).rstrip(".") or type(error).__name__
    no_connection = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
    what = "No connection to" if no_connection else "The connection failed to"
    times = f" ({tries} tries)" if tries > 1 else ""
    told = ConnectionFailed(f"{what} {server}: {reason}{times}.")
    told.__cause__ = error
    return told


async def _sending(form: Form, progress: Progress) -> AsyncIterator[bytes]:
    for opening, file in form.parts():
        yield opening
        sent_bytes = 0
        while file is not None and (piece := await call(file.read, PIECE_BYTES, sent_bytes)):
            yield piece
            sent_bytes += len(piece)
            progress.add(len(piece))


def _joined(url: str, location: str) -> str:
    try:
        return str(httpx.URL(url).join(location))
    except httpx.InvalidURL:
        raise NotOffload(f"The answer leads to {location[:200]!r}, which is no URL.") from None


async def _whole(response: httpx.Response) -> bytes:
    pieces = bytearray()
    try:
        async for piece in response.aiter_bytes():
            pieces += piece
            if len(pieces) > MAX_DOCUMENT_BYTES:
                raise NotOffload(f"The answer is larger than {MAX_DOCUMENT_BYTES} bytes.")
    except httpx.DecodingError as error:
        raise NotOffload(f"The answer is not coded as it says: {error}.") from None
    return bytes(pieces)


def _refusal(response: httpx.Response, server: str) -> OffloadError:
    status = response.status_code
    try:
        problem = read_json(response.content)
    except ValueError:
        problem = None
    if isinstance(problem, dict) and isinstance(problem.get("code"), str):
        return from_problem(problem, status)
    if status in REDIRECTS or status == HTTPStatus.MOVED_PERMANENTLY:
        there = response.headers.get("location", "elsewhere")[:200]
        return NotOffload(f"{server} leads to {there}: give that address instead.", status=status)
    return NotOffload(f"{server} answered {status} without saying why.", status=status)


def document_of(response: httpx.Response) -> Any:
    """Read an answer's JSON; None where it has no body. Raises `NotOffload`."""
    if response.status_code == HTTPStatus.NO_CONTENT:
        return None
    try:
        return read_json(response.content)
    except ValueError:
        raise NotOffload(
            f"The answer to {response.request.url.path} is no JSON.", status=response.status_code
        ) from None
