"""Whose turn it is: nobody waits for a slow neighbour."""

from datetime import UTC, datetime, timedelta

import pytest

from app.model.deliveries import Route
from app.outbound.turns import UNPROVEN_EACH, Turns

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def route(origin, path="/"):
    return Route(0, origin, origin + path)


def prove(turns, *origins):
    for origin in origins:
        assert turns.take(route(origin))
        turns.give_back(route(origin), quick=True)


def taken(turns, one):
    """Take slots until there are no more, and count them."""
    count = 0
    while turns.take(one):
        count += 1
    return count


def test_a_stranger_gets_few_slots_and_a_proven_origin_more():
    turns = Turns(total=100, each=8)
    assert taken(turns, route("new")) == UNPROVEN_EACH
    assert turns.busy(NOW) == ["new"]
    prove(turns, "good")
    assert taken(turns, route("good", "/a")) == 8
    assert set(turns.busy(NOW)) == {"new", "good/a"}
    assert taken(turns, route("good", "/b")) == 8
    assert set(turns.busy(NOW)) == {"new", "good", "good/a", "good/b"}
    assert turns.free == 100 - 16 - UNPROVEN_EACH


@pytest.mark.parametrize("quick", [False, None])
def test_slots_come_back(quick):
    turns = Turns(total=100, each=8)
    for _ in range(3):
        assert taken(turns, route("new")) == UNPROVEN_EACH
        for _ in range(UNPROVEN_EACH):
            turns.give_back(route("new"), quick=quick)
    assert turns.free == 100
    assert turns.busy(NOW) == []


def test_the_unproven_together_leave_half_to_the_proven():
    turns = Turns(total=20, each=8)
    prove(turns, "good")
    assert [taken(turns, route(f"dead{n}")) for n in range(5)] == [4, 4, 2, 0, 0]
    assert turns.only() == ["good"]
    assert taken(turns, route("good", "/a")) == 8
    turns.give_back(route("dead0"), quick=False)
    assert turns.only() is None
    assert turns.take(route("another"))


def test_who_turns_slow_or_dead_is_unproven_again():
    turns = Turns(total=100, each=8)
    prove(turns, "good")
    assert turns.take(route("good"))
    turns.give_back(route("good"), quick=None)
    assert taken(turns, route("good")) == 8
    turns.give_back(route("good"), quick=False)
    assert turns.busy(NOW) == ["good"]
    assert not turns.take(route("good"))
    assert [taken(turns, route(f"other{n}")) for n in range(12)] == [4] * 10 + [3, 0]


def test_there_are_no_more_slots_than_there_are():
    turns = Turns(total=10, each=8)
    prove(turns, *"abc")
    assert [taken(turns, route(name)) for name in "abc"] == [8, 2, 0]
    assert turns.free == 0


def test_what_is_due_behind_a_lane_that_is_full_is_kept_for_its_turn():
    turns = Turns(total=10, each=2)
    routes = [Route(n, "a", "a/") for n in range(5)] + [Route(9, "b", "b/")]
    assert [one.key for one in turns.offer(routes)] == [0, 1, 9]
    assert turns.waiting(NOW) == []
    # The rest of the lane is not to be searched for again.
    assert "a/" in turns.busy(NOW)
    turns.give_back(routes[0], quick=False)
    assert "a/" in turns.busy(NOW)
    assert [one.key for one in turns.waiting(NOW)] == [2]
    for route in routes[1:3]:
        turns.give_back(route, quick=True)
    assert [one.key for one in turns.waiting(NOW)] == [3, 4]
    for route in routes[3:5]:
        turns.give_back(route, quick=True)
    assert turns.busy(NOW) == []


def test_a_lane_of_which_nothing_can_be_taken_is_not_kept():
    turns = Turns(total=4, each=2)
    assert len(turns.offer(Route(n, f"dead{n}", f"dead{n}/") for n in range(10_000))) == 2
    assert set(turns.busy(NOW)) == set()
    assert turns.waiting(NOW) == []


def test_a_lane_that_asked_for_time_is_left_alone_for_it():
    turns = Turns(total=10, each=2)
    turns.pause("a/", NOW + timedelta(seconds=10))
    turns.pause("b/", NOW + timedelta(seconds=20))
    assert set(turns.busy(NOW)) == {"a/", "b/"}
    assert turns.offer([route("a"), route("c")]) == [route("c")]
    assert turns.resumes_at(NOW) == NOW + timedelta(seconds=10)
    later = NOW + timedelta(seconds=10)
    assert turns.waiting(later) == []
    assert turns.take(route("a"))
    turns.give_back(route("a"), quick=None)
    assert turns.busy(later) == ["b/"]
    assert turns.resumes_at(later) == NOW + timedelta(seconds=20)
    assert turns.resumes_at(NOW + timedelta(seconds=20)) is None


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr("app.outbound.turns.REMEMBERED", 3)
    turns = Turns(total=8, each=8)
    prove(turns, *"abcd")
    assert taken(turns, route("a")) == 4
    assert turns.only() == ["b", "c", "d"]
