"""Whether a failed try is worth another one, and when: a pure decision.

Written out because it is a dozen lines that depend on the origin's Retry-After and on what is left
of the deadline. A retry library (stamina) would own the loop and the sleeping, and both are needed
outside it: each try stores afresh, and waiting for a host's slot stops the clock.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from app.errors import (
    FetchConnectError,
    FetchError,
    FetchNameError,
    FetchProxyError,
    FetchStatusError,
    FetchTimeout,
    FetchTruncated,
)

RETRY_STATUSES = frozenset({429, 502, 503, 504})
"""Statuses that promise a better answer later (RFC 9110, 15.6; RFC 6585, 4)."""

FIRST_DELAY_S = 0.25
"""Longest wait before the second try, in seconds; it doubles with each further one."""

MAX_DELAY_S = 5.0


def retry_delay_s(
    error: FetchError,
    *,
    tries: int,
    max_tries: int,
    left_s: float,
    retry_after_cap_s: float,
    jitter: float,
) -> float | None:
    """Say how long to wait before trying again, or None where that is not worth it.

    Args:
        error: how the last try failed; a `FetchStatusError` may carry `retry_after_s`.
        tries: tries made so far, at least 1.
        max_tries: tries allowed in all.
        left_s: what is left of the total deadline, in seconds.
        retry_after_cap_s: an origin that asks for a longer wait is not tried again.
        jitter: from 0 to 1; spreads the waits over the upper half of their range, so that a
            batch whose tries failed together does not come back together.
    """
    if tries >= max_tries or not _passing(error):
        return None
    asked_s = error.extra.get("retry_after_s")
    if asked_s is None:
        longest_s = min(FIRST_DELAY_S * 2 ** (tries - 1), MAX_DELAY_S)
        delay_s = longest_s * (1 + jitter) / 2
    elif asked_s <= retry_after_cap_s:
        delay_s = float(asked_s)
    else:
        return None
    # Ending in a timeout would hide the reason that is known now.
    return delay_s if delay_s < left_s else None


def _passing(error: FetchError) -> bool:
    """Say whether the failure may be over in a moment."""
    match error:
        case FetchStatusError():
            return error.extra.get("http_status") in RETRY_STATUSES
        case FetchTimeout():
            # A stalled body has already cost most of the deadline; a lost SYN has not.
            return error.extra.get("phase") == "connect"
        case FetchNameError() | FetchProxyError():
            return bool(error.extra.get("temporary"))
        case _:
            return isinstance(error, FetchConnectError | FetchTruncated)


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Read a Retry-After header (RFC 9110, 10.2.3): seconds, or an HTTP-date measured from `now`.

    Returns:
        Seconds from `now`, 0 or more; None where there is no header or it means nothing.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        # More digits than a decade has seconds would overflow what comes after.
        return float(value) if len(value) < 10 else float("1e9")
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - now).total_seconds())
