"""The rules of jobs and items once more, as plain as can be: what stores are held against.

No rows, no transactions, no lanes: an item of a model is looked at as a whole, every time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

MAX_INTERRUPTIONS = 10
OVER = ("succeeded", "failed", "canceled")
INTERRUPTED = "internal.interrupted"
FAILED = "internal.operation"
"""The code with which workers fail here."""
RETENTION_S = 7_200


@dataclass(frozen=True)
class Order:
    """A job to be submitted. Of each item: a URL's number, or None for an upload."""

    items: tuple[int | None, ...]
    joins: bool = False
    passes: bool = False
    """Whether uploads have nothing to go through before they are joined."""
    pace: int | None = None
    stops: bool = False
    dedupe: bool = False
    streamed: bool = False
    """Whether it comes a part at a time."""
    key: str | None = None


@dataclass
class ModelItem:
    index: int
    url: int | None
    joins: bool = False
    first: ModelItem | None = None
    """The item that asks for the same, and is fetched for this one too."""
    status: str = "queued"
    code: str | None = None
    released: bool = True
    """Whether its turn has come, in a job with a pace."""
    waits_for_first: bool = False
    attempt: int = 0
    attempts_before: int = 0

    @property
    def over(self) -> bool:
        return self.status in OVER


@dataclass
class ModelJob:
    order: Order
    items: list[ModelItem]
    told: Counter[tuple[str, int | None]] = field(default_factory=Counter)
    """Events, each with the index of its item, and how often."""
    ended: list[int] = field(default_factory=list)
    """Indexes of the items that became final, since the stream was last read."""
    expired: bool = False
    expires_at: float | None = None

    @property
    def counts(self) -> Counter[str]:
        return Counter(item.status for item in self.items)

    @property
    def join(self) -> ModelItem | None:
        return self.items[-1] if self.order.joins else None

    @property
    def done(self) -> bool:
        return all(item.over for item in self.items)

    @property
    def status(self) -> str:
        there = set(self.counts)
        if self.expired:
            return "expired"
        if not self.done:
            return "running" if "running" in there or there & set(OVER) else "queued"
        if self.order.stops and "failed" in there:
            return "failed"
        if "canceled" in there:
            return "canceled"
        if there == {"succeeded"}:
            return "succeeded"
        return "partial" if "succeeded" in there else "failed"

    def takeable(self) -> list[ModelItem]:
        """Give what may be taken from the queue."""
        return [
            item
            for item in self.items
            if item.status == "queued" and item.released and not item.waits_for_first
            if not item.joins or all(other.over for other in self.items[:-1])
        ]


@dataclass(frozen=True)
class Hand:
    """The right to work on an item, in some node's hands."""

    node: int
    job: int
    index: int
    attempt: int


