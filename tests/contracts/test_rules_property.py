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

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.contracts.rules_adapter import RulesStore, SqliteRules, Taken
from tests.contracts.rules_model import Hand, Model, ModelJob, Order

T = TypeVar("T")

EXAMPLES = int(os.environ.get("RULES_EXAMPLES", "0"))
FEW_EXAMPLES = 100
STEPS = 25
MOST_JOBS = 6
PAGE = 2
"""So many ends are heard at a time: fewer than one commit may bring."""
HOUR_S = 3_600
JUMPS_S = (-HOUR_S, 1, HOUR_S, 3 * HOUR_S)
KEYS = ("a", "b")

which = st.integers(0, 1_000)
failing = st.sets(st.integers(0, 7))


@st.composite
def orders(draw: st.DrawFn) -> Order:
    urls, uploads = st.integers(1, 3), st.none()
    kind = draw(st.sampled_from(["uploads", "urls", "mixed", "streamed"]))
    item = {"uploads": uploads, "mixed": urls | uploads}.get(kind, urls)
    items = tuple(draw(st.lists(item, min_size=1, max_size=7)))
    fetches = any(url is not None for url in items)
    joins = draw(st.booleans())
    return Order(
        items,
        joins=joins,
        passes=joins and draw(st.booleans()),
        pace=draw(st.integers(1, 3) if kind == "streamed" else st.none() | st.integers(1, 3))
        if fetches
        else None,
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
    def begin(self, first: list[Order]) -> None:
        for order in first:
            self.submit(order)

    @precondition(lambda self: len(self.model.jobs) < MOST_JOBS)
    @rule(order=orders())
    def submit(self, order: Order) -> None:
        made = self._run(self.store.submit(order))
        if (known := self.model.known(order)) is not None:
            before, number = known
            assert made == ((self.ids[number], False) if before == order else None)
            return
        assert made is not None
        job_id, new = made
        assert new
        assert job_id not in self.ids.values()
        self.ids[self.model.submit(order)] = job_id

    @rule(order=orders())
    def give_up_submitting(self, order: Order) -> None:
        self._run(self.store.abandon(order))

    @precondition(lambda self: self.model.jobs)
    @rule(n=which)
    def submit_again(self, n: int) -> None:
        """Send a request again whose answer was lost."""
        number, job = self._pick(n)
        if self.model.known(job.order) == (job.order, number):
            assert self._run(self.store.submit(job.order)) == (self.ids[number], False)

    @precondition(lambda self: not all(job.done for job in self.model.jobs.values()))
    @rule(n=which)
    def cancel(self, n: int) -> None:
        number, _ = self._pick(n, lambda job: not job.done)
        self._run(self.store.cancel(self.ids[number]))
        self.model.cancel(number)

    @precondition(lambda self: any(job.counts["failed"] for job in self.model.jobs.values()))
    @rule(n=which)
    def retry(self, n: int) -> None:
        number, _ = self._pick(n, lambda job: bool(job.counts["failed"]))
        assert self._run(self.store.retry(self.ids[number])) == self.model.retry(number)

    @precondition(lambda self: self.model.jobs)
    @rule(n=which)
    def retry_what_may_not_be(self, n: int) -> None:
        number, job = self._pick(n)
        if not (job.done and job.counts["failed"]):
            assert self._run(self.store.retry(self.ids[number])) == self.model.retry(number)

    @precondition(lambda self: len(self.model.jobs) > 1)
    @rule(n=which)
    def delete(self, n: int) -> None:
        number, _ = self._pick(n)
        self._run(self.store.delete(self.ids[number]))
        self.model.delete(number)

    # -- nodes -------------------------------------------------------------------------------

    @precondition(lambda self: self._takeable())
    @rule(n=which, limit=st.integers(1, 6))
    def take(self, n: int, limit: int) -> None:
        self._take(n % self.store.nodes, limit)

    @rule(n=which)
    def take_all(self, n: int) -> None:
        while self._takeable():
            self._take(n % self.store.nodes, 100)
        assert self._run(self.store.take(n % self.store.nodes, 100)) == []

    @precondition(lambda self: self.model.hands)  # void ones too
    @rule(n=which, succeeded=st.booleans())
    def finish(self, n: int, *, succeeded: bool) -> None:
        self._finish(self.model.hands[n % len(self.model.hands)], succeeded=succeeded)

    @precondition(lambda self: self.model.hands)
    @rule(failing=failing)
    def finish_all(self, failing: set[int]) -> None:
        for hand in list(self.model.hands):
            self._finish(hand, succeeded=hand.index not in failing)

    @precondition(lambda self: self.model.hands)
    @rule(n=which)
    def give_back(self, n: int) -> None:
        hand = self.model.hands[n % len(self.model.hands)]
        self._run(self.store.give_back(hand.node, self.taken.pop(hand)))
        self.model.give_back(hand)

    @precondition(lambda self: self.model.held() or self._takeable())
    @rule(n=which, limit=st.integers(0, 4))
    def crash(self, n: int, limit: int) -> None:
        """Let a node die, the sooner or the later after it was given something."""
        if limit and self._takeable():
            self._take(n % self.store.nodes, limit)
        self._run(self.store.crash(n % self.store.nodes))
        self.model.crash(n % self.store.nodes)

    @precondition(lambda self: self.model.jobs)
    @rule(seconds=st.sampled_from(JUMPS_S))
    def clock_jumps(self, seconds: int) -> None:
        self.store.move_clock(seconds)
        self.model.now_s += seconds
        self._run(self.store.purge())
        self.model.purge()

    @precondition(lambda self: self._takeable())
    @rule(n=which, failing=failing)
    def work(self, n: int, failing: set[int]) -> None:
        """Take what there is, and end it."""
        before = list(self.model.hands)
        self._take(n % self.store.nodes, 100)
        for hand in [hand for hand in self.model.hands if hand not in before]:
            self._finish(hand, succeeded=hand.index not in failing)

    def _takeable(self) -> set[tuple[int, int]]:
        return {(n, item.index) for n, job in self.model.jobs.items() for item in job.takeable()}

    def _take(self, node: int, limit: int) -> None:
        numbers = {job_id: number for number, job_id in self.ids.items()}
        there = self._takeable()
        taken = self._run(self.store.take(node, limit))
        assert len(taken) <= limit
        assert taken or not there
        for one in taken:
            number = numbers[one.job_id]
            job = self.model.jobs[number]
            item = job.items[one.index]
            hand = Hand(node, number, one.index, one.attempt)
            self.model.take(hand)
            self.taken[hand] = one
            # Each of the others has one result, or none; an upload has itself.
            sources = job.counts["succeeded"] if item.joins else int(item.url is None)
            assert one.inputs == sources

    def _finish(self, hand: Hand, *, succeeded: bool) -> None:
        found = self._run(self.store.finish(hand.node, self.taken.pop(hand), succeeded=succeeded))
        assert found == self.model.finish(hand, succeeded=succeeded)

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
                assert self._run(self.store.job(self.ids.pop(number))) is None
                continue
            self._look_at(number, self.model.jobs[number])

    def _look_at(self, number: int, job: ModelJob) -> None:
        seen = self._run(self.store.job(self.ids[number]))
        assert seen is not None
        assert seen.status == job.status
        assert seen.counts == job.counts
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
        heard = self._heard(number)
        assert heard == sorted(heard)
        assert sorted(index for _, index in heard) == sorted(job.ended)
        job.ended.clear()

    def _heard(self, number: int) -> list[tuple[int, int]]:
        heard = []
        after = self.heard.get(number, (-1, -1))
        while more := self._run(self.store.ended_since(self.ids[number], after, PAGE)):
            heard += more
            after = self.heard[number] = more[-1]
        return heard


class SqliteMachine(Rules):
    make = SqliteRules


def test_sqlite_follows_the_rules() -> None:
    SqliteMachine.TestCase.settings = settings(
        max_examples=EXAMPLES or FEW_EXAMPLES,
        stateful_step_count=STEPS,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    SqliteMachine.TestCase("runTest").runTest()
