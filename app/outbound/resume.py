"""Whether an answer goes on where another was cut off (RFC 9110, 13.1.5 and 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Which bytes of how many a part holds (RFC 9110, 14.4)."""

    first: int
    last: int
    total: int


def content_range(response: httpx.Response) -> ContentRange | None:
    """Read the Content-Range of a part; None where there is none that says it all."""
    given = response.headers.get("content-range", "")
    found = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", given.strip())
    return ContentRange(*map(int, found.groups())) if found else None


def resumable(response: httpx.Response) -> str | None:
    """Give the ETag by which the rest of an answer can be asked for; None where it cannot.

    It has to stand for the very bytes (RFC 9110, 8.8.3).
    """
    etag = response.headers.get("etag", "")
    ranges = response.headers.get("accept-ranges", "").strip().lower()
    strong = re.fullmatch(r'"[\x21\x23-\x7e]*"', etag)
    return etag if strong and ranges == "bytes" and response.status_code == httpx.codes.OK else None


def continues(first: httpx.Response, part: httpx.Response, received: int) -> bool:
    """Tell whether `part` is what comes after the first `received` bytes of the very same thing."""
    span = content_range(part)
    if part.status_code != httpx.codes.PARTIAL_CONTENT or span is None:
        return False
    alike = all(
        part.headers.get(name) == first.headers.get(name) for name in ("etag", "content-encoding")
    )
    reaches_the_end = span.first == received and span.last + 1 == span.total
    lengths = (
        (first.headers.get("content-length"), span.total),
        (part.headers.get("content-length"), span.total - received),
    )
    return alike and reaches_the_end and all(said in (None, str(due)) for said, due in lengths)
