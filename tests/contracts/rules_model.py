"""The rules of jobs and items once more, as plain as can be: what stores are held against.

No rows, no transactions, no lanes: an item of a model is looked at as a whole, every time. How
items are cut into chunks is the store's to say; what a chunk means for its items is told here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_INTERRUPTIONS = 3
"""Fewer than the service's own, so that it comes to them."""
PACED_PARTS = 4
STOPPING = 4
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
class ModelChunk:
    """Items that are taken and given back together."""

    deaths: int = 0
    holder: tuple[int, int] | None = None
    """The node that has taken it, and which taking of it that was."""


@dataclass
class ModelItem:
    index: int
    url: int | None
    joins: bool = False
    first: ModelItem | None = None
    """The item that asks for the same, and is fetched for this one too: it ends as that does."""
    status: str = "queued"
    code: str | None = None
    released: bool = True
    """Whether its turn has come, in a job with a pace."""
    chunk: ModelChunk | None = None
    """Known once it was taken."""
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
            if item.status == "queued" and item.released and item.first is None
            if item.chunk is None or item.chunk.holder is None
            if not item.joins or all(other.over for other in self.items[:-1])
        ]


@dataclass(frozen=True)
class Hand:
    """The right to work on an item, in some node's hands."""

    node: int
    job: int
    index: int
    attempt: int
    chunk: int
    delivery: int


class Model:
    """All jobs, by a number each, and the work in hand."""

    def __init__(self) -> None:
        self.jobs: dict[int, ModelJob] = {}
        self.hands: list[Hand] = []
        """All that were ever given out and not used; most of them are void by now."""
        self.now_s = 0.0
        self._chunks: dict[int, ModelChunk] = {}
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
                    item.first = first
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
            item.released, item.chunk = item.url is None or job.order.pace is None, None
        job.expires_at = None
        self._release(job)
        return None

    def delete(self, number: int) -> None:
        del self.jobs[number]

    # -- what nodes do -----------------------------------------------------------------------

    def take(self, hands: Sequence[Hand]) -> None:
        """Have a node take a chunk. The store chooses which: any whose items may be taken."""
        [key] = {hand.chunk for hand in hands}
        chunk = self._chunks.setdefault(key, ModelChunk())
        for hand in hands:
            job = self.jobs[hand.job]
            item = job.items[hand.index]
            assert item in job.takeable(), (hand, item, job.order)
            assert item.chunk in (None, chunk)
            assert hand.attempt == item.attempt + 1
            item.chunk = chunk
        chunk.holder = hands[0].node, hands[0].delivery
        self.hands += hands
        if chunk.deaths:
            [suspect] = hands
            self.begin(suspect)

    def next_suspect(self, hand: Hand) -> None:
        """Have a node go on with a chunk of which it takes one item at a time."""
        item = self.jobs[hand.job].items[hand.index]
        chunk = self._chunks[hand.chunk]
        assert item.chunk is chunk
        assert chunk.holder == (hand.node, hand.delivery)
        assert item.status == "queued"
        assert hand.attempt == item.attempt + 1
        mates = [other for other in self.jobs[hand.job].items if other.chunk is chunk]
        assert all(mate.over or mate.attempt >= item.attempt for mate in mates)
        assert not any(mate.status == "running" for mate in mates)
        self.hands.append(hand)
        self.begin(hand)

    def begin(self, hand: Hand) -> None:
        """Have work on an item begin; nothing happens for a hand that is void."""
        if self.holds(hand):
            item = self.jobs[hand.job].items[hand.index]
            item.status, item.attempt = "running", hand.attempt

    def finish(self, ended: Sequence[tuple[Hand, bool]]) -> list[bool]:
        """Record outcomes; False for a hand that is void, and nothing else."""
        held = [self.holds(hand) for hand, _ in ended]
        good = [one for one, holds in zip(ended, held, strict=True) if holds]
        for hand, _ in ended:
            self.hands.remove(hand)
        for hand, succeeded in good:
            item = self.jobs[hand.job].items[hand.index]
            item.attempt = hand.attempt
            self._over(self.jobs[hand.job], item, None if succeeded else FAILED)
        self._follow([(self.jobs[h.job], self.jobs[h.job].items[h.index]) for h, _ in good])
        return held

    def give_back(self, hand: Hand) -> None:
        """Give a chunk back: what had begun of it has had that attempt, and nothing else has."""
        if self._fits(hand):
            self._put_back(hand, self._chunks[hand.chunk])

    def crash(self, node: int) -> None:
        """Let a node die with all that it has taken."""
        held = {hand.chunk: hand for hand in self.hands if self._fits(hand) and hand.node == node}
        self._die(list(held.values()))

    def fail_on(self, hand: Hand) -> None:
        """Let a node fail on one chunk."""
        if self._fits(hand):
            self._die([hand])

    def _die(self, hands: Sequence[Hand]) -> None:
        """Give back the chunks of some hands; what was interrupted too often fails."""
        given_up = []
        for hand in hands:
            chunk, job = self._chunks[hand.chunk], self.jobs[hand.job]
            mates = [item for item in job.items if item.chunk is chunk and not item.over]
            begun = [item for item in mates if item.status == "running"]
            if not chunk.deaths:  # what is taken as a whole may have begun, as far as one knows
                for item in mates:
                    item.attempt += item.status == "queued"
                begun = mates
            chunk.deaths += 1
            self._put_back(hand, chunk)
            given_up += [
                (job, item)
                for item in begun
                if item.attempt - item.attempts_before >= MAX_INTERRUPTIONS
            ]
        for job, item in given_up:
            self._over(job, item, INTERRUPTED)
        self._follow(given_up)

    def _put_back(self, hand: Hand, chunk: ModelChunk) -> None:
        chunk.holder = None
        for item in self.jobs[hand.job].items:
            if item.chunk is chunk and item.status == "running":
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
        """Tell whether an item may be ended by a hand."""
        return self._fits(hand) and not self.jobs[hand.job].items[hand.index].over

    def _fits(self, hand: Hand) -> bool:
        """Tell whether a chunk is still its node's, by this hand."""
        job, chunk = self.jobs.get(hand.job), self._chunks[hand.chunk]
        if job is None or chunk.holder != (hand.node, hand.delivery):
            return False
        return any(item.chunk is chunk and not item.over for item in job.items)

    # -- the rules ---------------------------------------------------------------------------

    def _follow(self, ended: Sequence[tuple[ModelJob, ModelItem]]) -> None:
        """Do what follows from the ends of some items."""
        for job, item in ended:
            for other in job.items:
                if other.first is item and not other.over:
                    other.attempt = 0
                    self._over(job, other, item.code)
        for job, item in ended:
            if item.code is not None and job.order.stops:
                self._cancel_rest(job)
        for job in {id(job): job for job, _ in ended}.values():
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
        urls = [item for item in job.items if item.url is not None and item.first is None]
        left = [item for item in urls if not item.over]
        size = max(1, min(job.order.pace // PACED_PARTS, *[STOPPING] * job.order.stops, 32))
        out = sum(item.released for item in left)
        if job.order.pace - out >= size or not out:
            for item in [item for item in left if not item.released][: job.order.pace - out]:
                item.released = True

    def _settle(self, job: ModelJob) -> None:
        if job.done:
            job.expires_at = self.now_s + RETENTION_S
            job.told[f"job.{job.status}", None] += 1