class Model:
    """All jobs, by a number each, and the work in hand."""

    def __init__(self) -> None:
        self.jobs: dict[int, ModelJob] = {}
        self.hands: list[Hand] = []
        """All that were ever given out and not used; most of them are void by now."""
        self.now_s = 0.0
        self._keys: dict[str, tuple[Order, int]] = {}
        self._made = 0

    # -- what clients do ---------------------------------------------------------------------

    def known(self, order: Order) -> tuple[Order, int] | None:
        """Give the request and the job that an order's key was used for, while the job is there."""
        found = self._keys.get(order.key or "")
        return found if found and found[1] in self.jobs else None

    def submit(self, order: Order) -> int:
        self._made += 1
        job = self.jobs[self._made] = ModelJob(order, [])
        firsts: dict[int, ModelItem] = {}
        for index, url in enumerate(order.items):
            item = ModelItem(index, url)
            if url is None and order.passes:
                item.status = "succeeded"
                job.ended.append(index)
            elif url is not None:
                item.released = order.pace is None
                if order.dedupe and (first := firsts.setdefault(url, item)) is not item:
                    item.first, item.waits_for_first = first, True
            job.items.append(item)
        if order.joins:
            job.items.append(ModelItem(len(job.items), None, joins=True))
        if order.key:
            self._keys[order.key] = (order, self._made)
        self._release(job)
        return self._made

    def cancel(self, number: int) -> None:
        job = self.jobs[number]
        if not job.done:
            self._cancel_rest(job)
            self._settle(job)

    def retry(self, number: int) -> str | None:
        """Run what failed again; gives why not, if not."""
        job = self.jobs[number]
        if job.expired:
            return "expired"
        if not job.done or not job.counts["failed"]:
            return "conflict"
        # Where the first failure canceled the others, they were canceled for its sake.
        back = ("failed", "canceled") if job.order.stops else ("failed",)
        again = [item for item in job.items if item.joins or item.status in back]
        for item in again:
            item.status, item.code, item.attempts_before = "queued", None, item.attempt
        for item in again:
            if item.url is not None:
                item.released = job.order.pace is None
            item.waits_for_first = item.first is not None and not item.first.over
        job.expires_at = None
        self._release(job)
        return None

    def delete(self, number: int) -> None:
        del self.jobs[number]

    # -- what nodes do -----------------------------------------------------------------------

    def take(self, hand: Hand) -> None:
        """Have a node begin an item. The store chooses which: any that may be taken."""
        job = self.jobs[hand.job]
        item = job.items[hand.index]
        assert item in job.takeable()
        item.status, item.attempt = "running", item.attempt + 1
        assert hand.attempt == item.attempt
        self.hands.append(hand)

    def finish(self, hand: Hand, *, succeeded: bool) -> bool:
        """Record an outcome; False, and nothing else, for a hand that is void."""
        self.hands.remove(hand)
        if not self.holds(hand):
            return False
        job = self.jobs[hand.job]
        self._end(job, job.items[hand.index], None if succeeded else FAILED)
        return True

    def give_back(self, hand: Hand) -> None:
        self.hands.remove(hand)
        if self.holds(hand):
            self.jobs[hand.job].items[hand.index].status = "queued"

    def crash(self, node: int) -> None:
        """Let a node die: what it had in hand goes back, unless that happened too often."""
        for hand in [hand for hand in self.hands if hand.node == node]:
            if not self.holds(hand):
                continue
            job = self.jobs[hand.job]
            item = job.items[hand.index]
            if item.attempt - item.attempts_before >= MAX_INTERRUPTIONS:
                self._end(job, item, INTERRUPTED)
            else:
                item.status = "queued"

    def purge(self) -> None:
        """Expire what is due: first a job's data, later its record."""
        for number, job in list(self.jobs.items()):
            if job.expires_at is None or job.expires_at > self.now_s:
                continue
            if job.expired:
                del self.jobs[number]
            else:
                job.expired, job.expires_at = True, self.now_s + RETENTION_S
                job.told["job.expired", None] += 1

    def held(self) -> list[Hand]:
        return [hand for hand in self.hands if self.holds(hand)]

    def holds(self, hand: Hand) -> bool:
        job = self.jobs.get(hand.job)
        if job is None:
            return False
        item = job.items[hand.index]
        return item.status == "running" and item.attempt == hand.attempt

    # -- the rules ---------------------------------------------------------------------------

    def _end(self, job: ModelJob, item: ModelItem, code: str | None) -> None:
        """End an item, and what shares its fate."""
        self._over(job, item, code)
        for other in job.items:
            if other.first is item and other.waits_for_first and not other.over:
                other.waits_for_first = False
                other.released = job.order.pace is None
                if code is not None:
                    self._over(job, other, code)
        if code is not None and job.order.stops:
            self._cancel_rest(job)
        self._release(job)
        self._settle(job)

    def _over(self, job: ModelJob, item: ModelItem, code: str | None) -> None:
        item.status, item.code = "failed" if code else "succeeded", code
        job.ended.append(item.index)
        job.told[f"item.{item.status}", item.index] += 1

    def _cancel_rest(self, job: ModelJob) -> None:
        for item in job.items:
            if not item.over:
                item.status = "canceled"
                job.ended.append(item.index)

    def _release(self, job: ModelJob) -> None:
        """Let as many URLs have their turn as the pace has room for."""
        if job.order.pace is None:
            return
        urls = [item for item in job.items if item.url is not None and not item.over]
        turns = [item for item in urls if not item.waits_for_first]
        waiting = [item for item in turns if not item.released]
        for item in waiting[: max(0, job.order.pace - (len(turns) - len(waiting)))]:
            item.released = True

    def _settle(self, job: ModelJob) -> None:
        if job.done:
            job.expires_at = self.now_s + RETENTION_S
            job.told[f"job.{job.status}", None] += 1
