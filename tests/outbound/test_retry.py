from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import (
    FetchConnectError,
    FetchEncodingError,
    FetchForbidden,
    FetchNameError,
    FetchProtocolError,
    FetchProxyError,
    FetchRedirectError,
    FetchStatusError,
    FetchTimeout,
    FetchTlsError,
    FetchTooLarge,
    FetchTruncated,
    FetchUrlInvalid,
)
from app.outbound.retry import retry_after_s, retry_delay_s

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def delay(error, tries=1, max_tries=3, left_s=15.0, cap_s=5.0, jitter=1.0):
    return retry_delay_s(
        error,
        tries=tries,
        max_tries=max_tries,
        left_s=left_s,
        retry_after_cap_s=cap_s,
        jitter=jitter,
    )


def status(code, **extra):
    return FetchStatusError("", http_status=code, **extra)


@pytest.mark.parametrize(
    "error",
    [
        FetchConnectError(""),
        FetchTruncated(""),
        FetchTimeout("", phase="connect"),
        FetchNameError("", temporary=True),
        FetchProxyError("", temporary=True, proxy_status=502),
        status(429),
        status(502),
        status(503),
        status(504),
    ],
)
def test_a_failure_that_may_pass_is_tried_again(error):
    assert delay(error) == 0.25


@pytest.mark.parametrize(
    "error",
    [
        FetchUrlInvalid(""),
        FetchForbidden(""),
        FetchNameError("", temporary=False),
        FetchProxyError("", temporary=False, proxy_status=407),
        FetchTlsError(""),
        FetchTimeout("", phase="read"),
        FetchTimeout("", phase="total"),
        FetchRedirectError(""),
        FetchTooLarge(""),
        FetchEncodingError(""),
        FetchProtocolError(""),
        status(206),
        status(304),
        status(400),
        status(403),
        status(404),
        status(500),
        status(501),
    ],
)
def test_a_failure_that_would_come_again_is_final(error):
    assert delay(error) is None


@pytest.mark.parametrize(
    ("tries", "jitter", "expected_s"),
    [(1, 0.0, 0.125), (1, 1.0, 0.25), (2, 1.0, 0.5), (3, 1.0, 1.0), (9, 1.0, 5.0)],
)
def test_waits_double_up_to_a_bound_and_are_spread(tries, jitter, expected_s):
    assert delay(FetchConnectError(""), tries=tries, max_tries=10, jitter=jitter) == expected_s


@pytest.mark.parametrize(
    ("asked_s", "expected_s"), [(0.0, 0.0), (0.5, 0.5), (5.0, 5.0), (5.1, None), (3600.0, None)]
)
def test_retry_after_is_kept_to_the_second_or_ends_the_tries(asked_s, expected_s):
    assert delay(status(503, retry_after_s=asked_s), jitter=0.5) == expected_s


def test_the_last_try_is_the_last():
    assert delay(FetchConnectError(""), tries=3, max_tries=3) is None
    assert delay(FetchConnectError(""), tries=1, max_tries=1) is None


def test_there_is_no_further_try_when_the_deadline_comes_first():
    assert delay(FetchConnectError(""), left_s=0.2) is None
    assert delay(status(429, retry_after_s=2.0), left_s=2.0) is None
    assert delay(status(429, retry_after_s=2.0), left_s=2.1) == 2.0


@pytest.mark.parametrize(
    ("header", "expected_s"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 5000, 1e9),
        ("Sun, 01 Mar 2026 12:00:03 GMT", 3.0),
        ("Sun, 01 Mar 2026 12:00:03 -0000", 3.0),
        ("Sunday, 01-Mar-26 12:00:03 GMT", 3.0),
        ("Sun Mar  1 12:00:03 2026", 3.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Sun, 99 Mar 2026 11:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms(header, expected_s):
    assert retry_after_s(header, NOW) == expected_s


@settings(deadline=None)
@given(st.text() | st.from_regex(r"\A[A-Z][a-z]{2}, \d+ Mar \d+ \d+:\d+:\d+ [+-]\d+\Z"))
def test_no_retry_after_breaks_the_reader(header):
    seconds = retry_after_s(header, NOW)
    assert seconds is None or seconds >= 0


def test_a_date_far_away_is_far_away():
    assert retry_after_s("Fri, 31 Dec 9999 23:59:59 GMT", NOW) > timedelta(days=365).total_seconds()
