"""Lets pages of other origins read the answers: those origins that the operator named."""

from __future__ import annotations

from collections.abc import Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
EXPOSED = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Location",
    "Content-Range",
    "ETag",
    "Link",
    "Location",
    "Preference-Applied",
    "Repr-Digest",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
)
"""Headers of our answers that scripts cannot read unless they are named."""
MAX_AGE_S = 7200
"""How long a browser need not ask again; none keeps it longer."""


def readable_from(origins: Collection[str], app: ASGIApp) -> ASGIApp:
    """Wrap `app` for pages of these origins; without any, give it as it is.

    Any header may come along, and a page of a public address may ask a service of a private one.
    Credentials are not among what is allowed: a browser sends no cookies then, and there are none.
    """
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=("*",),
        allow_private_network=True,
        expose_headers=EXPOSED,
        max_age=MAX_AGE_S,
    )
