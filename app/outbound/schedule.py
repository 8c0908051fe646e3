"""When a delivery is tried again, and when it is given up: a pure decision."""

from __future__ import annotations

from datetime import timedelta

from app.errors import AttemptsExhausted, Problem
from app.model.deliveries import TEST_EVENT, Attempt, DeliveryStatus, Parcel, Verdict

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DELAYS_S = (
    5,
    5 * MINUTE_S,
    30 * MINUTE_S,
    2 * HOUR_S,
    5 * HOUR_S,
    10 * HOUR_S,
    14 * HOUR_S,
    20 * HOUR_S,
    24 * HOUR_S,
)
"""Seconds from each failed attempt to the next: ten attempts over three days, as the Standard
Webhooks specification suggests."""
MAX_TRIES = len(DELAYS_S) + 1
SPREAD = 0.1
"""Each delay is up to so much shorter or longer: what failed together does not return together."""

HOPELESS = frozenset({"fetch.forbidden", "fetch.url"})
"""What the address guard refuses today, it is not asked about again tomorrow."""
PUT_AGAIN = frozenset({408, 409, 425, 429})
"""Of the 4xx answers to a PUT, those that a later attempt may change. The others say that the URL
has expired or is wrong, and will be wrong in an hour."""


def verdict(parcel: Parcel, attempt: Attempt, *, jitter: float, cap_s: float) -> Verdict:
    """Say what becomes of a delivery after an attempt.

    Args:
        parcel: what was sent, as it was claimed.
        attempt: what came of it.
        jitter: from 0 to 1.
        cap_s: the longest Retry-After that is respected, in seconds. A receiver can ask for
            more time than the schedule gives it, never for less.
    """
    problem = attempt.problem
    if problem is None:
        return Verdict(DeliveryStatus.DELIVERED)
    tries = parcel.tries + 1
    if problem.code == "delivery.gone" and parcel.target is None:
        return Verdict(DeliveryStatus.DEAD, problem=problem, disabled=True)
    if _hopeless(parcel, attempt, problem):
        return Verdict(DeliveryStatus.DEAD, problem=problem)
    if tries >= MAX_TRIES:
        last = AttemptsExhausted(
            f"{tries} attempts failed. The last one: {problem.detail}",
            last=problem.code,
            http_status=attempt.http_status,
        )
        return Verdict(DeliveryStatus.DEAD, problem=last.problem())
    delay_s = DELAYS_S[tries - 1] * (1 - SPREAD + 2 * SPREAD * jitter)
    asked_s = min(problem.extra.get("retry_after_s", 0), cap_s)
    ended_at = attempt.at + timedelta(milliseconds=attempt.elapsed_ms)
    due_at = ended_at + timedelta(seconds=max(delay_s, asked_s))
    return Verdict(DeliveryStatus.PENDING, due_at=due_at)


def _hopeless(parcel: Parcel, attempt: Attempt, problem: Problem) -> bool:
    if problem.code in HOPELESS or parcel.event == TEST_EVENT:
        return True
    status = attempt.http_status or 0
    if parcel.target is not None and parcel.target.remote is not None:
        return False  # it is signed anew each time, and the operator can mend what is wrong
    return parcel.target is not None and 400 <= status < 500 and status not in PUT_AGAIN
