"""Conditional requests (RFC 9110 section 13), as far as a service of immutable content needs."""

from __future__ import annotations


def etag_matches(header: str | None, etag: str) -> bool:
    """Tell whether an If-None-Match or If-Match header names `etag`, by weak comparison."""
    if header is None:
        return False
    given = {part.strip().removeprefix("W/") for part in header.split(",")}
    return "*" in given or etag in given
