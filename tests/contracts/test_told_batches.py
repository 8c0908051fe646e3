"""What is told of batches and of very large jobs, and put elsewhere: twins, retries, bites."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.model.chunks import Failed
from app.model.deliveries import EVENTS, PutTarget, Webhook
from app.model.jobs import Job, JobStatus
from app.records import bites
from tests.contracts.backends import JobBackend
from tests.contracts.records import Outbox
from tests.contracts.test_batches import FETCH, FETCHED, PACK, claimed, submitted, url
from tests.contracts.test_job_store import BROKEN, done, items_of, job_now
from tests.contracts.test_streams import ended, streamed

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_item_a_chunk")]

ALL = Webhook("https://shop.test/hooks", frozenset(EVENTS), "whsec_of-the-job")
STEPS = {"steps": (FETCH, PACK), "join_at": 1}
MANY = 1000


@pytest.fixture(autouse=True)
def small_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bites, "BITE_ROWS", 10)


@pytest.fixture
async def store(records: JobBackend) -> Any:
    return await records.open()


@pytest.fixture
def outbox(store: Any) -> Outbox:
    return store.outbox


def target(number: int) -> PutTarget:
    return PutTarget(f"https://bucket.test/{number}?signature=s{number}", {"X-Signed": str(number)})


async def told(outbox: Outbox, job: Job | None = None) -> list[tuple[str, int | None]]:
    found, _ = await outbox.list("shop", job_id=job and job.id, limit=MANY)
    return [(delivery.event, delivery.item_index) for delivery in reversed(found)]


async def put_to(outbox: Outbox) -> dict[str, str]:
    """Send all that is due: gives the pushes' URLs with what they bring."""
    parcels = await outbox.claim([route.key for route in await outbox.due((), None)])
    return {p.target.url: p.content.name for p in parcels if p.target and p.content}


async def purged(store: Any) -> None:
    while await store.purge():
        pass


def texts(records: JobBackend) -> str:
    """Give all that the items' rows still say."""
    return repr(records.select("SELECT url, headers, store FROM items"))


# -- twins -------------------------------------------------------------------------------------


async def test_those_that_fail_with_their_twin_are_told_like_it(store: Any, outbox: Outbox) -> None:
    twins = [url(1), url(2), url(1), url(1, store=target(1))]
    job = await submitted(store, *twins, dedupe=True, webhook=ALL)
    first, second = await claimed(store)
    await store.finish(first, Failed(BROKEN))
    await store.finish(second, FETCHED)
    assert await told(outbox) == [
        ("item.failed", 0),
        ("item.failed", 2),
        ("item.failed", 3),
        ("item.succeeded", 1),
        ("job.partial", None),
    ]
    parcels = await outbox.claim([route.key for route in await outbox.due((), None)])
    assert [p.data["error"] for p in parcels[:3]] == [BROKEN.code] * 3
    assert [item.pushed for item in await items_of(store, job)] == [None] * 4


async def test_each_twin_is_put_to_its_own_place(store: Any, outbox: Outbox) -> None:
    twins = [replace(url(1), store=target(number)) for number in range(3)]
    await submitted(store, *twins, dedupe=True, webhook=ALL)
    [first] = await claimed(store)
    await store.finish(first, FETCHED)
    for claim in await claimed(store):
        await store.finish(claim, FETCHED)
    assert sorted(event for event, _ in await told(outbox)) == [
        *["item.succeeded"] * 3,
        "job.succeeded",
    ]
    assert await put_to(outbox) == {target(number).url: "x" for number in range(3)}


# -- the end, once -----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [5, 35])
async def test_a_job_that_stops_at_a_failure_is_told_once(
    store: Any, outbox: Outbox, number: int
) -> None:
    made = await streamed(store, *map(url, range(number)), stops=True, webhook=ALL)
    first, *_ = await claimed(store)
    await store.finish(first, Failed(BROKEN))
    assert (await store.ended(made.job.id, 5)).status is JobStatus.FAILED
    await purged(store)
    assert await told(outbox) == [("item.failed", 0), ("job.failed", None)]


async def test_a_large_cancel_is_told_once(store: Any, outbox: Outbox) -> None:
    made = await streamed(store, *map(url, range(35)), **STEPS, webhook=ALL)
    await claimed(store)
    store.bites_at_once = False
    await store.cancel(made.job.id)
    assert await told(outbox) == []
    await store.cancel(made.job.id)
    await store.bite()
    await store.ended(made.job.id, 5)
    await purged(store)
    assert await told(outbox) == [("job.canceled", None)]
    [parcel] = await outbox.claim([route.key for route in await outbox.due((), None)])
    assert parcel.data["counts"] == {"total": 36, "succeeded": 0, "failed": 0, "canceled": 36}


