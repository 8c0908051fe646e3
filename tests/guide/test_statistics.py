"""What is called a difference, and what is not."""

from __future__ import annotations

import pytest

from app.guide.sentences import sentence
from app.guide.statistics import Spread, agrees, judged, noise_of

QUIET, LOUD = 0.03, 0.6


def spreads(**rounds: tuple[float, ...]) -> dict[str, Spread]:
    return {name: Spread.of(of) for name, of in rounds.items()}


def test_a_spread_is_least_median_and_most() -> None:
    assert Spread.of([5, 1, 4, 2, 90]) == Spread(1, 4, 90)


def test_the_winner_is_ahead_of_the_next_best_by_their_medians() -> None:
    verdict = judged(
        spreads(slow=(90, 100, 110), fast=(9, 10, 11), mid=(18, 20, 22)), "less", QUIET
    )
    assert (verdict.kind, verdict.leaders) == ("winner", ("fast",))
    assert (verdict.next_best, verdict.times) == ("mid", 2)
    assert sentence(verdict, QUIET) == "fast, 2.0 times as good as mid."


def test_more_is_better_where_the_figure_says_so() -> None:
    verdict = judged(spreads(slow=(9, 10, 11), fast=(90, 100, 110)), "more", QUIET)
    assert (verdict.leaders, verdict.times) == (("fast",), 10)


def test_one_round_in_the_range_of_another_is_no_difference() -> None:
    verdict = judged(spreads(a=(10, 11, 21), b=(20, 22, 24)), "less", QUIET)
    assert (verdict.kind, verdict.leaders) == ("no_difference", ("a", "b"))
    assert sentence(verdict, QUIET) == "No difference."


def test_what_lies_within_the_noise_is_no_difference_though_no_round_overlaps() -> None:
    a_little = spreads(a=(100, 101, 102), b=(103, 104, 105))
    assert judged(a_little, "less", 0.05).kind == "no_difference"
    assert judged(a_little, "less", 0.01).kind == "winner"


def test_on_a_busy_machine_what_overlaps_may_differ_all_the_same() -> None:
    verdict = judged(spreads(a=(10, 11, 21), b=(20, 22, 24)), "less", LOUD)
    assert verdict.kind == "too_busy"
    assert sentence(verdict, LOUD) == (
        "Too busy to tell: the same work differed from itself by 60%."
    )


def test_on_a_busy_machine_a_difference_larger_than_the_noise_still_shows() -> None:
    assert judged(spreads(a=(10, 11, 12), b=(100, 110, 120)), "less", LOUD).kind == "winner"


def test_some_share_the_first_place() -> None:
    verdict = judged(spreads(a=(10, 11, 13), b=(10, 12, 14), c=(50, 55, 60)), "less", QUIET)
    assert (verdict.kind, verdict.leaders, verdict.next_best) == ("shared", ("a", "b"), "c")
    assert sentence(verdict, QUIET) == (
        "a and b (no difference between them), 5.0 times as good as c."
    )
    assert "too busy to tell which" in sentence(verdict, LOUD)


def test_nothing_is_left_beside_something_without_dividing_by_it() -> None:
    verdict = judged(spreads(lost=(0,), kept=(50,)), "more", 0)
    assert (verdict.kind, verdict.leaders, verdict.times) == ("winner", ("kept",), None)
    assert sentence(verdict, 0) == "kept, ahead of lost."


def test_all_that_is_nought_is_no_difference() -> None:
    assert judged(spreads(a=(0, 0), b=(0, 0)), "less", QUIET).kind == "no_difference"


def test_one_alone_wins_nothing() -> None:
    verdict = judged(spreads(only=(1, 2)), "less", QUIET)
    assert sentence(verdict, QUIET, alone=True) == "only: nothing to compare it with."


@pytest.mark.parametrize(
    ("recommended", "noise", "answer"),
    [
        (("fast",), QUIET, "yes"),
        (("slow",), QUIET, "no"),
        (("slow", "fast"), QUIET, "yes"),
        ((), QUIET, "nothing_said"),
        (("fast",), LOUD, "too_busy"),
    ],
)
def test_whether_the_machine_agrees(
    recommended: tuple[str, ...], noise: float, answer: str
) -> None:
    verdict = judged(spreads(fast=(10, 11, 12), slow=(13, 14, 15)), "less", noise)
    assert agrees(verdict, recommended) == answer


def test_a_machine_without_a_difference_neither_agrees_nor_disagrees() -> None:
    verdict = judged(spreads(a=(10, 11, 21), b=(20, 22, 24)), "less", QUIET)
    assert agrees(verdict, ["b"]) == "no_difference"


def test_noise_is_the_share_between_the_5th_and_the_95th_percentile() -> None:
    assert noise_of([10.0] * 40) == 0
    # One of forty is beyond the 95th.
    assert noise_of([10.0] * 39 + [1000.0]) == 0
    assert noise_of([10.0] * 30 + [15.0] * 10) == 0.5
