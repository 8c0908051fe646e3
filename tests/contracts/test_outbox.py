"""What the rules of the outbox promise (`app/records/outbox.py`), on every database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from app.errors import (
    AttemptsExhausted,
    Problem,
    ReceiverGone,
    ReceiverRefused,
    StorageFull,
)
from app.model.blobs import NamedBlob
from app.model.chunks import Failed
from app.model.deliveries import (
    EVENTS,
    JOB_EVENTS,
    Attempt,
    Delivery,
    DeliveryStatus,
    Parcel,
    Push,
    Pushed,
    PutTarget,
    Route,
    Verdict,
    Webhook,
)
from app.model.jobs import Job, JobStatus, NewItem
from app.model.marks import Marks
from app.records.outbox import ATTEMPTS_KEPT
from tests.contracts.backends import Clock, JobBackend
from tests.contracts.records import Outbox
from tests.contracts.test_job_store import (
    BROKEN,
    DAY_S,
    HOUR_S,
    MANY,
    blob,
    done,
    items_of,
    job_now,
    link,
    new_job,
    run_all,
    settle,
    submitted,
    upload,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_item_a_chunk")]

URL = "https://shop.test:8443/hooks/offload?token=t"
ORIGIN = "https://shop.test:8443"
HOOK = Webhook(URL, frozenset(JOB_EVENTS), "whsec_of-the-job")
ALL = Webhook(URL, frozenset(EVENTS), None)
TARGET = PutTarget("https://bucket.test/key?signature=s", {"X-Signed": "1"})
REFUSED = ReceiverRefused("The receiver answered with status 500.", http_status=500).problem()
GONE = ReceiverGone("The receiver answered with status 410.", http_status=410).problem()
OVER = AttemptsExhausted("10 attempts failed.").problem()

DELIVERED = Verdict(DeliveryStatus.DELIVERED)
DEAD = Verdict(DeliveryStatus.DEAD, problem=OVER)
CLOSED = Verdict(DeliveryStatus.DEAD, problem=GONE, disabled=True)


@pytest.fixture
async def store(records: JobBackend) -> Any:
    return await records.open()


@pytest.fixture
def outbox(store: Any) -> Outbox:
    return store.outbox


@pytest.fixture
def clock(records: JobBackend) -> Clock:
    return records.clock


def storing(text: str, target: PutTarget = TARGET) -> NewItem:
    return NewItem(upload=NamedBlob(blob(text), f"{text}.txt"), store=target)


def tried(clock: Clock, problem: Problem | None = None, **others: Any) -> Attempt:
    status = 200 if problem is None else problem.extra.get("http_status")
    return Attempt(clock.now, 7, status, problem, **{"answer": "thanks"} | others)


def again(clock: Clock, after_s: float) -> Verdict:
    return Verdict(DeliveryStatus.PENDING, due_at=clock.now + timedelta(seconds=after_s))


async def due(
    outbox: Outbox, busy: Sequence[str] = (), only: Sequence[str] | None = None
) -> list[Route]:
    return await outbox.due(busy, only)


async def claimed(outbox: Outbox) -> list[Parcel]:
    return await outbox.claim([route.key for route in await due(outbox)])


async def deliveries(outbox: Outbox, **others: Any) -> list[Delivery]:
    found, cursor = await outbox.list("shop", **{"limit": MANY} | others)
    assert cursor is None
    return list(reversed(found))


async def events(outbox: Outbox) -> list[str]:
    return [delivery.event for delivery in await deliveries(outbox)]


async def pushes(store: Any, job: Job) -> list[Push | None]:
    found = [item.pushed for item in await items_of(store, job)]
    return [one.pushes[-1] if one else None for one in found]


# -- written with what they tell of ------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "event"),
    [
        ([done("a"), done("b")], "job.succeeded"),
        ([done("a"), Failed(BROKEN)], "job.partial"),
        ([Failed(BROKEN), Failed(BROKEN)], "job.failed"),
    ],
)
async def test_the_end_of_a_job_is_told_once_with_what_it_came_to(
    store: Any, outbox: Outbox, clock: Clock, outcomes: list[Any], event: str
) -> None:
    job = await submitted(
        store,
        upload("1"),
        upload("2"),
        webhook=HOOK,
        marks=Marks(tag="spring", metadata={"order": 7}),
    )
    await run_all(store, outcomes[0])
    assert await deliveries(outbox) == []
    await run_all(store, outcomes[1])
    [told] = await deliveries(outbox)
    assert (told.event, told.job_id, told.item_index, told.url) == (event, job.id, None, URL)
    assert (told.status, told.created_at, told.due_at) == ("pending", clock.now, clock.now)
    assert (told.client, told.attempts, told.ended_at, told.problem) == ("shop", (), None, None)
    [parcel] = await claimed(outbox)
    succeeded = sum(not isinstance(outcome, Failed) for outcome in outcomes)
    assert parcel.data == {
        "job_id": job.id,
        "status": event.removeprefix("job."),
        "counts": {"total": 2, "succeeded": succeeded, "failed": 2 - succeeded, "canceled": 0},
        "tag": "spring",
        "metadata": {"order": 7},
    }
    assert (parcel.id, parcel.url, parcel.secret) == (told.id, URL, "whsec_of-the-job")
    assert (parcel.tries, parcel.asked, parcel.event) == (0, False, event)
    assert parcel.route == Route(parcel.key, ORIGIN, f"{ORIGIN}/hooks/offload")


async def test_nothing_is_told_where_nobody_asked(store: Any, outbox: Outbox) -> None:
    await submitted(store, upload("1"))
    only = Webhook(URL, frozenset({"job.failed", "item.failed"}))
    await submitted(store, upload("2"), webhook=only)
    await run_all(store, done("a"), done("b"))
    assert await deliveries(outbox) == []
    assert await due(outbox) == []


async def test_items_are_told_to_those_who_ask(store: Any, outbox: Outbox) -> None:
    job = await submitted(store, upload("1"), upload("2"), webhook=ALL)
    await run_all(store, done("a"), Failed(BROKEN))
    assert await events(outbox) == ["item.succeeded", "item.failed", "job.partial"]
    first, second, _ = await claimed(outbox)
    assert first.data == {
        "job_id": job.id,
        "index": 0,
        "status": "succeeded",
        "error": None,
        "tag": None,
        "metadata": {},
    }
    assert (second.data["index"], second.data["error"]) == (1, BROKEN.code)
    assert len({parcel.id for parcel in (first, second)}) == 2
    assert [d.item_index for d in await deliveries(outbox)] == [0, 1, None]


async def test_a_canceled_job_is_told_and_a_canceled_item_is_not(
    store: Any, outbox: Outbox
) -> None:
    job = await submitted(store, upload("1"), upload("2"), webhook=ALL)
    await store.claim("cpu", 1)
    await store.cancel(job.id)
    assert await events(outbox) == ["job.canceled"]
    await store.cancel(job.id)
    assert await events(outbox) == ["job.canceled"]


async def test_a_deleted_job_has_nothing_more_to_tell(store: Any, outbox: Outbox) -> None:
    job = await submitted(store, storing("1"), upload("2"), webhook=ALL)
    await run_all(store, done("a"))
    parcels = await claimed(outbox)
    assert {parcel.event for parcel in parcels} == {"item.succeeded", None}
    await store.delete_job(job.id)
    assert await deliveries(outbox) == []
    assert await due(outbox) == []
    for parcel in parcels:
        assert not await outbox.settle(parcel, None, DELIVERED)
    await outbox.release(parcels)
    assert await due(outbox) == []


async def test_an_expired_job_is_told_of(store: Any, outbox: Outbox, clock: Clock) -> None:
    job = await submitted(store, upload("1"), webhook=HOOK)
    await run_all(store, done("a"))
    clock.move(DAY_S)
    await store.purge()
    assert await events(outbox) == ["job.succeeded", "job.expired"]
    assert (await job_now(store, job)).status is JobStatus.EXPIRED
    clock.move(DAY_S)
    await store.purge()
    # The job's record is gone, what is to be told of it is not.
    assert await store.get_job(job.id) is None
    assert [p.data["status"] for p in await claimed(outbox)] == ["succeeded", "expired"]


async def test_the_outcome_and_its_event_are_on_disk_together_or_not_at_all(
    records: JobBackend,
) -> None:
    store: Any = await records.open()
    jobs = [
        await submitted(
            store, upload(str(n)), webhook=HOOK, marks=Marks(metadata={"text": "x" * 10_000})
        )
        for n in range(20)
    ]
    claims = await store.claim("cpu", 20)
    async with records.full(store):
        ends = await asyncio.gather(
            *(store.finish(claim, done("r")) for claim in claims), return_exceptions=True
        )
        kept = [end is True for end in ends]
        assert all(end is True or isinstance(end, StorageFull) for end in ends)
        assert not all(kept)
    told = {delivery.job_id for delivery in await deliveries(store.outbox)}
    over = {job.id for job in jobs if (await job_now(store, job)).status.done}
    assert told == over
    assert len(over) == sum(kept)


async def test_a_late_ghost_tells_nothing(store: Any, outbox: Outbox) -> None:
    await submitted(store, storing("1"), webhook=ALL)
    [ghost] = await store.claim("cpu", 1)
    await store.recover()
    assert not await store.finish(ghost, done("a"))
    assert await deliveries(outbox) == []
    assert await due(outbox) == []


async def test_items_that_a_dying_service_gives_up_are_told(store: Any, outbox: Outbox) -> None:
    await submitted(store, storing("1"), webhook=ALL)
    for _ in range(10):
        await store.claim("cpu", 1)
        await store.recover()
    assert await events(outbox) == ["item.failed", "job.failed"]


async def test_the_operators_own_endpoint_is_named_by_no_url(store: Any, outbox: Outbox) -> None:
    await submitted(store, upload("1"), webhook=Webhook(None, frozenset(JOB_EVENTS)))
    await run_all(store, done("a"))
    [parcel] = await claimed(outbox)
    assert (parcel.url, parcel.secret) == (None, None)
    assert parcel.route.origin == parcel.route.lane
    [delivery] = await deliveries(outbox)
    assert delivery.url is None


async def test_writing_says_that_something_is_due(store: Any, outbox: Outbox) -> None:
    hints: list[int] = []
    outbox.listen(lambda: hints.append(1))
    await submitted(store, upload("1"), webhook=HOOK)
    assert hints == []
    await run_all(store, done("a"))
    assert hints == [1]
    [delivery] = await deliveries(outbox)
    await outbox.replay(delivery.id)
    assert len(hints) == 2


# -- sending -----------------------------------------------------------------------------------


async def one_delivery(store: Any, **others: Any) -> Delivery:
    await submitted(store, upload("1"), **{"webhook": HOOK} | others)
    await run_all(store, done("a"))
    return (await deliveries(store.outbox))[-1]


async def test_what_is_claimed_is_given_to_nobody_else(store: Any, outbox: Outbox) -> None:
    delivery = await one_delivery(store)
    routes = await due(outbox)
    keys = [route.key for route in routes] * 2
    taken = await asyncio.gather(*(outbox.claim(keys) for _ in range(5)))
    assert [parcel.id for parcels in taken for parcel in parcels] == [delivery.id]
    assert await due(outbox) == []
    found = await outbox.get(delivery.id)
    assert found is not None
    assert (found.status, found.due_at) == (DeliveryStatus.SENDING, None)


async def test_a_delivery_is_over_once_it_succeeded(
    store: Any, outbox: Outbox, clock: Clock
) -> None:
    delivery = await one_delivery(store)
    [parcel] = await claimed(outbox)
    clock.move(2)
    attempt = tried(clock)
    assert await outbox.settle(parcel, attempt, DELIVERED)
    found = await outbox.get(delivery.id)
    assert found is not None
    assert (found.status, found.ended_at, found.due_at) == ("delivered", clock.now, None)
    assert (found.attempts, found.problem) == ((attempt,), None)
    clock.move(1000 * DAY_S)
    assert await due(outbox) == []
    # The same claim settles once.
    assert not await outbox.settle(parcel, attempt, DEAD)


async def test_a_failed_attempt_is_due_again_when_its_verdict_says(
    store: Any, outbox: Outbox, clock: Clock
) -> None:
    delivery = await one_delivery(store)
    attempts = []
    for number in range(3):
        [parcel] = await claimed(outbox)
        assert parcel.tries == number
        assert parcel.id == delivery.id
        attempts.append(tried(clock, REFUSED, answer=f"no {number}"))
        assert await outbox.settle(parcel, attempts[-1], again(clock, 60))
        assert await outbox.next_due_at() == clock.now + timedelta(seconds=60)
        clock.move(59)
        assert await due(outbox) == []
        clock.move(1)
        assert await outbox.next_due_at() is None
    [parcel] = await claimed(outbox)
    assert await outbox.settle(parcel, tried(clock, REFUSED), DEAD)
    found = await outbox.get(delivery.id)
    assert found is not None
    assert (found.status, found.problem, found.ended_at) == ("dead", OVER, clock.now)
    assert found.attempts[:3] == tuple(attempts)
    assert await outbox.next_due_at() is None


async def test_those_whose_turn_it_is_not_are_passed_over(store: Any, outbox: Outbox) -> None:
    urls = ["https://a.test/1", "https://a.test/2?x", "https://A.test:444/1", "https://b.test/1"]
    for url in urls:
        await one_delivery(store, webhook=Webhook(url, frozenset(JOB_EVENTS)))

    async def lanes(busy: Sequence[str] = (), only: Sequence[str] | None = None) -> list[str]:
        return [route.lane for route in await due(outbox, busy, only)]

    everything = [
        "https://a.test/1",
        "https://a.test/2",
        "https://a.test:444/1",
        "https://b.test/1",
    ]
    assert await lanes() == everything
    assert await lanes(["https://a.test"]) == everything[2:]
    assert await lanes(["https://a.test/2", "https://b.test"]) == [everything[0], everything[2]]
    assert await lanes(only=["https://b.test"]) == ["https://b.test/1"]
    assert (
        await lanes(["https://b.test"], only=["https://b.test", "https://a.test"])
        == (everything[:2])
    )
    assert await lanes(only=[]) == []


async def test_what_is_due_longest_comes_first_and_a_backlog_hides_nobody(
    store: Any, outbox: Outbox, clock: Clock
) -> None:
    many = 1000
    await submitted(store, *(upload(str(n)) for n in range(many)), webhook=ALL)
    await run_all(store, *[done("r")] * many)
    clock.move(1)
    late = Webhook("https://late.test/", frozenset(JOB_EVENTS))
    await one_delivery(store, webhook=late)
    first = await due(outbox)
    assert 0 < len(first) < many
    assert {route.origin for route in first} == {ORIGIN}
    assert [route.key for route in first] == sorted(route.key for route in first)
    assert [route.origin for route in await due(outbox, [ORIGIN])] == ["https://late.test"]


@pytest.mark.parametrize("how", ["released", "recovered", "crashed"])
async def test_what_was_being_sent_is_sent_again_under_the_same_id(
    records: JobBackend, how: str
) -> None:
    store: Any = await records.open()
    delivery = await one_delivery(store)
    [parcel] = await claimed(store.outbox)
    if how == "released":
        await store.outbox.release([parcel])
    elif how == "recovered":
        assert await store.outbox.recover() == 1
        assert await store.outbox.recover() == 0
    else:
        await records.crash()
        store = await records.open()
        assert await due(store.outbox) == []
        assert await store.outbox.recover() == 1
    [later] = await claimed(store.outbox)
    assert (later.id, later.tries, later.data) == (delivery.id, 0, parcel.data)
    # What the earlier claim comes to is void, and what it would give back is not its own.
    assert not await store.outbox.settle(parcel, tried(records.clock), DELIVERED)
    await store.outbox.release([parcel])
    assert await due(store.outbox) == []
    assert await store.outbox.settle(later, tried(records.clock), DELIVERED)


async def test_a_crash_loses_no_event_and_no_attempt(records: JobBackend) -> None:
    store: Any = await records.open()
    delivery = await one_delivery(store)
    [parcel] = await claimed(store.outbox)
    await store.outbox.settle(parcel, tried(records.clock, REFUSED), again(records.clock, 5))
    await records.crash()
    store = await records.open()
    [found] = await deliveries(store.outbox)
    assert (found.id, len(found.attempts), found.attempts[0].problem) == (delivery.id, 1, REFUSED)


async def test_an_endpoint_that_is_gone_gets_nothing_more_of_that_job(
    store: Any, outbox: Outbox, clock: Clock
) -> None:
    job = await submitted(store, upload("1"), upload("2"), upload("3"), webhook=ALL)
    other = await submitted(store, upload("4"), webhook=ALL)
    first, second, third, fourth = await store.claim("cpu", 4)
    await store.finish(first, done("a"))
    await store.finish(second, done("b"))
    parcels = await claimed(outbox)
    assert await outbox.settle(parcels[0], tried(clock, GONE), CLOSED)
    # What was under way may still succeed; what was to come is dead, and says why.
    assert await outbox.settle(parcels[1], tried(clock), DELIVERED)
    await store.finish(third, done("c"))
    await store.finish(fourth, done("d"))
    found = await deliveries(outbox, job_id=job.id)
    assert [(d.event, d.status) for d in found] == [
        ("item.succeeded", "dead"),
        ("item.succeeded", "delivered"),
        ("item.succeeded", "dead"),
        ("job.succeeded", "dead"),
    ]
    assert [d.problem and d.problem.code for d in found] == [GONE.code, None, GONE.code, GONE.code]
    assert {p.data["job_id"] for p in await claimed(outbox)} == {other.id}


async def test_what_waits_for_an_endpoint_that_turns_out_gone_is_dead(
    store: Any, outbox: Outbox, clock: Clock
) -> None:
    await submitted(store, upload("1"), webhook=ALL)
    await run_all(store, done("a"))
    [route, _] = await due(outbox)
    [parcel] = await outbox.claim([route.key])
    await outbox.settle(parcel, tried(clock, GONE), CLOSED)
    assert await due(outbox) == []
    assert [d.status for d in await deliveries(outbox)] == ["dead", "dead"]
    assert [d.ended_at for d in await deliveries(outbox)] == [clock.now] * 2


async def test_a_replay_that_succeeds_opens_the_endpoint_again(
    store: Any, outbox: Outbox, clock: Clock
) -> None:
    await submitted(store, upload("1"), upload("2"), webhook=ALL)
    await run_all(store, done("a"))
    [parcel] = await claimed(outbox)
    await outbox.settle(parcel, tried(clock, GONE), CLOSED)
    await outbox.replay(parcel.id)
    [parcel] = await claimed(outbox)
    assert (parcel.asked, parcel.tries) == (True, 0)
    await outbox.settle(parcel, tried(clock), DELIVERED)
    await run_all(store, done("b"))
    assert [p.event for p in await claimed(outbox)] == ["item.succeeded", "job.succeeded"]


# -- showing, replaying ------------------------------------------------------------------------


async def test_deliveries_page_newest_first_by_job_and_status(
    store: Any, outbox: Outbox, clock: Clock
) -> None:
    ids = [(await one_delivery(store)).id for _ in range(5)]
    theirs = await submitted(store, upload("x"), webhook=HOOK, client="bank")
    await run_all(store, done("y"))
    [parcel, *others] = await claimed(outbox)
    await outbox.settle(parcel, tried(clock), DELIVERED)
    await outbox.release(others)

    page, cursor = await outbox.list("shop", limit=3)
    assert [d.id for d in page] == ids[:1:-1]
    rest, end = await outbox.list("shop", limit=3, cursor=cursor)
    assert ([d.id for d in rest], end) == (ids[1::-1], None)
    assert [d.id for d in await deliveries(outbox, status=DeliveryStatus.DELIVERED)] == ids[:1]
    assert [d.id for d in await deliveries(outbox, status=DeliveryStatus.PENDING)] == ids[1:]
    mine = await outbox.get(ids[2])
    assert mine is not None
    assert [d.id for d in await deliveries(outbox, job_id=mine.job_id)] == [ids[2]]
    assert await deliveries(outbox, job_id=mine.job_id, status=DeliveryStatus.DEAD) == []
    assert await deliveries(outbox, job_id=theirs.id) == []
    assert len((await outbox.list("bank"))[0]) == 1
    assert await outbox.get("msg_unknown") is None


@pytest.mark.parametrize("status", list(DeliveryStatus))
async def test_a_replay_sends_it_again_under_its_id(
    store: Any, outbox: Outbox, clock: Clock, status: DeliveryStatus
) -> None:
    delivery = await one_delivery(store)
    [parcel] = await claimed(outbox)
    verdicts = {"pending": again(clock, HOUR_S), "delivered": DELIVERED, "dead": DEAD}
    if status in verdicts:
        await outbox.settle(parcel, tried(clock, REFUSED), verdicts[status])
    await outbox.replay(delivery.id)
    found = await outbox.get(delivery.id)
    assert found is not None
    if status is DeliveryStatus.SENDING:
        assert found.status is DeliveryStatus.SENDING
        assert await due(outbox) == []
        return
    assert (found.status, found.due_at, found.ended_at) == ("pending", clock.now, None)
    assert (found.problem, len(found.attempts)) == (None, 1)
    [parcel] = await claimed(outbox)
    assert (parcel.id, parcel.tries, parcel.asked) == (delivery.id, 0, True)
    await outbox.settle(parcel, tried(clock), DELIVERED)
    found = await outbox.get(delivery.id)
    assert found is not None
    assert [a.problem for a in found.attempts] == [REFUSED, None]


async def test_a_record_does_not_grow_with_every_replay(
    store: Any, outbox: Outbox, clock: Clock
) -> None:
    delivery = await one_delivery(store)
    for number in range(ATTEMPTS_KEPT + 3):
        await outbox.replay(delivery.id)
        [parcel] = await claimed(outbox)
        await outbox.settle(parcel, tried(clock, answer=str(number)), DELIVERED)
    found = await outbox.get(delivery.id)
    assert found is not None
    assert [a.answer for a in found.attempts] == [str(n) for n in range(3, ATTEMPTS_KEPT + 3)]


async def test_a_test_event_belongs_to_no_job(store: Any, outbox: Outbox, clock: Clock) -> None:
    made = await outbox.test("shop", HOOK)
    assert (made.event, made.job_id, made.url) == ("webhook.test", None, URL)
    assert await deliveries(outbox) == [made]
    [parcel] = await claimed(outbox)
    assert (parcel.id, parcel.asked, parcel.data) == (made.id, True, {})
    assert parcel.secret == HOOK.secret
    assert await outbox.settle(parcel, tried(clock, GONE), CLOSED)


async def test_waiting_for_the_end_of_a_delivery(store: Any, outbox: Outbox, clock: Clock) -> None:
    made = await outbox.test("shop", HOOK)
    assert await outbox.ended(made.id, 0) == made
    waiting = [asyncio.create_task(outbox.ended(made.id, 60)) for _ in range(3)]
    await settle()
    [parcel] = await claimed(outbox)
    assert not any(task.done() for task in waiting)
    await outbox.settle(parcel, tried(clock), DELIVERED)
    async with asyncio.timeout(10):
        found = await asyncio.gather(*waiting)
    assert [d and d.status for d in found] == ["delivered"] * 3
    assert await outbox.ended(made.id, 60) == found[0]
    assert await outbox.ended("msg_unknown", 60) is None


async def test_records_of_what_ended_go_after_a_while_and_others_never(
    store: Any, outbox: Outbox, clock: Clock
) -> None:
    old, young, waiting = [(await one_delivery(store)).id for _ in range(3)]
    first, second, _ = await due(outbox)
    for route, wait_s in ((first, HOUR_S), (second, 0)):
        [parcel] = await outbox.claim([route.key])
        await outbox.settle(parcel, tried(clock), DELIVERED)
        clock.move(wait_s)
    assert not await outbox.purge(HOUR_S)
    assert [d.id for d in await deliveries(outbox)] == [young, waiting]
    assert await outbox.get(old) is None
    clock.move(1000 * DAY_S)
    assert not await outbox.purge(HOUR_S)
    assert [d.id for d in await deliveries(outbox)] == [waiting]


# -- pushes ------------------------------------------------------------------------------------


async def test_a_result_that_is_to_be_put_elsewhere_is_pushed(
    store: Any, outbox: Outbox, clock: Clock
) -> None:
    job = await submitted(store, storing("1"), upload("2"))
    assert await pushes(store, job) == [None, None]
    await run_all(store, done("a"), done("b"))
    [parcel] = await claimed(outbox)
    assert (parcel.event, parcel.url, parcel.target) == (None, TARGET.url, TARGET)
    assert parcel.content == NamedBlob(blob("a"), "a.out")
    assert parcel.route == Route(parcel.key, "https://bucket.test", "https://bucket.test/key")
    sending = Push(DeliveryStatus.SENDING, 0, None, None, None)
    assert await pushes(store, job) == [sending, None]

    before = await job_now(store, job)
    await outbox.settle(parcel, tried(clock, REFUSED), again(clock, 5))
    after = await job_now(store, job)
    # Who polls with an ETag, or waits for a change, sees it.
    assert after.seq > before.seq
    [push, _] = await pushes(store, job)
    due_at = clock.now + timedelta(seconds=5)
    assert push == Push(DeliveryStatus.PENDING, 1, due_at, None, REFUSED)
    clock.move(5)
    [parcel] = await claimed(outbox)
    await outbox.settle(parcel, tried(clock), DELIVERED)
    [push, _] = await pushes(store, job)
    assert push == Push(DeliveryStatus.DELIVERED, 2, None, clock.now, None)
    # Pushes are shown by their items, not among the events.
    assert await deliveries(outbox) == []
    assert (await store.items_since(job.id, (0, 0)))[0].pushed == Pushed((push,))


async def test_into_a_bucket_each_result_is_pushed_for_itself(
    store: Any, outbox: Outbox, clock: Clock
) -> None:
    bucket = PutTarget("s3://bucket/{index}/{name}", remote="media")
    job = await submitted(store, upload("1"), storing("2", bucket), webhook=ALL)
    await run_all(store, done("a"), done("a", "b", "a"))
    parcels = await claimed(outbox)
    first, second = [parcel for parcel in parcels if parcel.target]
    assert [one.content for one in (first, second)] == [
        NamedBlob(blob(n), f"{n}.out") for n in "ab"
    ]
    assert first.target == PutTarget("s3://bucket/1/a.out", remote="media")
    assert (first.client, first.route) == ("shop", Route(first.key, "s3://bucket", "s3://bucket"))
    await outbox.settle(second, tried(clock, etag='"b"'), DELIVERED)
    await outbox.settle(first, tried(clock, REFUSED, etag='"no"'), again(clock, 5))
    _, pushed = [item.pushed for item in await items_of(store, job)]
    assert [(push.url, push.etag, push.size_bytes, push.attempts) for push in pushed.pushes] == [
        ("s3://bucket/1/a.out", None, None, 1),
        ("s3://bucket/1/b.out", '"b"', blob("b").size_bytes, 1),
        ("s3://bucket/1/a.out", None, None, 0),
    ]
    assert [push.problem and push.problem.code for push in pushed.pushes] == [
        REFUSED.code,
        None,
        "delivery.key",  # it would write over the first
    ]
    assert pushed.status is DeliveryStatus.PENDING
    told = [p for p in [*parcels, *await claimed(outbox)] if (p.event or "").startswith("push.")]
    assert [(p.event, p.data["url"], p.data["index"]) for p in told] == [
        ("push.failed", "s3://bucket/1/a.out", 1),
        ("push.succeeded", "s3://bucket/1/b.out", 1),
    ]


async def test_who_watches_a_job_learns_of_its_push(
    store: Any, outbox: Outbox, clock: Clock
) -> None:
    job = await submitted(store, storing("1"))
    await run_all(store, done("a"))
    now = await job_now(store, job)
    watching = asyncio.create_task(store.changed(job.id, now.seq, 60))
    await settle()
    [parcel] = await claimed(outbox)
    await outbox.settle(parcel, tried(clock), DELIVERED)
    async with asyncio.timeout(10):
        assert (await watching).seq > now.seq


async def test_a_failed_item_has_nothing_to_push(store: Any, outbox: Outbox) -> None:
    job = await submitted(store, storing("1"))
    await run_all(store, Failed(BROKEN))
    assert await pushes(store, job) == [None]
    assert await due(outbox) == []


@pytest.mark.parametrize("results", [(), ("a", "b")])
async def test_one_url_takes_one_result(
    store: Any, outbox: Outbox, clock: Clock, results: tuple[str, ...]
) -> None:
    job = await submitted(store, storing("1"), webhook=ALL)
    await run_all(store, done(*results))
    [push] = await pushes(store, job)
    assert push is not None
    assert (push.status, push.attempts, push.ended_at) == ("dead", 0, clock.now)
    assert push.problem is not None
    assert push.problem.code == "delivery.results"
    assert await events(outbox) == ["item.succeeded", "push.failed", "job.succeeded"]
    assert {parcel.event for parcel in await claimed(outbox)} == set(await events(outbox))


async def test_how_a_push_ended_is_told(store: Any, outbox: Outbox, clock: Clock) -> None:
    asked = Webhook(URL, frozenset({"push.succeeded", "push.failed"}))
    job = await submitted(store, storing("1"), storing("2"), webhook=asked)
    await run_all(store, done("a"), done("b"))
    first, second = await claimed(outbox)
    await outbox.settle(first, tried(clock, REFUSED), again(clock, 5))
    assert await events(outbox) == []
    await outbox.settle(second, tried(clock, REFUSED), DEAD)
    clock.move(5)
    pushed = [p for p in await claimed(outbox) if p.event is None]
    await outbox.settle(pushed[0], tried(clock), DELIVERED)
    assert await events(outbox) == ["push.failed", "push.succeeded"]
    failed, succeeded = await deliveries(outbox)
    assert (failed.item_index, succeeded.item_index) == (1, 0)
    await outbox.recover()
    told = [p.data for p in await claimed(outbox)]
    assert [(t["job_id"], t["index"], t["error"]) for t in told] == [
        (job.id, 1, OVER.code),
        (job.id, 0, None),
    ]


async def test_the_item_that_joins_is_pushed(store: Any, outbox: Outbox) -> None:
    job = (await store.submit(new_job(link(1), link(2), join_at=0, store=TARGET))).job
    for lane, results in (("io", 2), ("cpu", 1)):
        for claim in await store.claim(lane, results):
            await store.finish(claim, done(f"{lane}{claim.index}"))
    [parcel] = await claimed(outbox)
    assert parcel.content == NamedBlob(blob("cpu2"), "cpu2.out")
    assert [push is not None for push in await pushes(store, job)] == [False, False, True]


async def test_results_that_expired_are_pushed_no_more(
    store: Any, outbox: Outbox, clock: Clock
) -> None:
    job = await submitted(store, storing("1"), storing("2"), webhook=ALL)
    await run_all(store, done("a"), done("b"))
    parcels = [p for p in await claimed(outbox) if p.event is None]
    await outbox.settle(parcels[0], tried(clock, REFUSED), again(clock, 2 * DAY_S))
    clock.move(DAY_S)
    await store.purge()
    found = await pushes(store, job)
    assert [push and (push.status, push.problem and push.problem.code) for push in found] == [
        ("dead", "input.expired")
    ] * 2
    assert not await outbox.settle(parcels[1], tried(clock), DELIVERED)
    clock.move(DAY_S)
    await store.purge()
    assert await store.get_job(job.id) is None
    # Items made later may get the keys of those that are gone, never their pushes.
    later = await submitted(store, storing("3"), storing("4"))
    assert await pushes(store, later) == [None, None]


async def test_a_result_that_was_deleted_cannot_be_pushed(store: Any, outbox: Outbox) -> None:
    job = await submitted(store, storing("1"))
    await run_all(store, done("a"))
    [item] = await items_of(store, job)
    await store.delete_file(item.results[0].id)
    [parcel] = await claimed(outbox)
    assert (parcel.target, parcel.content) == (None, None)
