"""The rate of a body, with the clock in hand."""

from __future__ import annotations

import pytest

from app.errors import IncompleteBody
from app.wire.pace import Pace

SPAN_S, RATE = 20.0, 100


def test_silence_is_cut_off_after_the_span_and_not_before():
    pace = Pace(SPAN_S, RATE)
    pace.begin(5.0)
    pace.judge(24.9)
    assert pace.due_at == 25.0
    with pytest.raises(IncompleteBody, match="No byte"):
        pace.judge(25.0)


def test_a_byte_a_second_is_too_slow():
    pace = Pace(SPAN_S, RATE)
    for second in range(1, 20):
        pace.heard_at = float(second)
        pace.arrived_bytes += 1
        pace.judge(float(second))
    pace.heard_at = 20.0
    with pytest.raises(IncompleteBody, match="100 bytes a second"):
        pace.judge(20.0)


def test_a_burst_pays_for_its_own_span_only():
    pace = Pace(SPAN_S, RATE)
    pace.arrived_bytes, pace.heard_at = 1 << 30, 19.0
    pace.judge(20.0)
    pace.heard_at = 39.0
    with pytest.raises(IncompleteBody):
        pace.judge(40.0)


def test_the_time_in_which_nobody_reads_does_not_count():
    pace = Pace(SPAN_S, RATE)
    pace.begin(100.0)  # reading goes on after a long pause
    pace.judge(119.0)
    pace.arrived_bytes, pace.heard_at = int(SPAN_S * RATE), 119.5
    pace.judge(120.0)
    assert pace.due_at == 139.5


def test_without_a_least_rate_silence_is_all_that_counts():
    pace = Pace(SPAN_S, 0)
    for second in range(1, 60):
        pace.heard_at = float(second)
        pace.judge(float(second))
