"""What is called a difference, and what is not."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations

import pytest

from app.guide.sentences import brief, sentence
from app.guide.statistics import CHANCE, Judge, Spread, agrees, chance, judged, noise_of

LESS, MORE, COUNTED = Judge("less"), Judge("more"), Judge("more", exact=True)


def around(middle: float, noise: float = 0.04, rounds: int = 5) -> list[float]:
    """Give rounds that lie evenly around a median, within so much of it."""
    return [middle * (1 + noise * (at / (rounds - 1) - 0.5)) for at in range(rounds)]


def test_a_spread_is_least_median_and_most() -> None:
    assert Spread.of([5, 1, 4, 2, 90]) == Spread(1, 4, 90)


def test_the_winner_is_ahead_of_the_next_best_by_their_medians() -> None:
    verdict = judged({"slow": around(100), "fast": around(10), "mid": around(20)}, LESS)
    assert (verdict.kind, verdict.leaders) == ("winner", ("fast",))
    assert (verdict.next_best, verdict.times) == ("mid", 2)
    assert sentence(verdict) == "fast, 2.0 times as good as mid."


def test_more_is_better_where_the_figure_says_so() -> None:
    verdict = judged({"slow": around(10), "fast": around(100)}, MORE)
    assert (verdict.leaders, verdict.times) == (("fast",), 10)


@pytest.mark.parametrize(("one", "other"), [(4, 4), (3, 5), (1, 6)])
def test_chance_is_the_share_of_all_orders_that_are_as_far_apart(one: int, other: int) -> None:
    everything = list(combinations(range(one + other), one))
    of_each = [
        sum(place > at for place in places for at in rest)
        for places, rest in (
            (places, set(range(one + other)) - set(places)) for places in everything
        )
    ]
    for against in range(one * other // 2):
        share = sum(found <= against for found in of_each) / len(everything)
        assert chance(one, other, against) == pytest.approx(2 * share)


def test_contenders_that_are_alike_are_seldom_told_apart() -> None:
    dice = random.Random(1)
    told = 0
    for _ in range(1000):
        alike = [[dice.lognormvariate(0, 0.3) for _ in range(7)] for _ in range(2)]
        told += judged({"a": alike[0], "b": alike[1]}, LESS).kind == "winner"
    assert 0 < told <= 1000 * CHANCE


def test_one_round_that_was_disturbed_hides_no_difference_where_there_are_many() -> None:
    disturbed = [*around(10, rounds=9), 30.0]
    assert judged({"a": disturbed, "b": around(20, rounds=10)}, LESS).kind == "winner"


def test_a_machine_that_is_noisy_takes_nothing_from_rounds_that_agree() -> None:
    # What waits varies little where what computes varies much.
    loud = Judge("less", machine_noise=0.4)
    assert judged({"a": around(51.3, 0.01), "b": around(52.9, 0.01)}, loud).kind == "winner"
    alike = judged({"a": around(51.3, 0.01), "b": around(51.4, 0.01)}, loud)
    assert sentence(alike) == "No difference larger than that of the same from itself, 1 %."


def test_what_is_within_two_percent_is_no_difference_though_no_round_overlaps() -> None:
    assert judged({"a": around(100, 0.001), "b": around(101, 0.001)}, LESS).kind == "no_difference"
    assert judged({"a": around(100, 0.001), "b": around(103, 0.001)}, LESS).kind == "winner"


def test_rounds_that_lie_far_apart_may_hide_a_difference() -> None:
    verdict = judged({"a": (10, 11, 12, 25), "b": (9, 14, 22, 24)}, LESS)
    assert verdict.kind == "too_noisy"
    assert sentence(verdict).startswith("Too noisy to tell: rounds of the same differed by ")


def test_some_share_the_first_place() -> None:
    verdict = judged({"a": around(11), "b": around(11.1), "c": around(55)}, LESS)
    assert (verdict.kind, verdict.leaders, verdict.next_best) == ("shared", ("a", "b"), "c")
    assert sentence(verdict) == "a and b (no difference between them), 5.0 times as good as c."
    loud = judged({"a": around(11, 0.9), "b": around(11.1, 0.9), "c": around(55)}, LESS)
    assert "(too noisy to tell which)" in sentence(loud)


def test_where_there_is_little_room_many_leaders_are_counted() -> None:
    for noise, said in ((0.04, "alike"), (0.9, "not told apart")):
        rounds = {name: around(10, noise) for name in "abc"} | {"slow": around(50)}
        assert brief(judged(rounds, LESS), 4) == f"3 of 4 {said}: 5.0\u00d7 as good as slow"


@pytest.mark.parametrize(("slow", "kind"), [(20, "winner"), (12, "too_few_rounds")])
def test_of_few_rounds_only_a_large_difference_is_told(slow: float, kind: str) -> None:
    verdict = judged({"a": around(10, rounds=2), "b": around(slow, rounds=2)}, LESS)
    assert verdict.kind == kind


def test_of_few_rounds_nothing_within_the_noise_of_the_machine_is_told() -> None:
    few = {"a": around(10, rounds=3), "b": around(20, rounds=3)}
    assert judged(few, Judge("less", machine_noise=1.2)).kind == "too_few_rounds"


def test_nothing_is_left_beside_something_without_dividing_by_it() -> None:
    verdict = judged({"lost": (0,), "kept": (50,)}, COUNTED)
    assert (verdict.kind, verdict.leaders, verdict.times) == ("winner", ("kept",), None)
    assert sentence(verdict) == "kept, ahead of lost."


@pytest.mark.parametrize("rounds", [(0, 0), (0,) * 5])
def test_all_that_is_nought_is_no_difference(rounds: Sequence[float]) -> None:
    assert sentence(judged({"a": rounds, "b": rounds}, COUNTED)) == "No difference."


def test_one_alone_wins_nothing() -> None:
    verdict = judged({"only": (1, 2)}, LESS)
    assert sentence(verdict) == "only: nothing to compare it with."
    assert (brief(verdict, 1), agrees(verdict, ["only"])) == ("", "nothing_said")


@pytest.mark.parametrize(
    ("recommended", "noise", "answer"),
    [
        (("fast",), 0.02, "yes"),
        (("slow",), 0.02, "no"),
        (("slow", "fast"), 0.02, "yes"),
        ((), 0.02, "nothing_said"),
        (("fast",), 0.9, "too_noisy"),
    ],
)
def test_whether_the_machine_agrees(
    recommended: tuple[str, ...], noise: float, answer: str
) -> None:
    verdict = judged({"fast": around(11, noise), "slow": around(14, noise)}, LESS)
    assert agrees(verdict, recommended) == answer


def test_noise_that_puts_others_beside_what_the_guide_recommends_is_no_agreement() -> None:
    slow = around(55)
    for noise, answer in ((0.04, "yes"), (0.9, "too_noisy")):
        rounds = {"a": around(11, noise), "b": around(11.1, noise), "slow": slow}
        verdict = judged(rounds, LESS)
        assert agrees(verdict, ["b"]) == answer
        assert agrees(verdict, ["a", "b"]) == "yes"
        assert agrees(verdict, ["slow"]) == "no"


def test_a_machine_without_a_difference_neither_agrees_nor_disagrees() -> None:
    verdict = judged({"a": around(10), "b": around(10.1)}, LESS)
    assert agrees(verdict, ["b"]) == "no_difference"


def test_noise_is_the_share_between_the_5th_and_the_95th_percentile() -> None:
    assert noise_of([10.0] * 40) == 0
    # One of forty is beyond the 95th.
    assert noise_of([10.0] * 39 + [1000.0]) == 0
    assert noise_of([10.0] * 30 + [15.0] * 10) == 0.5
