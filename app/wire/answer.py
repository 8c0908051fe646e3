"""An answer that no application makes: a problem document, and the end of the connection."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus

from app.errors import PROBLEM_MEDIA_TYPE, OffloadError, phrase

RETRY_AFTER_S = 1


def answer_bytes(error: OffloadError, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Give the whole answer as it is sent (RFC 9112)."""
    problem = error.problem()
    body = json.dumps(problem.document()).encode()
    headers = [
        *default_headers,
        (b"content-type", PROBLEM_MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    lines = [b"HTTP/1.1 %d %s" % (problem.status, phrase(problem.status).encode())]
    lines += [b"%s: %s" % pair for pair in headers]
    return b"\r\n".join([*lines, b"", body])
