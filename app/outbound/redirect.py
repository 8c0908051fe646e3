"""Redirects: where the next request goes, and what may go with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import httpx

from app.errors import FetchRedirectError, FetchUrlInvalid
from app.outbound.guard import Guard, Target

REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Way(NamedTuple):
    """A client and its guard."""

    guard: Guard
    client: httpx.AsyncClient


@dataclass(frozen=True, slots=True)
class Hop:
    """The next request to send."""

    target: Target
    headers: dict[str, str]
    """The caller's."""
    redirects: int = 0
    """How many led here."""
    address: str = ""
    """What it is called where its URL is signed, and not to be told."""
    way: Way | None = None
    """Who sends it, if not everybody's client."""

    @property
    def told(self) -> str:
        """Give its URL as clients may see it."""
        return self.address or str(self.target.url)


def redirected(guard: Guard, hop: Hop, response: httpx.Response, max_redirects: int) -> Hop:
    """Give the hop that the answer to `hop` redirects to.

    Raises:
        FetchRedirectError: one too many, or not to a URL.
        FetchForbidden: to one that the guard refuses.
    """
    if hop.address:  # what is signed holds for one place
        raise FetchRedirectError("The bucket redirects: its region or endpoint is another.")
    if hop.redirects >= max_redirects:
        raise FetchRedirectError(f"More than {max_redirects} redirects.", redirects=hop.redirects)
    target = _location(guard, hop.target, response)
    same = target.origin == hop.target.origin
    # A caller's header is meant for the origin that the caller named, whatever it is called:
    # credentials come under many names. An https origin left for http is another origin.
    return Hop(target, hop.headers if same else {}, hop.redirects + 1)


def _location(guard: Guard, base: Target, response: httpx.Response) -> Target:
    said = {location.strip() for location in response.headers.get_list("location")}
    location = said.pop() if len(said) == 1 else ""
    if not location:
        raise FetchRedirectError("The origin redirects without saying where to, or to two places.")
    try:
        # Many send spaces as they are; browsers quote them too. The rest is httpx's to quote.
        url = base.url.join(location.replace(" ", "%20"))
        if not url.host and not url.path.startswith("/"):
            raise FetchUrlInvalid("The URL has no host, and nothing that could be one's path.")
        return guard.check_url(str(url))
    except (FetchUrlInvalid, httpx.InvalidURL, ValueError) as exc:
        raise FetchRedirectError(
            "The origin redirects to something that cannot be fetched.",
            log_detail=exc.detail if isinstance(exc, FetchUrlInvalid) else type(exc).__name__,
        ) from exc
