"""Contenders take turns, within their time, and one that fails harms no other."""

from __future__ import annotations

from collections.abc import Callable

from app.guide.race import FEWEST_ROUNDS, MOST_ROUNDS, Case, Contender, Figure, how_many, race


class Clock:
    """A clock that moves when a contender works."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def contender(name: str, clock: Clock, takes_s: float, order: list[str]) -> Contender:
    def run() -> dict[str, float]:
        order.append(name)
        clock.now_s += takes_s
        return {"ms": takes_s * 1000}

    return Contender(name, run)


def case(*contenders: Contender, **more: object) -> Case:
    return Case("key", "title", "work", [Figure("ms", "time", "ms")], contenders, **more)  # type: ignore[arg-type]


def raced(budget_s: float, takes_s: float = 1.0, **more: object) -> tuple[list[str], int]:
    clock, order = Clock(), list[str]()
    two = [contender(name, clock, takes_s, order) for name in "ab"]
    result = race(case(*two, **more), budget_s, lambda _: None, clock)
    assert {len(of) for of in result.samples.values()} == {len(result.samples["a"])}
    return order, len(result.samples["a"])


def test_they_take_turns_at_going_first_and_the_first_round_does_not_count() -> None:
    order, rounds = raced(budget_s=10)
    assert "".join(order) == "abbaabbaab"
    assert rounds == 4


def test_no_round_begins_that_would_end_past_the_budget_but_the_fewest_are_done() -> None:
    assert raced(budget_s=13)[1] == 5
    assert raced(budget_s=0)[1] == FEWEST_ROUNDS
    assert raced(budget_s=0, fewest=1)[1] == 1
    assert raced(budget_s=1e9)[1] == MOST_ROUNDS


def test_what_is_not_to_be_warmed_counts_from_its_first_round() -> None:
    order, rounds = raced(budget_s=0, fewest=1, warm=False)
    assert (sorted(order), rounds) == (["a", "b"], 1)


def failing(error: Exception, after: int) -> Callable[[], dict[str, float]]:
    calls = iter(range(1000))

    def run() -> dict[str, float]:
        if next(calls) >= after:
            raise error
        return {"ms": 1.0}

    return run


def test_one_that_the_machine_refuses_something_leaves_and_the_others_go_on() -> None:
    clock, order = Clock(), list[str]()
    bad = Contender("bad", failing(RuntimeError("can't start new thread"), after=2))
    worse = Contender("worse", failing(MemoryError(), after=0))
    good = contender("good", clock, 1, order)
    result = race(case(bad, good, worse), 0, lambda _: None, clock)
    assert list(result.samples) == ["good"]
    assert len(result.samples["good"]) == FEWEST_ROUNDS
    assert result.failed == {"bad": "can't start new thread", "worse": "MemoryError"}


def test_as_many_pieces_as_some_rounds_of_all_contenders_have_time_for() -> None:
    assert how_many(one_s=0.25, turns=2, budget_s=45, fewest=1, most=100) == 10
    assert how_many(one_s=0.1, turns=2, budget_s=0, fewest=4, most=100) == 4
    assert how_many(one_s=0.1, turns=2, budget_s=1e6, fewest=4, most=100) == 100
