"""A line in the log for each request, and an id that ties all lines of a request together."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from http import HTTPStatus

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics
from app.logs import REQUEST_ID_HEADER, new_request_id

log = structlog.get_logger(__name__)

_TAKEN = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")
"""What is taken over as it comes: nothing that means something in a log, a shell or a page."""
_PROBES = ("/livez", "/readyz")


class RequestLog:
    """Pure ASGI middleware, to stand around everything that may answer."""

    def __init__(self, app: ASGIApp, level: int) -> None:
        """Wrap `app`; `level` is that of the lines, as `logging` counts."""
        self._app = app
        self._level = level

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; give its id to the answer and to all lines, and log its end."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope["headers"])
        # Not taken back at the end: each request has a context of its own, and what the server
        # says of a request that failed belongs to it too.
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())
        answer = _Answer()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {
                    **message,
                    "headers": [*message["headers"], (REQUEST_ID_HEADER, request_id)],
                }
            answer.note(message)
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, sending)
        finally:
            duration_ms = (time.perf_counter() - started) * 1000
            self._tell(scope, answer, duration_ms)

    def _tell(self, scope: Scope, answer: _Answer, duration_ms: float) -> None:
        route = getattr(scope.get("route"), "path", metrics.OTHER)
        waited = _waited(scope, route)
        metrics.request_ended(
            route, scope["method"], answer.status, duration_ms / 1000, waited=waited
        )
        well = answer.status is not None and answer.status < HTTPStatus.BAD_REQUEST
        level = (
            logging.DEBUG
            if well and scope["path"].removeprefix(scope.get("root_path", "")) in _PROBES
            else self._level
        )
        # The query is left out: it may be signed, and a webhook's URL may be in it.
        log.log(
            level,
            "request",
            method=scope["method"],
            path=scope["path"],
            status=answer.status,
            duration_ms=round(duration_ms, 1),
            bytes=answer.sent_bytes,
            peer=scope["client"][0] if scope.get("client") else None,
            **({"location": answer.location} if answer.location else {}),
        )


class _Answer:
    """What was sent of an answer so far."""

    def __init__(self) -> None:
        self.status: int | None = None
        """None: the client was gone before there was an answer."""
        self.sent_bytes = 0
        self.location: str | None = None
        """Of the job that a request has made."""

    def note(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            found = _header(message["headers"], b"location")
            self.location = found[0].decode("latin-1") if found else None
        elif message["type"] == "http.response.body":
            self.sent_bytes += len(message.get("body", b""))


def _waited(scope: Scope, route: str) -> bool:
    """Tell whether a request lasts as long as its client wants."""
    return (
        b"wait=" in scope["query_string"]
        or route.endswith("/events")
        or any(name == b"prefer" for name, _ in scope["headers"])
    )


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    given = _header(headers, REQUEST_ID_HEADER)
    if len(given) == 1 and _TAKEN.fullmatch(given[0]):
        return given[0]
    return new_request_id().encode()


def _header(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name.lower() == wanted]
