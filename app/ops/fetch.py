"""Fetch: bring the content of a URL into the store.

Only the parameters live here. The work is waiting, so it runs on the event loop, through the one
guarded door that leaves the house (`app/outbound/`).
"""

from __future__ import annotations

from pydantic import Field

from app.ops.base import Operation, Params


class FetchParams(Params):
    """How a batch's URLs are fetched; the operator's own limits stand above each of these."""

    timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=3600,
        description="Deadline for one URL, redirects and retries included, in seconds. "
        "Default and upper bound: the service's own setting.",
    )
    max_bytes: int | None = Field(
        default=None,
        gt=0,
        description="Largest accepted body after content decoding, in bytes. "
        "Default and upper bound: the service's own setting.",
    )
    max_redirects: int | None = Field(
        default=None,
        ge=0,
        le=20,
        description="Redirects followed; each hop is judged again by the address guard. "
        "Default and upper bound: the service's own setting.",
    )
    retries: int | None = Field(
        default=None,
        ge=0,
        le=10,
        description="Further tries after a connection error, a cut body, 429, 502, 503 or 504. "
        "Default and upper bound: the service's own setting.",
    )


OPERATION = Operation(
    name="fetch",
    summary="Fetch URLs, each an item of its own, through the address guard.",
    params=FetchParams,
    runs="async",
    accepts=(),
    run=None,
    example={"timeout_s": 10},
)
