"""What an `Accept` header says about pictures (RFC 9110, 12.5.1)."""

from __future__ import annotations

_MOST_RANGES = 64
"""Of a header; browsers send nine."""


def named_pictures(accept: str) -> list[str]:
    """Give the picture types that a header names and does not refuse, as `webp`, in its order.

    What is meant by `image/*` and `*/*` is not told: everybody sends those, and a program that
    can show AVIF says so.
    """
    found = []
    for part in accept.split(",", _MOST_RANGES)[:_MOST_RANGES]:
        media_type, *params = (piece.strip().lower() for piece in part.split(";"))
        kind, _, name = media_type.partition("/")
        if kind == "image" and name not in ("", "*") and not any(map(_refuses, params)):
            found.append(name)
    return found


def _refuses(param: str) -> bool:
    name, _, value = param.partition("=")
    return name.strip() == "q" and value.strip() in ("0", "0.", "0.0", "0.00", "0.000")