async def test_a_retried_job_is_told_again_under_another_id(store: Any, outbox: Outbox) -> None:
    job = await submitted(store, url(1), url(2, store=target(2)), webhook=ALL)
    first, second = await claimed(store)
    await store.finish(first, FETCHED)
    await store.finish(second, Failed(BROKEN))
    await store.retry(job.id)
    assert [event for event, _ in await told(outbox)][-1] == "job.partial"
    [again] = await claimed(store)
    await store.finish(again, FETCHED)
    assert await told(outbox) == [
        ("item.succeeded", 0),
        ("item.failed", 1),
        ("job.partial", None),
        ("item.succeeded", 1),
        ("job.succeeded", None),
    ]
    found, _ = await outbox.list("shop", job_id=job.id)
    assert len({delivery.id for delivery in found}) == 5
    assert await put_to(outbox) == {target(2).url: "x"}


async def test_what_joins_again_is_put_there_once_and_anew(store: Any, outbox: Outbox) -> None:
    job = await submitted(store, url(1), url(2), **STEPS, webhook=ALL, store=target(9))
    first, second = await claimed(store)
    await store.finish(first, FETCHED)
    await store.finish(second, Failed(BROKEN))
    [join] = await claimed(store)
    await store.finish(join, done("old"))
    old = [route.key for route in await outbox.due((), None)]
    taken = [parcel for parcel in await outbox.claim(old) if parcel.target]
    await store.retry(job.id)
    # Nothing is known of the earlier one, and what it comes to is void.
    assert [item.pushed for item in await items_of(store, job)] == [None] * 3
    for parcel in taken:
        await outbox.release([parcel])
    [again] = await claimed(store)
    await store.finish(again, FETCHED)
    [join] = await claimed(store)
    await store.finish(join, done("new"))
    assert len(taken) == 1
    assert list(await put_to(outbox)) == [target(9).url]


# -- line by line ------------------------------------------------------------------------------


async def test_a_streamed_job_is_told_of_and_each_line_put_to_its_place(
    store: Any, outbox: Outbox
) -> None:
    lines = [url(n, store=target(n) if n % 2 else None) for n in range(12)]
    made = await streamed(store, *lines, webhook=ALL)
    assert await told(outbox) == []
    await ended(store, made.job, 12)
    assert sorted(told_of := [event for event, _ in await told(outbox, made.job)]) == [
        *["item.succeeded"] * 12,
        "job.succeeded",
    ]
    assert told_of[-1] == "job.succeeded"
    pushed = [item.pushed is not None for item in await items_of(store, made.job)]
    assert pushed == [bool(n % 2) for n in range(12)]
    assert set(await put_to(outbox)) == {target(n).url for n in range(1, 12, 2)}


async def test_what_joins_the_lines_is_put_to_the_jobs_place(store: Any, outbox: Outbox) -> None:
    made = await streamed(store, *map(url, range(3)), **STEPS, store=target(9))
    await ended(store, made.job, 4)
    assert list(await put_to(outbox)) == [target(9).url]


# -- large jobs that go ------------------------------------------------------------------------


async def test_a_large_job_that_is_deleted_tells_nothing_more(
    store: Any, outbox: Outbox, records: JobBackend
) -> None:
    lines = [url(n, store=target(n)) for n in range(35)]
    made = await streamed(store, *lines, webhook=ALL)
    other = await submitted(store, url(99), webhook=ALL)
    await ended(store, made.job, 30)
    await store.delete_job(made.job.id)
    # At once, while the rows go a bite at a time.
    due = await outbox.claim([route.key for route in await outbox.due((), None)])
    assert {parcel.data["job_id"] for parcel in due if parcel.data} <= {other.id}
    await purged(store)
    assert await told(outbox, made.job) == []
    assert rows_of(records, "deliveries") == len(await told(outbox, other))


async def test_a_large_job_deleted_while_it_is_canceled_is_gone(
    store: Any, outbox: Outbox, records: JobBackend
) -> None:
    made = await streamed(store, *map(url, range(35)), webhook=ALL)
    await store.cancel(made.job.id)
    await store.delete_job(made.job.id)
    await purged(store)
    assert (rows_of(records, "jobs"), rows_of(records, "items")) == (0, 0)
    assert await told(outbox) == []


async def test_a_large_job_expires_once_and_its_places_are_forgotten(
    store: Any, outbox: Outbox, records: JobBackend
) -> None:
    lines = [url(n, store=target(n)) for n in range(35)]
    quiet = Webhook("https://shop.test/hooks", frozenset({"job.succeeded", "job.expired"}))
    made = await streamed(store, *lines, webhook=quiet)
    await ended(store, made.job, 35)
    assert "signature" in texts(records)
    records.clock.move(61)
    await purged(store)
    assert (await job_now(store, made.job)).status is JobStatus.EXPIRED
    assert "signature" not in texts(records)
    assert "X-Signed" not in texts(records)
    assert await told(outbox) == [("job.succeeded", None), ("job.expired", None)]
    pushed = [item.pushed for item in await items_of(store, made.job)]
    assert {push.status.value for push in pushed if push} == {"dead"}
    records.clock.move(61)
    await purged(store)
    # The pushes went with the record; what is to be told of it did not.
    assert rows_of(records, "deliveries") == 2
    due = await outbox.claim([route.key for route in await outbox.due((), None)])
    assert [parcel.event for parcel in due] == ["job.succeeded", "job.expired"]


def rows_of(records: JobBackend, table: str) -> int:
    [[count]] = records.select(f"SELECT count(*) FROM {table}")
    return int(count)
