"""What a store promises of batches of URLs: pace, twins, the first failure, running again."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import Conflict, Expired, QueueFull, Refusal
from app.model.blobs import NamedBlob
from app.model.chunks import MAX_INTERRUPTIONS, Claim, Done, Failed
from app.model.jobs import Counts, ItemStatus, Job, JobStatus, NewItem, NewJob, Step, Version
from app.records import twins
from app.records.ending import VERSION_AGE
from tests.contracts.backends import JobBackend
from tests.contracts.records import Store
from tests.contracts.test_job_store import (
    BROKEN,
    blob,
    done,
    items_of,
    job_now,
    settle,
    upload,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_item_a_chunk")]

FETCH = Step("fetch", {})
PACK = Step("archive", {"format": "zip"})
FETCHED = Done(
    (NamedBlob(blob("x"), "x"),),
    {
        "fetch": {
            "sha256": blob("x").sha256,
            "name": "x",
            "media_type": "text/plain",
            "claimed_media_type": None,
        }
    },
)


def url(number: int, **others: Any) -> NewItem:
    return NewItem(url=f"http://o/{number}", **others)


def batch(*items: NewItem, **others: Any) -> NewJob:
    return NewJob(
        **{"client": "shop", "steps": (FETCH,), "items": items, "retention_s": 60} | others
    )


async def submitted(store: Store, /, *items: NewItem, **others: Any) -> Job:
    return (await store.submit(batch(*items, **others))).job


async def claimed(store: Store, limit: int = 100) -> list[Claim]:
    return [*await store.claim("io", limit), *await store.claim("cpu", limit)]


async def begun(store: Store) -> list[Claim]:
    claims = await claimed(store)
    await store.began([(claim, 0.0) for claim in claims])
    return claims


async def statuses(store: Store, job: Job) -> list[str]:
    return [item.status.value for item in await items_of(store, job)]


# -- one url's own terms -----------------------------------------------------------------------


async def test_a_claim_has_what_was_asked_of_its_url(store: Store) -> None:
    await submitted(store, url(1, sha256="ab", max_bytes=7), url(2))
    first, second = await claimed(store)
    assert (first.sha256, first.max_bytes) == ("ab", 7)
    assert (second.sha256, second.max_bytes) == (None, None)


# -- pace --------------------------------------------------------------------------------------


async def test_a_paced_batch_is_claimed_so_many_at_a_time(store: Store) -> None:
    job = await submitted(store, *map(url, range(5)), pace=2)
    assert job.counts == Counts(queued=5)
    under_way = await claimed(store)
    order = [claim.index for claim in under_way]
    while under_way:
        assert await claimed(store) == []
        assert await store.finish(under_way.pop(0), done("x"))
        more = await claimed(store)
        under_way += more
        order += [claim.index for claim in more]
        assert len(under_way) <= 2
    assert order == [0, 1, 2, 3, 4]
    assert (await job_now(store, job)).status is JobStatus.SUCCEEDED


async def test_what_becomes_claimable_is_said(records: JobBackend) -> None:
    store = await records.open()
    job = await submitted(store, url(1), url(2), pace=1)
    [claim] = await claimed(store)
    wakes = records.wakes
    await store.finish(claim, FETCHED)
    assert records.wakes > wakes
    for claim in await claimed(store):
        await store.finish(claim, Failed(BROKEN))
    wakes = records.wakes
    await store.retry(job.id)
    assert records.wakes > wakes


async def test_pace_holds_through_release_failure_and_restart(records: JobBackend) -> None:
    store = await records.open()
    await submitted(store, *map(url, range(6)), pace=2)
    first, second = await claimed(store)
    await store.release([first])
    [again] = await claimed(store)
    assert again.index == 0
    await store.finish(second, Failed(BROKEN))
    assert [claim.index for claim in await claimed(store)] == [2]
    await store.close()
    store = await records.open()
    await store.recover()
    assert [claim.index for claim in await claimed(store)] == [0, 2]


async def test_files_of_a_paced_batch_do_not_wait(store: Store) -> None:
    await submitted(store, *map(url, range(3)), upload("a"), upload("b"), pace=1)
    claims = await claimed(store)
    assert [claim.index for claim in claims] == [0, 3, 4]
    await store.finish(claims[1], done("x"))
    assert await claimed(store) == []


async def test_a_paced_batch_is_joined_when_all_of_it_is_over(store: Store) -> None:
    await submitted(store, *map(url, range(3)), pace=1, steps=(FETCH, PACK), join_at=1)
    for index in range(3):
        [claim] = await claimed(store)
        assert claim.index == index
        await store.finish(claim, done(str(index)))
    [join] = await claimed(store)
    assert len(join.inputs) == 3


async def test_cancel_takes_what_waits_along(store: Store) -> None:
    job = await submitted(store, *map(url, range(5)), url(1), pace=1, dedupe=True)
    await claimed(store)
    await store.cancel(job.id)
    assert (await job_now(store, job)).counts == Counts(canceled=6)
    assert await claimed(store) == []


# -- twins -------------------------------------------------------------------------------------


async def test_a_twin_waits_for_the_first_and_is_told_what_it_found(store: Store) -> None:
    job = await submitted(store, url(1), url(2), url(1), url(1, name="mine"), dedupe=True)
    first, other = await claimed(store)
    assert (first.index, other.index) == (0, 1)
    await store.finish(first, FETCHED)
    assert await claimed(store) == []
    assert await statuses(store, job) == ["succeeded", "queued", "succeeded", "succeeded"]
    one, _, two, three = await items_of(store, job)
    assert [item.facts["fetch"].get("deduped") for item in (one, two, three)] == [None, True, True]
    assert [item.facts["fetch"]["sha256"] for item in (two, three)] == [blob("x").sha256] * 2
    results = [result for item in (one, two, three) for result in item.results]
    assert [(result.name, result.blob) for result in results] == [
        ("x", blob("x")),
        ("x", blob("x")),
        ("mine", blob("x")),
    ]
    assert len({result.id for result in results}) == 3
    await store.finish(other, FETCHED)
    ended = await job_now(store, job)
    assert (ended.status, ended.counts) == (JobStatus.SUCCEEDED, Counts(succeeded=4))


async def test_a_twin_has_all_that_came_of_the_first(store: Store) -> None:
    steps = (FETCH, Step("compress", {}))
    job = await submitted(store, url(1), url(1), url(2), dedupe=True, steps=steps)
    first, other = await claimed(store)
    results = (NamedBlob(blob("a"), "a.gz"), NamedBlob(blob("b"), "b.gz"))
    refused = (Refusal("part", "archive.link", "It is a link."),)
    await store.finish(first, Done(results, FETCHED.facts, refused))
    _, twin, _ = await items_of(store, job)
    assert [(file.name, file.blob) for file in twin.results] == [
        ("a.gz", blob("a")),
        ("b.gz", blob("b")),
    ]
    assert twin.refused == refused
    # Its bytes stay as long as any of the two.
    await store.delete_file((await items_of(store, job))[0].results[0].id)
    assert await store.unreferenced([blob("a").key]) == []
    await store.finish(other, Failed(BROKEN))
    await store.delete_job(job.id)
    assert await store.unreferenced([blob("a").key]) == [blob("a").key]


async def test_very_many_twins_follow_bite_by_bite(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bite in ("AT_ONCE", "BITE_ITEMS"):
        monkeypatch.setattr(twins, bite, 10)
    job = await submitted(store, *(url(1) for _ in range(36)), url(2), dedupe=True)
    first, other = await claimed(store)
    await store.finish(first, FETCHED)
    await store.finish(other, FETCHED)
    ended = await store.ended(job.id, 5)
    assert ended is not None
    assert ended.counts == Counts(succeeded=37)
    assert len(await store.items_since(job.id, (0, 0))) == 37


@pytest.mark.parametrize("end", ["cancel", "retry"])
async def test_twins_that_are_to_follow_may_be_canceled_or_retried_first(
    records: JobBackend, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await records.open()
    for bite in ("AT_ONCE", "BITE_ITEMS"):
        monkeypatch.setattr(twins, bite, 10)
    monkeypatch.setattr(store, "bite", settle)
    job = await submitted(store, *(url(1) for _ in range(21)), dedupe=True)
    [first] = await claimed(store)
    await store.finish(first, Failed(BROKEN))
    if end == "retry":
        while (await job_now(store, job)).counts.queued:
            await store.purge()
        await store.retry(job.id)
        while await store.purge():
            pass
        assert (await job_now(store, job)).counts == Counts(queued=21)
        return
    await store.cancel(job.id)
    while await store.purge():
        pass
    assert (await job_now(store, job)).counts == Counts(failed=11, canceled=10)


async def test_twins_fail_with_the_first(store: Store) -> None:
    job = await submitted(store, url(1), url(1), url(2), dedupe=True)
    first, other = await begun(store)
    before = await job_now(store, job)
    await store.finish(first, Failed(BROKEN, {"fetch": {"tries": 3}}))
    assert await statuses(store, job) == ["failed", "failed", "running"]
    items = await items_of(store, job)
    assert items[1].problem == BROKEN
    assert items[1].facts == {"fetch": {"tries": 3}}
    assert (await job_now(store, job)).seq > before.seq
    told = await store.items_since(job.id, (before.seq, 99))
    assert [item.index for item in told] == [0, 1]
    await store.finish(other, done("y"))
    assert (await job_now(store, job)).counts == Counts(succeeded=1, failed=2)


async def test_the_last_items_of_a_job_may_be_twins_that_fail(store: Store) -> None:
    job = await submitted(store, url(1), url(1), dedupe=True)
    [first] = await claimed(store)
    await store.finish(first, Failed(BROKEN))
    assert (await job_now(store, job)).status is JobStatus.FAILED


@pytest.mark.parametrize(
    "other",
    [{"headers": {"A": "2"}}, {"headers": {}}, {"sha256": "ab"}, {"max_bytes": 2}],
)
async def test_urls_that_ask_for_something_else_are_no_twins(
    store: Store, other: dict[str, Any]
) -> None:
    same = {"headers": {"a": "1"}}
    await submitted(store, url(1, **same), url(1, **same | other), dedupe=True)
    assert len(await claimed(store)) == 2


async def test_header_names_are_alike_in_any_case_and_order(store: Store) -> None:
    first = url(1, headers={"A": "1", "b": "2"})
    await submitted(store, first, url(1, headers={"B": "2", "a": "1"}), dedupe=True)
    assert len(await claimed(store)) == 1


async def test_urls_are_no_twins_of_another_job_or_unasked(store: Store) -> None:
    await submitted(store, url(1), url(1))
    await submitted(store, url(1), dedupe=True)
    await submitted(store, url(1), dedupe=True)
    assert len(await claimed(store)) == 4


async def test_twins_keep_to_the_pace(store: Store) -> None:
    await submitted(store, url(1), url(1), url(1), url(2), pace=1, dedupe=True)
    for index in (0, 3):
        [claim] = await claimed(store)
        assert claim.index == index
        await store.finish(claim, FETCHED)
    assert await claimed(store) == []


# -- the first failure -------------------------------------------------------------------------


async def test_the_first_failure_cancels_what_is_unfinished(records: JobBackend) -> None:
    store = await records.open()
    job = await submitted(store, *map(url, range(5)), stops=True, pace=3)
    claims = await claimed(store)
    await store.finish(claims[0], done("x"))
    await store.finish(claims[1], Failed(BROKEN))
    ended = await job_now(store, job)
    assert (ended.status, ended.status.done) == (JobStatus.FAILED, True)
    assert ended.finished_at is not None
    assert ended.counts == Counts(succeeded=1, failed=1, canceled=3)
    assert not await store.finish(claims[2], done("late"))
    assert store.canceled == [claims[2].item_key]
    assert await claimed(store) == []


async def test_a_batch_that_stops_and_has_no_failure_is_like_any_other(store: Store) -> None:
    job = await submitted(store, url(1), url(2), stops=True)
    first, _ = await claimed(store)
    await store.finish(first, done("x"))
    assert (await job_now(store, job)).status is JobStatus.RUNNING
    await store.cancel(job.id)
    assert (await job_now(store, job)).status is JobStatus.CANCELED


# -- running again -----------------------------------------------------------------------------


async def test_retry_runs_the_failed_items_and_no_others(store: Store) -> None:
    job = await submitted(store, url(1), url(2), upload("c"))
    first, second, third = await claimed(store)
    await store.finish(first, done("kept"))
    await store.finish(second, Failed(BROKEN, {"fetch": {}}))
    await store.finish(third, Failed(BROKEN))
    ended = await job_now(store, job)
    again = await store.retry(job.id)
    assert again is not None
    assert again.seq > ended.seq
    assert (again.status, again.counts) == (JobStatus.RUNNING, Counts(queued=2, succeeded=1))
    assert (again.finished_at, again.expires_at) == (None, None)
    items = await items_of(store, job)
    assert [item.status.value for item in items] == ["succeeded", "queued", "queued"]
    assert (items[1].problem, items[1].facts, items[1].finished_at) == (None, {}, None)
    retried = await claimed(store)
    assert [(claim.index, claim.attempt) for claim in retried] == [(1, 2), (2, 2)]
    assert (retried[0].url, retried[1].inputs) == ("http://o/2", third.inputs)
    for claim in retried:
        await store.finish(claim, done("better"))
    ended = await job_now(store, job)
    assert (ended.status, ended.counts) == (JobStatus.SUCCEEDED, Counts(succeeded=3))
    assert ended.expires_at is not None


async def test_a_job_of_which_all_failed_is_queued_again(store: Store) -> None:
    job = await submitted(store, url(1))
    [claim] = await claimed(store)
    await store.finish(claim, Failed(BROKEN))
    again = await store.retry(job.id)
    assert again is not None
    assert again.status is JobStatus.QUEUED


async def test_a_late_ghost_of_before_the_retry_changes_nothing(store: Store) -> None:
    job = await submitted(store, url(1))
    [ghost] = await claimed(store)
    await store.finish(ghost, Failed(BROKEN))
    await store.retry(job.id)
    assert not await store.finish(ghost, done("late"))
    await begun(store)
    assert not await store.finish(ghost, done("late"))
    assert await statuses(store, job) == ["running"]


async def test_retry_says_when_there_is_nothing_to_do(store: Store) -> None:
    job = await submitted(store, url(1), url(2))
    with pytest.raises(Conflict):
        await store.retry(job.id)
    for claim in await claimed(store):
        with pytest.raises(Conflict):
            await store.retry(job.id)
        await store.finish(claim, done("x"))
    before = await job_now(store, job)
    with pytest.raises(Conflict):
        await store.retry(job.id)
    assert await job_now(store, job) == before
    assert await store.retry("job_none") is None


async def test_what_a_client_canceled_stays_so(store: Store) -> None:
    job = await submitted(store, url(1), url(2))
    first, _ = await claimed(store)
    await store.finish(first, Failed(BROKEN))
    await store.cancel(job.id)
    await store.retry(job.id)
    assert await statuses(store, job) == ["queued", "canceled"]


async def test_an_expired_job_cannot_be_retried(records: JobBackend, store: Store) -> None:
    job = await submitted(store, url(1))
    [claim] = await claimed(store)
    await store.finish(claim, Failed(BROKEN))
    records.clock.move(61)
    await store.purge()
    with pytest.raises(Expired):
        await store.retry(job.id)


async def test_a_job_that_runs_again_does_not_expire(records: JobBackend, store: Store) -> None:
    job = await submitted(store, url(1))
    [claim] = await claimed(store)
    await store.finish(claim, Failed(BROKEN))
    await store.retry(job.id)
    records.clock.move(1000)
    await store.purge()
    assert (await job_now(store, job)).status is JobStatus.QUEUED


async def test_retried_items_count_as_backlog(records: JobBackend) -> None:
    store = await records.open(max_unfinished_items=2)
    job = await submitted(store, url(1), url(2))
    for claim in await claimed(store):
        await store.finish(claim, Failed(BROKEN))
    other = await submitted(store, url(3))
    with pytest.raises(QueueFull):
        await store.retry(job.id)
    await store.cancel(other.id)
    await store.retry(job.id)
    with pytest.raises(QueueFull):
        await submitted(store, url(4))
    for claim in await claimed(store):
        await store.finish(claim, done("x"))
    await submitted(store, url(4), url(5))


async def test_what_joins_the_items_does_so_again(store: Store) -> None:
    job = await submitted(store, url(1), url(2), steps=(FETCH, PACK), join_at=1)
    first, second = await claimed(store)
    await store.finish(first, done("a"))
    await store.finish(second, Failed(BROKEN))
    [join] = await claimed(store)
    await store.finish(join, done("part"))
    old = (await items_of(store, job))[2].results[0]

    await store.retry(job.id)
    assert await statuses(store, job) == ["succeeded", "queued", "queued"]
    assert await store.get_file(old.id) is None
    [again] = await claimed(store)
    await store.finish(again, done("b"))
    [join] = await claimed(store)
    assert [given.name for given in join.inputs] == ["a.out", "b.out"]
    assert join.attempt == 2
    await store.finish(join, done("whole"))
    ended = await job_now(store, job)
    assert (ended.status, ended.counts) == (JobStatus.SUCCEEDED, Counts(succeeded=3))
    assert [file.name for file in (await items_of(store, job))[2].results] == ["whole.out"]


async def test_a_join_that_failed_alone_is_run_alone(store: Store) -> None:
    job = await submitted(store, url(1), steps=(FETCH, PACK), join_at=1)
    [claim] = await claimed(store)
    await store.finish(claim, done("a"))
    [join] = await claimed(store)
    await store.finish(join, Failed(BROKEN))
    again = await store.retry(job.id)
    assert again is not None
    assert again.counts == Counts(queued=1, succeeded=1)
    [join] = await claimed(store)
    assert (join.index, len(join.inputs)) == (1, 1)
    await store.finish(join, done("whole"))
    assert (await job_now(store, job)).status is JobStatus.SUCCEEDED


async def test_retry_after_a_stop_runs_what_the_failure_canceled(store: Store) -> None:
    job = await submitted(
        store, *map(url, range(4)), url(3), pace=1, stops=True, dedupe=True,
        steps=(FETCH, PACK), join_at=1,
    )  # fmt: skip
    [claim] = await claimed(store)
    await store.finish(claim, done("0"))
    [claim] = await claimed(store)
    await store.finish(claim, Failed(BROKEN))
    assert (await job_now(store, job)).counts == Counts(succeeded=1, failed=1, canceled=4)
    again = await store.retry(job.id)
    assert again is not None
    assert again.counts == Counts(queued=5, succeeded=1)
    for index in (1, 2, 3):
        [claim] = await claimed(store)
        assert claim.index == index
        await store.finish(claim, FETCHED)
    [join] = await claimed(store)
    await store.finish(join, done("all"))
    assert (await job_now(store, job)).counts == Counts(succeeded=6)


async def test_retry_keeps_the_pace_and_the_twins(store: Store) -> None:
    job = await submitted(store, url(1), url(1), url(2), pace=1, dedupe=True)
    for _ in range(2):
        [claim] = await claimed(store)
        await store.finish(claim, Failed(BROKEN))
    assert (await job_now(store, job)).counts == Counts(failed=3)
    await store.retry(job.id)
    for index in (0, 2):
        [claim] = await claimed(store)
        assert claim.index == index
        await store.finish(claim, FETCHED)
    assert (await job_now(store, job)).status is JobStatus.SUCCEEDED


async def test_attempts_before_a_retry_are_no_interruptions(records: JobBackend) -> None:
    store = await records.open()
    job = await submitted(store, url(1))
    for _ in range(MAX_INTERRUPTIONS):
        [claim] = await claimed(store)
        await store.finish(claim, Failed(BROKEN))
        await store.retry(job.id)
    [claim] = await claimed(store)
    assert claim.attempt == MAX_INTERRUPTIONS + 1
    assert await store.recover() == 1
    assert (await items_of(store, job))[0].status is ItemStatus.QUEUED


# -- versions ----------------------------------------------------------------------------------


async def test_a_client_is_told_what_its_url_had_last(store: Store) -> None:
    first = await submitted(store, url(1))
    assert await store.recall(first.id, b"key") is None
    for text in ("old", "new"):
        await store.remember(first.id, Version(b"key", blob(text), {"etag": text}))
    later = await submitted(store, url(1))
    assert await store.recall(later.id, b"key") == Version(b"key", blob("new"), {"etag": "new"})
    assert await store.recall(later.id, b"other") is None
    stranger = await submitted(store, url(1), client="other")
    assert await store.recall(stranger.id, b"key") is None


async def test_versions_are_forgotten_in_the_end(records: JobBackend, store: Store) -> None:
    job = await submitted(store, url(1))
    await store.remember(job.id, Version(b"key", blob("x"), {}))
    records.clock.move(VERSION_AGE.total_seconds() - 1)
    await store.purge()
    assert await store.recall(job.id, b"key") is not None
    records.clock.move(1)
    await store.purge()
    assert await store.recall(job.id, b"key") is None
