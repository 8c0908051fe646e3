"""Whatever clients and nodes do, in whichever order: a store shows what the plain model says.

`RULES_EXAMPLES` has it try so many random sequences; without it some that are always the same.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.records import outcome
from tests.contracts.rules_adapter import RulesStore, Seen, SqliteRules, Taken
from tests.contracts.rules_model import MAX_INTERRUPTIONS, Hand, Model, ModelJob, Order

T = TypeVar("T")

EXAMPLES = int(os.environ.get("RULES_EXAMPLES", "0"))
FEW_EXAMPLES = 90
STEPS = 25
MOST_JOBS = 6
MANY = 1_000
PAGE = 2
"""So many ends are heard at a time: fewer than one commit may bring."""
HOUR_S = 3_600
JUMPS_S = (-HOUR_S, 1, HOUR_S, 3 * HOUR_S)
KEYS = ("a", "b")

paces = st.sampled_from([1, 2, 3, 8])
"""The last is cut two at a time."""
which = st.integers(0, 1_000)
failing = st.sets(st.integers(0, 7))


@st.composite
def orders(draw: st.DrawFn) -> Order:
    urls, uploads = st.integers(1, 3), st.none()
    kind = draw(st.sampled_from(["uploads", "urls", "mixed", "streamed"]))
    item = {"uploads": uploads, "mixed": urls | uploads}.get(kind, urls)
    items = tuple(draw(st.lists(item, min_size=1, max_size=10)))
    fetches = any(url is not None for url in items)
    joins = draw(st.booleans())
    return Order(
        items,
        joins=joins,
        passes=joins and draw(st.booleans()),
        pace=draw(paces if kind == "streamed" else st.none() | paces) if fetches else None,
        stops=draw(st.booleans()),
        dedupe=fetches and draw(st.booleans()),
        streamed=kind == "streamed",
        key=draw(st.sampled_from([None, None, *KEYS])),
    )


class Rules(RuleBasedStateMachine):
    """One machine for every kind of store: a subclass says how one is made."""

    make: Callable[[Path], RulesStore]

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory()
        self.store = type(self).make(Path(self._folder.name))
        self._run(self.store.open())
        self.model = Model()
        self.ids: dict[int, str] = {}
        self.taken: dict[Hand, Taken] = {}
        self.seqs: dict[int, int] = {}
        self.heard: dict[int, tuple[int, int]] = {}

    def teardown(self) -> None:
        self._run(self.store.close())
        self._loop.close()
        self._folder.cleanup()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(work)

    # -- clients -----------------------------------------------------------------------------

    @initialize(first=st.lists(orders(), min_size=2, max_size=3))
    def first_orders(self, first: list[Order]) -> None:
        for order in first:
            self.submit(order, 0, takes=False)

    @precondition(lambda self: len(self.model.jobs) < MOST_JOBS)
    @rule(order=orders(), n=which, takes=st.booleans())
    def submit(self, order: Order, n: int, *, takes: bool) -> None:
        taken: list[Taken] = []
        if takes and not order.streamed:
            made, taken = self._run(self.store.submit_and_take(order, self._node(n)))
        else:
            made = self._run(self.store.submit(order, self._node(n)))
        if (known := self.model.known(order)) is not None:
            before, number = known
            assert made == ((self.ids[number], False) if before == order else None)
            assert not taken
            return
        assert made is not None
        job_id, new = made
        assert new
        assert job_id not in self.ids.values()
        self.ids[self.model.submit(order)] = job_id
        self._taken(self._node(n), taken)

    @rule(order=orders(), n=which)
    def give_up_submitting(self, order: Order, n: int) -> None:
        self._run(self.store.abandon(order, self._node(n)))

    @precondition(lambda self: self.model.jobs)
    @rule(n=which)
    def submit_again(self, n: int) -> None:
        """Send a request again whose answer was lost."""
        number, job = self._pick(n)
        if self.model.known(job.order) == (job.order, number):
            assert self._run(self.store.submit(job.order, self._node(n))) == (
                self.ids[number],
                False,
            )

    @precondition(lambda self: not all(job.done for job in self.model.jobs.values()))
    @rule(n=which)
    def cancel(self, n: int) -> None:
        number, _ = self._pick(n, lambda job: not job.done)
        self._run(self.store.cancel(self.ids[number], self._node(n)))
        self.model.cancel(number)

    @precondition(lambda self: any(job.counts["failed"] for job in self.model.jobs.values()))
    @rule(n=which)
    def retry(self, n: int) -> None:
        number, _ = self._pick(n, lambda job: bool(job.counts["failed"]))
        assert self._run(self.store.retry(self.ids[number], self._node(n))) == self.model.retry(
            number
        )

    @precondition(lambda self: self.model.jobs)
    @rule(n=which)
    def retry_what_may_not_be(self, n: int) -> None:
        number, job = self._pick(n)
        if not (job.done and job.counts["failed"]):
            assert self._run(self.store.retry(self.ids[number], self._node(n))) == self.model.retry(
                number
            )

    @precondition(lambda self: len(self.model.jobs) > 1)
    @rule(n=which)
    def delete(self, n: int) -> None:
        number, _ = self._pick(n)
        self._run(self.store.delete(self.ids[number], self._node(n)))
        self.model.delete(number)

    # -- nodes -------------------------------------------------------------------------------

    @precondition(lambda self: self._takeable())
    @rule(n=which, limit=st.integers(1, 6), begins=st.booleans())
    def take(self, n: int, limit: int, *, begins: bool) -> None:
        self._take(self._node(n), limit, begins=begins)

    @rule(n=which, begins=st.booleans())
    def take_all(self, n: int, *, begins: bool) -> None:
        while self._takeable():
            self._take(self._node(n), MANY, begins=begins)
        assert self._run(self.store.take(self._node(n), MANY)) == []

    @precondition(lambda self: self.model.hands)  # void ones too
    @rule(n=which)
    def begin(self, n: int) -> None:
        self._begin([self._hand(n)])

    @precondition(lambda self: self.model.hands)
    @rule(n=which, succeeded=st.booleans())
    def finish(self, n: int, *, succeeded: bool) -> None:
        self._finish([(self._hand(n), succeeded)])

    @precondition(lambda self: self.model.hands)
    @rule(n=which, failing=failing)
    def finish_all(self, n: int, failing: set[int]) -> None:
        """End in one transaction all that one node was ever given, dead or alive."""
        node_id = self.taken[self._hand(n)].given.node_id
        hands = [hand for hand in self.model.hands if self.taken[hand].given.node_id == node_id]
        self._finish([(hand, hand.index not in failing) for hand in hands])

    @precondition(lambda self: self.model.hands)
    @rule(n=which)
    def give_back(self, n: int) -> None:
        hand = self._hand(n)
        self._run(self.store.give_back(hand.node, self.taken[hand]))
        self.model.give_back(hand)

    @precondition(lambda self: self.model.hands)
    @rule(n=which)
    def fail_on(self, n: int) -> None:
        hand = self._hand(n)
        self._run(self.store.fail_on(hand.node, self.taken[hand]))
        self.model.fail_on(hand)

    @precondition(lambda self: self.model.held() or self._takeable())
    @rule(n=which, limit=st.integers(0, 4), begins=st.booleans())
    def crash(self, n: int, limit: int, *, begins: bool) -> None:
        """Let a node die, the sooner or the later after it was given something."""
        if limit and self._takeable():
            self._take(self._node(n), limit, begins=begins)
        self._run(self.store.crash(self._node(n)))
        self.model.crash(self._node(n))

    @precondition(lambda self: self.model.jobs)
    @rule(n=which, seconds=st.sampled_from(JUMPS_S))
    def clock_jumps(self, n: int, seconds: int) -> None:
        self.store.move_clock(seconds)
        self.model.now_s += seconds
        self._run(self.store.purge(self._node(n)))
        self.model.purge()

    @precondition(lambda self: self._takeable())
    @rule(n=which, failing=failing)
    def work(self, n: int, failing: set[int]) -> None:
        """Take what there is, and end it, each chunk in a transaction."""
        self._take(self._node(n), MANY, begins=True)
        while held := [hand for hand in self.model.held() if hand.node == self._node(n)]:
            chunk = [hand for hand in held if hand.chunk == held[0].chunk]
            self._finish([(hand, hand.index not in failing) for hand in chunk])

    def _node(self, n: int) -> int:
        return n % self.store.nodes

    def _hand(self, n: int) -> Hand:
        return self.model.hands[n % len(self.model.hands)]

    def _takeable(self) -> set[tuple[int, int]]:
        return {(n, item.index) for n, job in self.model.jobs.items() for item in job.takeable()}

    def _take(self, node: int, limit: int, *, begins: bool) -> None:
        there = self._takeable()
        taken = self._run(self.store.take(node, limit))
        assert taken or not there
        hands = self._taken(node, taken)
        if begins and hands:
            self._begin(hands)

    def _taken(self, node: int, taken: list[Taken]) -> list[Hand]:
        """Note what a node was given; gives the hands, those of a chunk together."""
        hands = [self._noted(node, one) for one in taken]
        for key in dict.fromkeys(hand.chunk for hand in hands):
            self.model.take([hand for hand in hands if hand.chunk == key])
        return hands

    def _noted(self, node: int, one: Taken) -> Hand:
        claim = one.claim
        [number] = [number for number, job_id in self.ids.items() if job_id == claim.job_id]
        job = self.model.jobs[number]
        item = job.items[claim.index]
        hand = Hand(node, number, item.index, claim.attempt, claim.chunk_key, claim.delivery)
        self.taken[hand] = one
        # Each of the others has one result, or none; an upload has itself.
        sources = job.counts["succeeded"] if item.joins else int(item.url is None)
        assert one.inputs == sources
        return hand

    def _begin(self, hands: list[Hand]) -> None:
        self._run(self.store.begin(hands[0].node, [self.taken[hand] for hand in hands]))
        for hand in hands:
            self.model.begin(hand)

    def _finish(self, ended: list[tuple[Hand, bool]]) -> None:
        """End some items of one node, and have it go on with the chunks that it takes singly."""
        told = [(self.taken.pop(hand), succeeded) for hand, succeeded in ended]
        node = ended[0][0].node
        recorded, begun = self._run(self.store.finish(node, told))
        expected = self.model.finish(ended)
        assert recorded == expected, (ended, recorded, expected)
        for one in begun:
            self.model.next_suspect(self._noted(node, one))

    def _pick(
        self, n: int, fit: Callable[[ModelJob], bool] = lambda _: True
    ) -> tuple[int, ModelJob]:
        found = [(number, job) for number, job in self.model.jobs.items() if fit(job)]
        return found[n % len(found)]

    # -- what is to be seen ------------------------------------------------------------------

    @invariant()
    def shows_what_the_model_says(self) -> None:
        for number in list(self.ids):
            if number not in self.model.jobs:
                assert self._look(self.ids.pop(number), (-1, -1)) is None
                continue
            self._look_at(number, self.model.jobs[number])

    @invariant()
    def contradicts_itself_nowhere(self) -> None:
        found = self._run(self.store.oddities())
        assert not found, found

    def _look(self, job_id: str, after: tuple[int, int]) -> Seen | None:
        return self._run(self.store.look(job_id, after, PAGE))

    def _look_at(self, number: int, job: ModelJob) -> None:
        seen = self._look(self.ids[number], self.heard.get(number, (-1, -1)))
        assert seen is not None
        assert seen.status == job.status
        assert seen.counts == job.counts, (seen, job)
        assert [(item.status, item.code, item.attempt) for item in seen.items] == [
            (item.status, item.code, item.attempt) for item in job.items
        ]
        for item in seen.items:
            assert item.results == (item.status == "succeeded" and not job.expired)
            assert item.seq <= seen.seq
        assert seen.told == job.told
        before = self.seqs.get(number, 0)
        assert seen.seq > before if job.ended else seen.seq >= before
        self.seqs[number] = seen.seq
        # Who listens hears each end once, behind all that was heard before.
        heard = self._heard(number, seen)
        assert heard == sorted(heard)
        assert sorted(index for _, index in heard) == sorted(job.ended)
        job.ended.clear()

    def _heard(self, number: int, seen: Seen | None) -> list[tuple[int, int]]:
        heard = []
        while seen and seen.ended:
            heard += seen.ended
            self.heard[number] = seen.ended[-1]
            seen = self._look(self.ids[number], seen.ended[-1])
        return heard


class SqliteMachine(Rules):
    make = SqliteRules


@pytest.mark.timeout(120 + EXAMPLES)
def test_sqlite_follows_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "MAX_INTERRUPTIONS", MAX_INTERRUPTIONS)
    SqliteMachine.TestCase.settings = settings(
        max_examples=EXAMPLES or FEW_EXAMPLES,
        stateful_step_count=STEPS,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    SqliteMachine.TestCase("runTest").runTest()
