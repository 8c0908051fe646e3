"""How a moment is written: one shape in every document."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """Give an aware time in UTC with milliseconds, as `2026-01-31T12:00:00.000Z` (RFC 3339)."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
