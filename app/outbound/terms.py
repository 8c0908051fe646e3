"""What is asked of one URL, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from app.errors import FetchProtocolError

T = TypeVar("T")


Known = Mapping[str, Any]
"""The facts of an earlier fetch, by which to ask whether the content has changed."""


def conditions(known: Known | None, url: str) -> dict[str, str]:
    """Give the headers that ask `url` for what is newer; none where something else was known."""
    if known is None or url != known["final_url"]:
        return {}
    asked = {"if-none-match": known["etag"], "if-modified-since": known["last_modified"]}
    return {name: value for name, value in asked.items() if value}


def check_same(known: Known, response: httpx.Response) -> None:
    """Make sure that a 304 speaks of what is known.

    Raises:
        FetchProtocolError: it names another version.
    """
    etag = response.headers.get("etag")
    if etag and known["etag"] and _opaque(etag) != _opaque(known["etag"]):
        raise FetchProtocolError("The origin answered 304 for a version that was not asked for.")


def _opaque(etag: str) -> str:
    """Give what weak comparison looks at (RFC 9110, 8.8.3.2)."""
    return etag.strip().removeprefix("W/")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of one URL, beyond the parameters of its batch."""

    sha256: str | None = None
    """That its content must have, lower-case hex."""
    max_bytes: int | None = None
    """Tightens the batch's own."""
    known: Known | None = None
    """Ask only for what is newer than this."""
    batch: str = ""
    """Whose `per_host_concurrency` it shares."""
    client: str = ""
    """Whose remotes it may use."""


PLAIN = Terms()


@dataclass(frozen=True, slots=True)
class Fetched(Generic[T]):
    """One URL's content, stored."""

    body: T
    """What `save` gave back."""
    facts: dict[str, Any]
    """JSON only: `status`, `final_url`, `redirects`, `tries` and `resumed` (counts),
    `claimed_media_type` and `name` (as the origin says, or None), `etag` and `last_modified` (as
    sent, or None), `headers` (others that matter), `size_bytes` (decoded), `elapsed_ms` (all of
    it, without waiting for the host's turn or for the storing), `timings` (of the last request, in
    ms and as `elapsed_ms`: `dns_ms` and `connect_ms`, None where not needed, `first_byte_ms`,
    `total_ms`)."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The origin said that what was known is still so."""

    facts: dict[str, Any]
    """As for `Fetched`, without what there was no body for."""
