"""What a store promises of jobs with very many items: whole or not there, and never in the way."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import IdempotencyMismatch, QueueFull
from app.model.chunks import Failed, Submitted
from app.model.jobs import Counts, Job, JobStatus, NewItem, NewJob, Step
from app.model.marks import Marks
from app.records import bites
from tests.contracts.backends import JobBackend
from tests.contracts.records import Store
from tests.contracts.test_batches import FETCH, FETCHED, PACK, claimed, statuses, url
from tests.contracts.test_job_store import BROKEN, done, items_of, job_now

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_item_a_chunk")]


@pytest.fixture(autouse=True)
def small_bites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bites, "BITE_ROWS", 10)


def empty(**others: Any) -> NewJob:
    given = {"client": "shop", "steps": (FETCH,), "items": (), "retention_s": 60, "pace": 4}
    return NewJob(**given | others)


async def streamed(store: Store, /, *items: NewItem, **others: Any) -> Submitted:
    new = empty(**others)
    async with store.receiving(new.client, dedupe=new.dedupe) as incoming:
        for start in range(0, len(items), 7):
            await incoming.add(items[start : start + 7])
        return await incoming.submit(new)


async def ended(store: Store, job: Job, n: int) -> None:
    """Run so many items to their ends."""
    left = n
    while left:
        for claim in await claimed(store, left):
            await store.finish(claim, done(str(claim.index)))
            left -= 1


def rows_left(records: JobBackend) -> dict[str, int]:
    tables = ("jobs", "items", "files")
    return {t: records.select(f"SELECT count(*) FROM {t}")[0][0] for t in tables}


async def test_a_job_comes_in_parts_and_is_like_any_other_then(store: Store) -> None:
    made = await streamed(
        store,
        *(url(n, headers={"A": str(n)}, name=f"{n}.txt", sha256="ab", max_bytes=n + 1)
          for n in range(30)),
        marks=Marks(tag="t", metadata={"m": 1}),
    )  # fmt: skip
    job = made.job
    assert (made.created, job.counts, job.status) == (True, Counts(queued=30), JobStatus.QUEUED)
    assert (job.marks, job.steps) == (Marks(tag="t", metadata={"m": 1}), (FETCH,))
    items = await items_of(store, job)
    assert [(item.index, item.url) for item in items] == [(n, f"http://o/{n}") for n in range(30)]
    first = (await claimed(store, 1))[0]
    assert (first.url, first.headers, first.name) == ("http://o/0", {"A": "0"}, "0.txt")
    assert (first.sha256, first.max_bytes, first.fetch, first.steps) == ("ab", 1, {}, ())
    await store.finish(first, done("x"))
    await ended(store, job, 29)
    assert (await job_now(store, job)).status is JobStatus.SUCCEEDED


async def test_only_so_many_are_in_the_queue(store: Store) -> None:
    await streamed(store, *map(url, range(30)))
    assert [claim.index for claim in await claimed(store)] == [0, 1, 2, 3]


async def test_nobody_sees_or_runs_a_job_before_it_is_whole(records: JobBackend) -> None:
    store = await records.open()
    async with store.receiving("shop", dedupe=False) as incoming:
        await incoming.add([url(n) for n in range(20)])
        wakes = records.wakes
        assert await claimed(store) == []
        assert await store.list_jobs("shop") == ([], None)
        # Not even the janitor.
        await store.purge()
        made = await incoming.submit(empty())
    assert records.wakes > wakes
    assert (await store.list_jobs("shop"))[0] == [made.job]
    assert len(await items_of(store, made.job)) == 20


async def test_what_is_not_submitted_leaves_nothing(records: JobBackend) -> None:
    store = await records.open()
    async with store.receiving("shop", dedupe=True) as incoming:
        await incoming.add([url(n) for n in range(55)])
    while await store.purge():
        pass
    assert rows_left(records) == {"jobs": 0, "items": 0, "files": 0}
    assert (await store.list_jobs("shop"))[0] == []


async def test_a_crash_in_the_middle_leaves_nothing(records: JobBackend) -> None:
    store = await records.open()
    async with store.receiving("shop", dedupe=False) as incoming:
        await incoming.add([url(n) for n in range(55)])
        await records.crash()
        after = await records.open(max_unfinished_items=1)
        assert await after.recover() == 0
        assert await claimed(after) == []
        while await after.purge():
            pass
        assert rows_left(records)["items"] == 0
        after.check_backlog()


async def test_a_full_backlog_refuses_while_it_is_received(records: JobBackend) -> None:
    store = await records.open(max_unfinished_items=10)
    with pytest.raises(QueueFull):
        await streamed(store, *map(url, range(11)))
    made = await streamed(store, *map(url, range(10)))
    with pytest.raises(QueueFull):
        store.check_backlog()
    await ended(store, made.job, 10)
    store.check_backlog(10)


async def test_a_key_brings_back_the_job_and_drops_what_came_again(records: JobBackend) -> None:
    store = await records.open()
    asked = {"idempotency_key": "k", "fingerprint": "f"}
    first = await streamed(store, url(1), url(2), **asked)
    again = await streamed(store, url(1), url(2), **asked)
    assert (again.created, again.job) == (False, first.job)
    with pytest.raises(IdempotencyMismatch):
        await streamed(store, url(1), idempotency_key="k", fingerprint="other")
    while await store.purge():
        pass
    assert rows_left(records)["items"] == 2


async def test_twins_are_found_across_parts(store: Store) -> None:
    made = await streamed(store, *(url(n % 10) for n in range(30)), pace=30, dedupe=True)
    firsts = await claimed(store)
    assert [claim.index for claim in firsts] == list(range(10))
    for claim in firsts[1:]:
        await store.finish(claim, FETCHED)
    await store.finish(firsts[0], Failed(BROKEN))
    assert (await job_now(store, made.job)).counts == Counts(succeeded=27, failed=3)


async def test_a_streamed_job_can_be_joined(store: Store) -> None:
    made = await streamed(store, *map(url, range(12)), steps=(FETCH, PACK), join_at=1)
    assert made.job.counts == Counts(queued=13)
    await ended(store, made.job, 12)
    [join] = await claimed(store)
    assert (join.index, len(join.inputs), join.steps) == (12, 12, (PACK,))


async def test_cancelling_a_large_job_ends_all_of_it(records: JobBackend) -> None:
    store = await records.open(max_unfinished_items=40)
    made = await streamed(store, *map(url, range(35)), steps=(FETCH, PACK), join_at=1)
    claims = await claimed(store)
    await store.finish(claims[0], done("x"))
    running = await store.cancel(made.job.id)
    assert sorted(running) == sorted(claim.item_key for claim in claims[1:])
    now = await store.ended(made.job.id, 5)
    assert now is not None
    assert (now.status, now.counts) == (JobStatus.CANCELED, Counts(succeeded=1, canceled=35))
    assert not await store.finish(claims[1], done("late"))
    assert await claimed(store) == []
    store.check_backlog(40)


async def test_a_cancel_that_was_cut_short_is_gone_on_with(records: JobBackend) -> None:
    store = await records.open()
    made = await streamed(store, *map(url, range(35)))
    [first, *_] = await claimed(store)
    # The first commit is that of the first bite, and the crash comes right after it.
    await store.cancel(made.job.id)
    await records.crash()
    assert not await store.finish(first, done("late"))
    store = await records.open(max_unfinished_items=31)
    assert await store.recover() == 0
    while await store.purge():
        pass
    now = await job_now(store, made.job)
    assert (now.status, now.counts) == (JobStatus.CANCELED, Counts(canceled=35))
    store.check_backlog(31)


async def test_a_large_job_that_stops_ends_all_of_it(store: Store) -> None:
    made = await streamed(store, *map(url, range(35)), stops=True)
    first, second, *_ = await claimed(store)
    await store.finish(first, Failed(BROKEN))
    assert not await store.finish(second, done("late"))
    now = await store.ended(made.job.id, 5)
    assert now is not None
    assert (now.status, now.counts) == (JobStatus.FAILED, Counts(failed=1, canceled=34))


async def test_a_canceled_large_job_can_be_retried_at_its_pace(store: Store) -> None:
    made = await streamed(store, *map(url, range(35)), stops=True)
    [first, *_] = await claimed(store)
    await store.finish(first, Failed(BROKEN))
    await store.ended(made.job.id, 5)
    await store.retry(made.job.id)
    assert len(await claimed(store)) == 4


async def test_a_deleted_large_job_is_gone_at_once_and_wholly(records: JobBackend) -> None:
    store = await records.open(max_unfinished_items=40)
    made = await streamed(store, *map(url, range(35)))
    claims = await claimed(store)
    await store.finish(claims[0], done("x", "y"))
    running = await store.delete_job(made.job.id)
    assert set(running) >= {claim.item_key for claim in claims[1:]}
    assert await store.get_job(made.job.id) is None
    assert not await store.finish(claims[1], done("late"))
    assert await claimed(store) == []
    store.check_backlog(40)
    while await store.purge():
        pass
    assert rows_left(records) == {"jobs": 0, "items": 0, "files": 0}


async def test_a_large_job_expires_and_goes_in_bites(records: JobBackend) -> None:
    store = await records.open()
    made = await streamed(store, *(url(n, headers={"A": "b"}) for n in range(35)))
    await ended(store, made.job, 35)
    records.clock.move(61)
    bites = 1
    while await store.purge():
        bites += 1
    assert bites > 6
    assert (await job_now(store, made.job)).status is JobStatus.EXPIRED
    assert rows_left(records) == {"jobs": 1, "items": 35, "files": 0}
    records.clock.move(61)
    while await store.purge():
        pass
    assert rows_left(records) == {"jobs": 0, "items": 0, "files": 0}


async def test_steps_and_statuses_survive_a_restart(records: JobBackend) -> None:
    store = await records.open()
    made = await streamed(store, *map(url, range(12)), steps=(FETCH, Step("compress", {})))
    await ended(store, made.job, 5)
    await store.close()
    store = await records.open()
    assert (await statuses(store, made.job)).count("succeeded") == 5
    await ended(store, made.job, 7)
    assert (await job_now(store, made.job)).status is JobStatus.SUCCEEDED
