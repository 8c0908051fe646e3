"""Fetch: bring the content of a URL into the store.

Only the parameters live here. The work is waiting, so it runs on the event loop, through the one
guarded door that leaves the house (`app/outbound/`).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from app.ops import spellings
from app.ops.base import MAX_BYTES, Offered, Params

MAX_ACCEPT_TYPES = 50
MAX_CONCURRENCY = 10_000
"""More than any service has connections for."""
_TYPE_GLOB = re.compile(r"[a-z0-9*!#$&^_.+-]{1,100}/[a-z0-9*!#$&^_.+-]{1,100}")


class FetchParams(Params):
    """How a batch's URLs are fetched; the operator's own limits stand above each of these."""

    timeout_s: float | None = Field(default=None, gt=0, le=3600)
    """Deadline for one URL, redirects and retries included, in seconds. Default and upper bound:
    the service's own setting."""
    connect_timeout_s: float | None = Field(default=None, gt=0, le=3600)
    """Longest wait for a connection, name and TLS included, in seconds. Default and upper bound:
    the service's own setting."""
    read_timeout_s: float | None = Field(default=None, gt=0, le=3600)
    """Longest silence of an origin, in seconds. Default and upper bound: the service's own
    setting."""
    max_bytes: int | None = Field(default=None, gt=0, le=MAX_BYTES)
    """Largest accepted body after content decoding, in bytes. Default and upper bound: the
    service's own setting."""
    max_redirects: int | None = Field(default=None, ge=0, le=20)
    """Redirects followed; each hop is judged again by the address guard. Default and upper bound:
    the service's own setting."""
    retries: int | None = Field(default=None, ge=0, le=10)
    """Further tries after a connection error, a cut body, 429, 502, 503 or 504. Default and upper
    bound: the service's own setting."""
    concurrency: int | None = Field(default=None, ge=1, le=MAX_CONCURRENCY)
    """URLs of this batch under way at once, with the steps that follow. Default and upper bound:
    the service's own setting."""
    per_host_concurrency: int | None = Field(default=None, ge=1, le=MAX_CONCURRENCY)
    """Requests of this batch under way to one scheme, host and port. Default and upper bound: the
    service's own setting."""
    accept_types: tuple[Annotated[str, Field(max_length=300)], ...] = Field(
        default=(), max_length=MAX_ACCEPT_TYPES
    )
    """Media types that are kept, such as `image/*` or `text/csv`; separated by commas in a query.
    The content must be of one of them, and so must what the origin calls it, unless that is nothing
    or `application/octet-stream`. Empty: all."""
    dedupe: bool = False
    """Fetch a URL that the batch has more than once, with the same headers, digest and `max_bytes`,
    only once; each of its items has the result."""
    on_error: Literal["continue", "fail"] = "continue"
    """`fail`: the first item that fails cancels what is unfinished of the batch."""
    if_changed: bool = False
    """Ask only for what has changed since this client last fetched the same URL with the same
    headers and this option; on 304 the stored bytes are the result."""

    _list_or_text = field_validator("accept_types", mode="before")(spellings.listed)

    @field_validator("accept_types")
    @classmethod
    def _check_types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        cleaned = tuple(kind.strip().lower() for kind in types)
        for kind in cleaned:
            if not _TYPE_GLOB.fullmatch(kind):
                raise ValueError("each must be a media type such as image/png, or image/*")
        return cleaned


FETCH = Offered(
    name="fetch",
    summary="Fetch URLs, each an item of its own, through the address guard.",
    params=FetchParams,
    runs="async",
    accepts=(),
    example={"timeout_s": 10},
)
