"""When a delivery is tried again, as a table."""

from datetime import UTC, datetime, timedelta

import pytest

from app.errors import (
    FetchConnectError,
    FetchForbidden,
    FetchProxyError,
    FetchTimeout,
    FetchUrlInvalid,
    InternalError,
    ReceiverGone,
    ReceiverRefused,
)
from app.model.deliveries import TEST_EVENT, Attempt, Parcel, PutTarget, Route
from app.outbound.schedule import DELAYS_S, MAX_TRIES, verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TARGET = PutTarget("https://bucket.test/key")


def parcel(tries=0, event="job.succeeded", target=None):
    route = Route(1, "https://a.test", "https://a.test/")
    return Parcel(
        1, 1, "msg_1", tries, route, NOW, event, {}, "https://a.test/", None, False, target, None
    )  # fmt: skip


def refused(status, **extra):
    return ReceiverRefused(f"status {status}", http_status=status, **extra)


def judged(error, *, jitter=0.5, cap_s=86_400, **of):
    """Give the status, the delay in seconds, and the code of the reason."""
    problem = error and error.problem()
    status = problem.extra.get("http_status") if problem else 200
    attempt = Attempt(NOW, 1500, status, problem)
    end = verdict(parcel(**of), attempt, jitter=jitter, cap_s=cap_s)
    assert end.disabled == (end.problem is not None and end.problem.code == "delivery.gone"
                            and "target" not in of)  # fmt: skip
    delay_s = end.due_at and (end.due_at - NOW - timedelta(seconds=1.5)).total_seconds()
    return end.status, delay_s, end.problem and end.problem.code


def test_ten_attempts_over_three_days():
    delays = [judged(refused(500), tries=tries)[1] for tries in range(MAX_TRIES - 1)]
    assert delays == [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert timedelta(days=3) < timedelta(seconds=sum(delays)) < timedelta(days=3.5)
    assert judged(refused(500), tries=MAX_TRIES - 1) == ("dead", None, "delivery.exhausted")


def test_the_reason_of_the_last_attempt_is_kept():
    last = verdict(
        parcel(tries=9), Attempt(NOW, 1, 503, refused(503).problem()), jitter=0, cap_s=9
    ).problem
    assert (last.extra["last"], last.extra["http_status"]) == ("delivery.status", 503)
    assert "10 attempts failed" in last.detail
    assert "status 503" in last.detail


@pytest.mark.parametrize("tries", range(len(DELAYS_S)))
def test_jitter_spreads_each_delay_by_a_tenth(tries):
    low = judged(refused(500), tries=tries, jitter=0.0)[1]
    high = judged(refused(500), tries=tries, jitter=1.0)[1]
    assert (low, high) == pytest.approx((DELAYS_S[tries] * 0.9, DELAYS_S[tries] * 1.1))


@pytest.mark.parametrize("tries", [0, 9])
def test_a_success_is_a_success_at_any_attempt(tries):
    assert judged(None, tries=tries) == ("delivered", None, None)


@pytest.mark.parametrize(
    ("asked_s", "cap_s", "tries", "delay_s"),
    [
        (60, 86_400, 0, 60),
        (60, 86_400, 1, 300),  # never sooner than the schedule has it
        (0, 86_400, 0, 5),
        (7_200, 3_600, 0, 3_600),
        (1e9, 86_400, 8, 86_400),
        (60, 0, 0, 5),
    ],
)
@pytest.mark.parametrize("status", [429, 503, 500])
def test_a_receiver_may_ask_for_more_time(status, asked_s, cap_s, tries, delay_s):
    error = refused(status, retry_after_s=asked_s)
    assert judged(error, cap_s=cap_s, tries=tries) == ("pending", delay_s, None)


@pytest.mark.parametrize("status", [300, 302, 307, 400, 401, 403, 404, 405, 429, 500, 502, 503])
def test_an_endpoint_may_recover_from_anything(status):
    assert judged(refused(status))[0] == "pending"


def test_an_endpoint_that_is_gone_is_disabled():
    gone = ReceiverGone("gone", http_status=410)
    assert judged(gone) == ("dead", None, "delivery.gone")
    assert judged(gone, target=TARGET, event=None) == ("dead", None, "delivery.gone")


@pytest.mark.parametrize("error", [FetchForbidden("no"), FetchUrlInvalid("no")])
@pytest.mark.parametrize("target", [None, TARGET])
def test_what_the_guard_refuses_is_not_tried_again(error, target):
    assert judged(error, target=target) == ("dead", None, error.code)


@pytest.mark.parametrize(
    "error",
    [
        FetchConnectError("no"),
        FetchTimeout("late"),
        FetchProxyError("no", temporary=False, proxy_status=403),
        InternalError("bug"),
    ],
)
@pytest.mark.parametrize("target", [None, TARGET])
def test_what_may_pass_is_tried_again(error, target):
    assert judged(error, target=target)[:2] == ("pending", 5)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, "dead"), (401, "dead"), (403, "dead"), (404, "dead"), (411, "dead"), (413, "dead")]
    + [(status, "pending") for status in (307, 408, 409, 425, 429, 500, 501, 502, 503, 504)],
)  # fmt: skip
def test_a_presigned_url_that_is_refused_will_be_refused_again(status, expected):
    assert judged(refused(status), target=TARGET, event=None)[0] == expected


def test_a_test_is_tried_once():
    assert judged(refused(500), event=TEST_EVENT) == ("dead", None, "delivery.status")
    assert judged(None, event=TEST_EVENT)[0] == "delivered"
