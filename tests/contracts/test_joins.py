"""What a store promises of jobs that join their items, and of items that tell of themselves."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import QueueFull, Refusal
from app.model.blobs import Blob, NamedBlob
from app.model.chunks import Claim, Done, Failed
from app.model.jobs import Counts, Job, JobStatus, NewItem, NewJob, Progress, Step
from tests.contracts.backends import JobBackend
from tests.contracts.records import Store
from tests.contracts.test_job_store import BROKEN, blob, done, items_of, job_now, upload

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_item_a_chunk")]

PACK = Step("archive", {"format": "zip"})
AFTER = Step("compress", {})
SHRINK = Step("image", {"width": 10})


def joining(*items: NewItem, before: tuple[Step, ...] = (SHRINK,), **others: Any) -> NewJob:
    return NewJob(
        client="shop",
        steps=(*before, PACK, AFTER),
        items=items,
        retention_s=60,
        join_at=len(before),
        **others,
    )


async def submitted(store: Store, new: NewJob) -> Job:
    return (await store.submit(new)).job


async def claimed(store: Store) -> list[Claim]:
    return [*await store.claim("io", 10), *await store.claim("cpu", 10)]


def named(*texts: str) -> tuple[NamedBlob, ...]:
    return tuple(NamedBlob(blob(text), f"{text}.out") for text in texts)


async def test_the_join_waits_for_all_items_and_gets_their_results_in_input_order(
    store: Store,
) -> None:
    job = await submitted(store, joining(upload("a"), upload("b")))
    assert job.counts == Counts(queued=3)
    first, second = await claimed(store)
    assert (first.steps, second.steps) == ((SHRINK,), (SHRINK,))
    # Ended in the other order, one with two results.
    assert await store.finish(second, done("y"))
    assert await claimed(store) == []
    assert await store.finish(first, done("x1", "x2"))
    [join] = await claimed(store)
    assert (join.index, join.steps, join.url) == (2, (PACK, AFTER), None)
    assert join.inputs == named("x1", "x2", "y")
    assert await store.finish(join, done("packed"))
    ended = await job_now(store, job)
    assert (ended.status, ended.join_at) == (JobStatus.SUCCEEDED, 1)
    assert [item.joins for item in await items_of(store, job)] == [False, False, True]


async def test_a_failed_item_is_left_out_of_the_join(store: Store) -> None:
    job = await submitted(store, joining(upload("a"), upload("b")))
    first, second = await claimed(store)
    await store.finish(first, Failed(BROKEN))
    await store.finish(second, done("y"))
    [join] = await claimed(store)
    assert join.inputs == named("y")
    await store.finish(join, done("packed"))
    ended = await job_now(store, job)
    assert ended.status is JobStatus.PARTIAL


async def test_a_join_of_nothing_is_still_run_so_that_it_can_say_so(store: Store) -> None:
    await submitted(store, joining(upload("a")))
    [only] = await claimed(store)
    await store.finish(only, Failed(BROKEN))
    [join] = await claimed(store)
    assert join.inputs == ()


async def test_files_with_nothing_before_the_join_are_there_at_once(store: Store) -> None:
    kept = await store.add_file("shop", NamedBlob(blob("kept"), "kept.txt"), 60)
    job = await submitted(
        store, joining(upload("a"), NewItem(file_id=kept.id), upload("c"), before=())
    )
    assert job.counts == Counts(queued=1, succeeded=3)
    assert job.started_at is not None
    [join] = await claimed(store)
    assert [given.name for given in join.inputs] == ["a.txt", "kept.txt", "c.txt"]
    assert [given.blob for given in join.inputs] == [blob("a"), blob("kept"), blob("c")]
    told = await store.items_since(job.id, (-1, -1))
    assert [item.index for item in told] == [0, 1, 2]


async def test_files_keep_their_places_among_urls(store: Store) -> None:
    fetch = Step("fetch", {})
    job = await submitted(
        store, joining(upload("a"), NewItem(url="http://o/b"), upload("c"), before=(fetch,))
    )
    assert job.counts == Counts(queued=2, succeeded=2)
    [fetching] = await claimed(store)
    assert (fetching.url, fetching.fetch, fetching.steps) == ("http://o/b", {}, ())
    await store.finish(fetching, done("b"))
    [join] = await claimed(store)
    assert [given.name for given in join.inputs] == ["a.txt", "b.out", "c.txt"]


async def test_a_join_that_was_interrupted_is_claimed_again(store: Store) -> None:
    await submitted(store, joining(upload("a"), before=()))
    [join] = await claimed(store)
    assert await store.recover() == 1
    [again] = await claimed(store)
    assert (again.index, again.attempt, again.inputs) == (1, 2, join.inputs)
    await store.release([again])
    assert len(await claimed(store)) == 1


async def test_an_item_that_was_interrupted_still_holds_the_join_back(store: Store) -> None:
    await submitted(store, joining(upload("a"), upload("b")))
    first, second = await claimed(store)
    await store.finish(first, done("x"))
    await store.release([second])
    [again] = await claimed(store)
    assert again.index == 1
    await store.finish(again, done("y"))
    [join] = await claimed(store)
    assert join.index == 2


async def test_cancel_takes_the_waiting_join_along(store: Store) -> None:
    job = await submitted(store, joining(upload("a")))
    [claim] = await claimed(store)
    await store.cancel(job.id)
    assert not await store.finish(claim, done("x"))
    assert await claimed(store) == []
    ended = await job_now(store, job)
    assert (ended.status, ended.counts) == (JobStatus.CANCELED, Counts(canceled=2))


async def test_only_what_waits_counts_as_backlog(records: JobBackend) -> None:
    store = await records.open(max_unfinished_items=2)
    job = await submitted(store, joining(*(upload(str(n)) for n in range(200)), before=()))
    assert job.counts == Counts(queued=1, succeeded=200)
    with pytest.raises(QueueFull):
        await store.submit(joining(upload("a")))


async def test_progress_is_shown_while_an_item_runs(store: Store) -> None:
    job = await submitted(store, joining(upload("a")))
    [claim] = await claimed(store)
    await store.began([(claim, 0.0)])
    before = await job_now(store, job)
    await store.tell([(claim, Progress(3, 10))])
    after = await store.changed(job.id, before.seq, 1)
    assert after is not None
    assert after.seq > before.seq
    assert (await items_of(store, job))[0].progress == Progress(3, 10)
    await store.tell([(claim, Progress(10, 10))])
    assert (await items_of(store, job))[0].progress == Progress(10, 10)
    await store.finish(claim, done("x"))
    assert (await items_of(store, job))[0].progress is None


async def test_progress_of_an_earlier_attempt_is_forgotten(store: Store) -> None:
    job = await submitted(store, joining(upload("a")))
    [claim] = await claimed(store)
    await store.began([(claim, 0.0)])
    await store.tell([(claim, Progress(3, 10))])
    assert (await items_of(store, job))[0].progress == Progress(3, 10)
    await store.release([claim])
    [again] = await claimed(store)
    await store.began([(again, 0.0)])
    assert (await items_of(store, job))[0].progress is None
    await store.tell([(claim, Progress(4, 10))])  # a late ghost
    assert (await items_of(store, job))[0].progress is None


async def test_parts_that_failed_alone_are_told_with_the_item(store: Store) -> None:
    job = await submitted(store, joining(upload("a")))
    [claim] = await claimed(store)
    refused = (Refusal("bin/é", "archive.link", "It is a link."),)
    await store.finish(claim, Done((NamedBlob(Blob("k", 1, "x/y", "d" * 64), "b"),), {}, refused))
    item = (await items_of(store, job))[0]
    assert item.refused == refused
    assert len(item.results) == 1
