"""What the rules of jobs, items and files promise (`app/records`), on every database."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.errors import (
    IdempotencyMismatch,
    InvalidParameter,
    NotFound,
    OperationFailed,
    QueueFull,
    StorageFull,
)
from app.model.blobs import Blob, NamedBlob
from app.model.chunks import MAX_INTERRUPTIONS, Claim, Done, Failed, Outcome
from app.model.jobs import Counts, Item, ItemStatus, Job, JobStatus, NewItem, NewJob, Step
from app.model.marks import Marks
from tests.contracts.backends import JobBackend
from tests.contracts.records import Store

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_item_a_chunk")]

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
BROKEN = OperationFailed("It broke.", culprit="a test").problem()
MANY = 10_000


def blob(text: str) -> Blob:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Blob(f"key-of-{text}", len(text), "text/plain", digest)


def upload(text: str) -> NewItem:
    return NewItem(upload=NamedBlob(blob(text), f"{text}.txt"))


def link(number: int) -> NewItem:
    return NewItem(url=f"http://origin.test/{number}")


def new_job(*items: NewItem, client: str = "shop", **others: Any) -> NewJob:
    return NewJob(
        client=client,
        steps=(Step("compress", {"level": 6}),),
        items=items or (upload("input"),),
        **{"retention_s": DAY_S} | others,
    )


def done(*texts: str) -> Done:
    return Done(tuple(NamedBlob(blob(t), f"{t}.out") for t in texts), {"compress": {"ratio": 2}})


async def submitted(store: Store, *items: NewItem, **others: Any) -> Job:
    return (await store.submit(new_job(*items, **others))).job


async def job_now(store: Store, job: Job) -> Job:
    now = await store.get_job(job.id)
    assert now is not None
    return now


async def items_of(store: Store, job: Job) -> list[Item]:
    items, cursor = await store.list_items(job.id, limit=MANY)
    assert cursor is None
    return items


async def run_all(store: Store, *outcomes: Outcome) -> list[Claim]:
    """Claim one item for each outcome, in the order of the queue, and finish it so."""
    claims = await store.claim("cpu", len(outcomes))
    for claim, outcome in zip(claims, outcomes, strict=True):
        assert await store.finish(claim, outcome)
    return claims


async def begun(store: Store, number: int) -> list[Claim]:
    """Claim so many items, and have workers begin them."""
    claims = await store.claim("cpu", number)
    await store.began([(claim, 0.0) for claim in claims])
    return claims


async def settle() -> None:
    """Let everything run that needs no one else."""
    for _ in range(20):
        await asyncio.sleep(0)


# -- submitting --------------------------------------------------------------------------------


async def test_a_submitted_job_is_still_there_when_the_store_is_opened_again(
    records: JobBackend,
) -> None:
    store = await records.open()
    kept = await store.add_file("shop", NamedBlob(blob("kept"), "kept.txt"), HOUR_S)
    headers = {"Authorization": "secret"}
    items = (upload("a"), NewItem(file_id=kept.id), NewItem(url="http://o/x", headers=headers))
    job = await submitted(store, *items, marks=Marks(tag="spring", metadata={"order": {"id": 7}}))
    await store.close()

    store = await records.open()
    assert await job_now(store, job) == job
    assert (job.status, job.counts, job.marks.tag) == (JobStatus.QUEUED, Counts(queued=3), "spring")
    assert (job.marks.metadata, job.steps) == (
        {"order": {"id": 7}},
        (Step("compress", {"level": 6}),),
    )
    assert (job.created_at, job.expires_at) == (records.clock.now, None)
    first, second, third = await items_of(store, job)
    assert (first.name, first.blob, first.url) == ("a.txt", blob("a"), None)
    assert (second.name, second.blob, second.file_id) == ("kept.txt", blob("kept"), kept.id)
    assert (third.name, third.blob, third.url) == ("", None, "http://o/x")
    assert first.file_id is not None
    stored = await store.get_file(first.file_id)
    assert stored is not None
    assert (stored.blob, stored.client, stored.job_id) == (blob("a"), "shop", job.id)
    [claim] = await store.claim("io", 9)
    assert (claim.url, claim.headers, claim.steps) == ("http://o/x", headers, job.steps)


async def test_what_clients_write_comes_back_as_they_wrote_it(store: Store) -> None:
    name, tag = "Größe \u0000 '; DROP TABLE jobs; -- \U0001f600.txt", "ü"
    metadata = {"a": [1, 2.5, None, True, {"ö": "'\""}]}
    item = NewItem(upload=NamedBlob(blob("x"), name))
    job = await submitted(store, item, marks=Marks(tag=tag, metadata=metadata))
    assert job.marks == Marks(tag=tag, metadata=metadata)
    assert (await items_of(store, job))[0].name == name


async def test_submitting_says_that_items_may_be_claimed(records: JobBackend, store: Store) -> None:
    await submitted(store)
    assert records.wakes == 1


@pytest.mark.parametrize("owner", [None, "another client"])
async def test_a_file_that_is_not_the_clients_refuses_the_job_and_nothing_is_written(
    records: JobBackend, owner: str | None
) -> None:
    store = await records.open(max_unfinished_items=2)
    file_id = "file_unknown"
    if owner is not None:
        file_id = (await store.add_file(owner, NamedBlob(blob("theirs"), "n"), HOUR_S)).id
    with pytest.raises(NotFound, match=file_id):
        await submitted(store, upload("mine"), NewItem(file_id=file_id), idempotency_key="k")
    assert await store.list_jobs("shop") == ([], None)
    assert await store.unreferenced([blob("mine").key]) == [blob("mine").key]
    assert await store.claim("cpu", 9) == []
    # Neither the key nor the room in the backlog is taken.
    made = await store.submit(new_job(upload("a"), upload("b"), idempotency_key="k"))
    assert made.created


def watermarked(*file_ids: str, **others: Any) -> NewJob:
    """A job whose step names further files, somewhere in its parameters."""
    params = {"overlay": {"file_id": file_ids[0]}, "more": [{"file_id": i} for i in file_ids[1:]]}
    job = new_job(**others)
    return replace(job, steps=(Step("image", params),), asides=file_ids)


async def test_files_that_steps_name_become_the_jobs_own(records: JobBackend) -> None:
    store = await records.open()
    marks = [
        await store.add_file("shop", NamedBlob(blob(text), f"{text}.png"), HOUR_S)
        for text in ("one", "two")
    ]
    new = watermarked(*(mark.id for mark in marks), idempotency_key="k", fingerprint="f")
    job = (await store.submit(new)).job
    [step] = job.steps
    own = [step.params["overlay"]["file_id"], step.params["more"][0]["file_id"]]
    assert not {*own} & {mark.id for mark in marks}
    for file_id, mark in zip(own, marks, strict=True):
        file = await store.get_file(file_id)
        assert file is not None
        assert (file.blob, file.name, file.client) == (mark.blob, mark.name, "shop")
        assert (file.job_id, file.expires_at) == (job.id, None)
    assert (await store.submit(new)).job.steps == job.steps

    # Deleted or expired, the client's files are not missed before the job has ended and expired.
    await store.delete_file(marks[0].id)
    records.clock.move(2 * HOUR_S)
    while await store.purge():
        pass
    assert await store.get_file(marks[1].id) is None
    keys = [mark.blob.key for mark in marks]
    assert await store.unreferenced(keys) == []
    [claim] = await store.claim("cpu", 9)
    assert claim.steps == job.steps
    await store.finish(claim, done("result"))
    assert await store.unreferenced(keys) == []
    await store.delete_job(job.id)
    while await store.purge():
        pass
    assert sorted(await store.unreferenced(keys)) == sorted(keys)


@pytest.mark.parametrize("owner", [None, "another client"])
async def test_a_step_cannot_name_a_file_that_is_not_the_clients(
    store: Store, owner: str | None
) -> None:
    file_id = "file_unknown"
    if owner is not None:
        file_id = (await store.add_file(owner, NamedBlob(blob("theirs"), "n"), HOUR_S)).id
    with pytest.raises(InvalidParameter, match=file_id):
        await store.submit(watermarked(file_id))
    async with store.receiving("shop", dedupe=False) as incoming:
        await incoming.add([NewItem(url="http://o/x")])
        with pytest.raises(InvalidParameter, match=file_id):
            await incoming.submit(replace(watermarked(file_id), items=()))
    assert await store.list_jobs("shop") == ([], None)
    assert await store.claim("cpu", 9) == []


async def test_a_job_that_arrives_in_parts_has_its_own_files_too(store: Store) -> None:
    mark = await store.add_file("shop", NamedBlob(blob("mark"), "mark.png"), HOUR_S)
    async with store.receiving("shop", dedupe=False) as incoming:
        await incoming.add([NewItem(url="http://o/x")])
        job = (await incoming.submit(replace(watermarked(mark.id), items=()))).job
    own = await store.get_file(job.steps[0].params["overlay"]["file_id"])
    assert own is not None
    assert (own.job_id, own.blob) == (job.id, mark.blob)


async def test_a_full_backlog_refuses_until_something_ends(records: JobBackend) -> None:
    store = await records.open(max_unfinished_items=3)
    job = await submitted(store, upload("a"), upload("b"))
    store.check_backlog(1)
    with pytest.raises(QueueFull):
        store.check_backlog(2)
    with pytest.raises(QueueFull):
        await submitted(store, upload("c"), upload("d"))
    await submitted(store, upload("e"), client="another")
    with pytest.raises(QueueFull) as refusal:
        await submitted(store)
    assert refusal.value.retryable
    await run_all(store, done())
    await submitted(store)
    await store.cancel(job.id)
    await submitted(store)
    with pytest.raises(QueueFull):
        store.check_backlog()
    for known in (await store.list_jobs("shop"))[0]:
        await store.delete_job(known.id)
    store.check_backlog(2)


async def test_the_backlog_is_known_again_after_a_restart(records: JobBackend) -> None:
    store = await records.open()
    await submitted(store, *(upload(str(n)) for n in range(5)))
    await run_all(store, done(), Failed(BROKEN))
    await store.close()
    store = await records.open(max_unfinished_items=3)
    with pytest.raises(QueueFull):
        store.check_backlog()


async def test_requests_that_arrive_together_do_not_overfill_the_backlog(
    records: JobBackend,
) -> None:
    store = await records.open(max_unfinished_items=5)
    made = await asyncio.gather(*(submitted(store) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(job, Job) for job in made) == 5
    assert sum(isinstance(job, QueueFull) for job in made) == 15


async def test_a_caller_that_goes_away_does_not_undo_its_submission(records: JobBackend) -> None:
    store = await records.open(max_unfinished_items=1)
    call = asyncio.create_task(submitted(store))
    await asyncio.sleep(0)  # on its way
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    while not await store.claim("cpu", 1):
        pass
    with pytest.raises(QueueFull):
        store.check_backlog()


# -- idempotency keys --------------------------------------------------------------------------


async def test_a_key_brings_back_its_job(store: Store) -> None:
    first = await store.submit(new_job(idempotency_key="k", fingerprint="f"))
    again = await store.submit(new_job(upload("ignored"), idempotency_key="k", fingerprint="f"))
    assert (first.created, again.created) == (True, False)
    assert again.job == first.job
    assert await store.unreferenced([blob("ignored").key])
    assert len((await store.list_jobs("shop"))[0]) == 1


async def test_a_key_is_its_clients_own(store: Store) -> None:
    first = await store.submit(new_job(idempotency_key="k"))
    other = await store.submit(new_job(idempotency_key="k", client="another"))
    assert other.created
    assert other.job.id != first.job.id


async def test_a_key_used_with_another_request_is_refused(store: Store) -> None:
    await store.submit(new_job(idempotency_key="k", fingerprint="f"))
    with pytest.raises(IdempotencyMismatch):
        await store.submit(new_job(idempotency_key="k", fingerprint="g"))


async def test_a_key_is_free_again_after_24_hours(records: JobBackend, store: Store) -> None:
    first = await store.submit(new_job(idempotency_key="k", retention_s=10 * DAY_S))
    records.clock.move(DAY_S - 1)
    await store.purge()
    assert not (await store.submit(new_job(idempotency_key="k"))).created
    records.clock.move(1)
    await store.purge()
    assert (await store.submit(new_job(idempotency_key="k"))).created
    assert await store.get_job(first.job.id)


async def test_a_key_is_free_again_when_its_job_is_deleted(store: Store) -> None:
    first = await store.submit(new_job(idempotency_key="k", fingerprint="f"))
    await store.delete_job(first.job.id)
    again = await store.submit(new_job(idempotency_key="k", fingerprint="other"))
    assert again.created
    assert not (await store.submit(new_job(idempotency_key="k", fingerprint="other"))).created


async def test_twenty_requests_with_one_key_at_once_make_one_job(records: JobBackend) -> None:
    store = await records.open(max_unfinished_items=20)
    made = await asyncio.gather(*(store.submit(new_job(idempotency_key="k")) for _ in range(20)))
    assert sum(one.created for one in made) == 1
    assert len({one.job.id for one in made}) == 1
    store.check_backlog(19)


# -- claiming ----------------------------------------------------------------------------------


async def test_items_are_claimed_in_the_order_in_which_they_were_submitted(
    store: Store,
) -> None:
    job = await submitted(store, *(upload(str(n)) for n in range(5)))
    claims = [*await store.claim("cpu", 2), *await store.claim("cpu", 9)]
    assert [claim.index for claim in claims] == [0, 1, 2, 3, 4]
    assert {claim.job_id for claim in claims} == {job.id}
    assert {claim.attempt for claim in claims} == {1}
    assert await store.claim("cpu", 9) == []


@pytest.mark.parametrize("as_one_job", [True, False])
async def test_a_client_does_not_wait_behind_the_600_items_of_another(
    store: Store, *, as_one_job: bool
) -> None:
    many = [upload(str(n)) for n in range(600)]
    if as_one_job:
        await submitted(store, *many, client="a")
    else:
        await asyncio.gather(*(submitted(store, item, client="a") for item in many))
    small = await submitted(store, *(upload(f"b{n}") for n in range(3)), client="b")
    claims = await store.claim("cpu", 6)
    assert [claim.job_id == small.id for claim in claims] == [False, True] * 3


async def test_lanes_are_claimed_apart(store: Store) -> None:
    await submitted(store, upload("a"), link(1), upload("b"), link(2))
    assert [claim.index for claim in await store.claim("io", 9)] == [1, 3]
    assert [claim.index for claim in await store.claim("cpu", 9)] == [0, 2]


async def test_twenty_claimers_at_once_get_every_item_once(store: Store) -> None:
    await submitted(store, *(upload(str(n)) for n in range(100)))
    claimed = await asyncio.gather(*(store.claim("cpu", 7) for _ in range(20)))
    keys = [claim.item_key for claims in claimed for claim in claims]
    assert len(keys) == len(set(keys)) == 100


# -- outcomes ----------------------------------------------------------------------------------


async def test_results_facts_and_problems_are_recorded(records: JobBackend, store: Store) -> None:
    job = await submitted(store, upload("a"), upload("b"))
    claims = await begun(store, 2)
    records.clock.move(3)
    assert await store.finish(claims[0], done("z", "y", "x"))
    assert await store.finish(claims[1], Failed(BROKEN, {"fetch": {"tries": 3}}))
    good, bad = await items_of(store, job)
    assert [(f.name, f.blob) for f in good.results] == [
        (f"{text}.out", blob(text)) for text in "zyx"
    ]
    assert (good.status, good.facts, good.problem) == (
        ItemStatus.SUCCEEDED,
        {"compress": {"ratio": 2}},
        None,
    )
    assert (bad.status, bad.facts, bad.problem, bad.results) == (
        ItemStatus.FAILED,
        {"fetch": {"tries": 3}},
        BROKEN,
        (),
    )
    assert good.finished_at == records.clock.now
    assert good.started_at == records.clock.now - timedelta(seconds=3)
    result = await store.get_file(good.results[0].id)
    assert result == good.results[0]
    assert result.expires_at == records.clock.now + timedelta(seconds=DAY_S)


async def test_an_outcome_is_recorded_once(store: Store) -> None:
    job = await submitted(store)
    [claim] = await store.claim("cpu", 1)
    told = await asyncio.gather(*(store.finish(claim, done("r")) for _ in range(20)))
    assert sorted(told) == [False] * 19 + [True]
    assert len((await items_of(store, job))[0].results) == 1
    assert (await job_now(store, job)).counts == Counts(succeeded=1)


async def test_a_late_ghost_changes_nothing(store: Store) -> None:
    job = await submitted(store)
    [ghost] = await store.claim("cpu", 1)
    await store.release([ghost])
    [claim] = await store.claim("cpu", 1)
    # It had not begun, and so has paid no attempt.
    assert (claim.attempt, claim.delivery) == (ghost.attempt, ghost.delivery + 1)
    assert not await store.finish(ghost, Failed(BROKEN))
    await store.release([ghost])
    await store.began([(ghost, 0.0)])
    assert (await job_now(store, job)).counts == Counts(queued=1)
    await store.began([(claim, 0.0)])
    assert (await job_now(store, job)).counts == Counts(running=1)
    assert await store.finish(claim, done("r"))
    assert not await store.finish(ghost, Failed(BROKEN))
    assert (await job_now(store, job)).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("way", ["cancel", "delete_job"])
async def test_an_outcome_after_cancel_or_delete_is_void(store: Store, way: str) -> None:
    await submitted(store)
    [claim] = await store.claim("cpu", 1)
    assert await getattr(store, way)(claim.job_id) == [claim.item_key]
    before = await store.get_job(claim.job_id)
    assert not await store.finish(claim, done("ghost"))
    await store.release([claim])
    assert await store.get_job(claim.job_id) == before
    assert await store.unreferenced([blob("ghost").key])
    assert await store.claim("cpu", 1) == []


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ("ss", JobStatus.SUCCEEDED),
        ("sf", JobStatus.PARTIAL),
        ("fs", JobStatus.PARTIAL),
        ("ff", JobStatus.FAILED),
        ("sc", JobStatus.CANCELED),
        ("fc", JobStatus.CANCELED),
        ("cc", JobStatus.CANCELED),
    ],
)
async def test_a_job_goes_from_queued_through_running_to_the_sum_of_its_items(
    records: JobBackend, store: Store, ends: str, status: JobStatus
) -> None:
    job = await submitted(store, upload("a"), upload("b"))
    seen = [job]

    async def look() -> Job:
        now = await job_now(store, job)
        assert now.counts.total == 2
        assert now.seq > seen[-1].seq
        seen.append(now)
        return now

    for number, end in enumerate(ends):
        records.clock.move(1)
        if end == "c":
            await store.cancel(job.id)
            now = await look()
            break
        [claim] = await begun(store, 1)
        running = await look()
        assert (running.status, running.counts.running) == (JobStatus.RUNNING, 1)
        assert running.started_at is not None
        await store.finish(claim, done() if end == "s" else Failed(BROKEN))
        now = await look()
        if not number:
            assert now.status is JobStatus.RUNNING
            assert (now.finished_at, now.expires_at) == (None, None)
    assert (now.status, now.counts.finished) == (status, 2)
    assert now.status.done
    assert now.finished_at == records.clock.now
    assert now.expires_at == records.clock.now + timedelta(seconds=DAY_S)
    assert now.counts == Counts(
        succeeded=ends.count("s"), failed=ends.count("f"), canceled=ends.count("c")
    )


async def test_items_may_end_in_any_order_and_all_at_once(store: Store) -> None:
    job = await submitted(store, *(upload(str(n)) for n in range(60)))
    claims = await store.claim("cpu", 60)
    await asyncio.gather(
        *(store.finish(c, Failed(BROKEN) if c.index % 3 else done()) for c in claims)
    )
    now = await job_now(store, job)
    assert (now.status, now.counts) == (JobStatus.PARTIAL, Counts(succeeded=20, failed=40))
    items = await items_of(store, job)
    assert len({item.seq for item in items}) == 60
    assert max(item.seq for item in items) == now.seq


# -- waiting for a worker -----------------------------------------------------------------------


async def test_what_is_claimed_is_queued_until_a_worker_begins_it(
    records: JobBackend, store: Store
) -> None:
    job = await submitted(store, *(upload(str(n)) for n in range(4)))
    claims = await store.claim("cpu", 3)
    now = await job_now(store, job)
    assert (now.status, now.counts, now.started_at) == (JobStatus.QUEUED, Counts(queued=4), None)
    assert {item.status for item in await items_of(store, job)} == {ItemStatus.QUEUED}
    records.clock.move(60)
    began_at = records.clock.now - timedelta(seconds=2)
    await store.began([(claims[1], 2.0)])
    now = await job_now(store, job)
    assert now.seq == job.seq + 1
    assert (now.status, now.counts) == (JobStatus.RUNNING, Counts(queued=3, running=1))
    assert now.started_at == began_at
    told = await items_of(store, job)
    assert [item.status.value for item in told] == ["queued", "running", "queued", "queued"]
    assert [item.started_at for item in told] == [None, began_at, None, None]
    for status, indexes in ((ItemStatus.QUEUED, [0, 2, 3]), (ItemStatus.RUNNING, [1])):
        page, _ = await store.list_items(job.id, status=status)
        assert [item.index for item in page] == indexes
    [listed], _ = await store.list_jobs("shop", status=JobStatus.RUNNING)
    assert listed == now
    assert await store.cancel(job.id) == [claim.item_key for claim in claims]


async def test_work_began_when_its_worker_says_and_says_so_once(
    records: JobBackend, store: Store
) -> None:
    job = await submitted(store, upload("a"), upload("b"), upload("c"))
    early, late, never = await store.claim("cpu", 3)
    records.clock.move(60)
    await store.began([(early, 1.0)])
    records.clock.move(4)
    await store.began([(early, 0.0)])
    await store.finish(early, done(), 9.0)
    await store.finish(late, done(), 3.0)
    await store.finish(never, Failed(BROKEN))
    assert [
        (item.finished_at - item.started_at).total_seconds()
        for item in await items_of(store, job)
        if item.finished_at and item.started_at
    ] == [5.0, 3.0, 0.0]
    now = await job_now(store, job)
    assert now.started_at == records.clock.now - timedelta(seconds=5)
    await store.began([(late, 1.0)])
    assert await job_now(store, job) == now


async def test_a_url_is_running_once_it_is_begun(records: JobBackend, store: Store) -> None:
    job = await submitted(store, link(1), upload("a"))
    [claim] = await store.claim("io", 1)
    assert await job_now(store, job) == job
    await store.began([(claim, 0.0)])
    now = await job_now(store, job)
    assert (now.status, now.counts) == (JobStatus.RUNNING, Counts(queued=1, running=1))
    assert (now.started_at, now.seq) == (records.clock.now, job.seq + 1)


async def test_what_waited_for_a_worker_goes_back_as_if_it_had_not(records: JobBackend) -> None:
    store = await records.open()
    job = await submitted(store, *(upload(str(n)) for n in range(3)))
    claims = await store.claim("cpu", 2)
    await store.release(claims[:1])
    now = await job_now(store, job)
    assert (now.status, now.counts, now.started_at) == (JobStatus.QUEUED, Counts(queued=3), None)
    await records.crash()
    store = await records.open()
    assert await store.recover() == 1
    now = await job_now(store, job)
    assert (now.status, now.counts, now.started_at) == (JobStatus.QUEUED, Counts(queued=3), None)


# -- watching ----------------------------------------------------------------------------------


async def test_a_watcher_is_woken_by_a_commit(store: Store) -> None:
    job = await submitted(store)
    watching = [asyncio.create_task(store.changed(job.id, job.seq, 30)) for _ in range(5)]
    await settle()
    await begun(store, 1)
    for watcher in watching:
        seen = await watcher
        assert seen is not None
        assert (seen.status, seen.seq) == (JobStatus.RUNNING, job.seq + 1)


async def test_a_watcher_misses_no_commit_however_close_it_comes(store: Store) -> None:
    """Whichever comes first: the read, the commit or the wait."""
    for pauses in range(40):
        job = await submitted(store)
        claiming = asyncio.create_task(begun(store, 1))
        for _ in range(pauses):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            seen = await store.changed(job.id, job.seq, 60)
        assert seen is not None
        assert seen.status is JobStatus.RUNNING
        await claiming


async def test_a_watcher_is_not_bothered_with_what_it_has_seen(store: Store) -> None:
    job = await submitted(store)
    watching = asyncio.create_task(store.changed(job.id, job.seq + 1, 30))
    await settle()
    [claim] = await begun(store, 1)
    await job_now(store, job)
    await settle()
    assert not watching.done()
    await store.finish(claim, done())
    seen = await watching
    assert seen is not None
    assert seen.seq == job.seq + 2


async def test_a_watcher_is_answered_at_once_if_it_is_behind(store: Store) -> None:
    job = await submitted(store)
    assert await store.changed(job.id, job.seq - 1, 30) == job
    assert await store.changed("job_unknown", 0, 30) is None


@pytest.mark.parametrize("timeout_s", [0, 0.01])
async def test_a_watcher_gets_the_job_as_it_is_when_time_is_up(
    store: Store, timeout_s: float
) -> None:
    job = await submitted(store)
    assert await store.changed(job.id, job.seq, timeout_s) == job


async def test_a_watcher_is_told_that_the_job_is_gone(store: Store) -> None:
    job = await submitted(store)
    watching = asyncio.create_task(store.changed(job.id, job.seq, 30))
    await settle()
    await store.delete_job(job.id)
    assert await watching is None


async def test_ended_items_are_told_in_the_order_in_which_they_ended(store: Store) -> None:
    job = await submitted(store, *(upload(str(n)) for n in range(9)))
    claims = await store.claim("cpu", 4)
    for number in (2, 0, 3):
        await store.finish(claims[number], done(str(number)))
    await store.cancel(job.id)
    items = await store.items_since(job.id, (-1, -1))
    assert [item.index for item in items] == [2, 0, 3, 1, 4, 5, 6, 7, 8]
    assert [f.name for f in items[0].results] == ["2.out"]
    assert len({item.seq for item in items[3:]}) == 1  # one commit canceled them all
    for place, item in enumerate(items):
        later = await store.items_since(job.id, (item.seq, item.index), limit=2)
        assert later == items[place + 1 : place + 3]
    assert await store.items_since("job_unknown", (-1, -1)) == []


# -- lists -------------------------------------------------------------------------------------


async def test_items_are_paged_in_the_order_of_the_request(store: Store) -> None:
    job = await submitted(store, *(upload(str(n)) for n in range(10)))
    await run_all(store, *[done(), Failed(BROKEN)] * 3)
    for limit in (1, 3, 5, 10):
        seen, cursor, pages = [], None, 0
        while pages == 0 or cursor is not None:
            items, cursor = await store.list_items(job.id, cursor=cursor, limit=limit)
            assert 0 < len(items) <= limit
            seen += [item.index for item in items]
            pages += 1
        assert seen == list(range(10))
    failed, cursor = await store.list_items(job.id, status=ItemStatus.FAILED, limit=2)
    assert [item.index for item in failed] == [1, 3]
    failed, cursor = await store.list_items(
        job.id, status=ItemStatus.FAILED, cursor=cursor, limit=2
    )
    assert ([item.index for item in failed], cursor) == ([5], None)
    assert await store.list_items("job_unknown") == ([], None)


async def test_jobs_are_paged_newest_first_and_by_client(store: Store) -> None:
    ids = [
        (await submitted(store, marks=Marks(tag="even" if n % 2 == 0 else None))).id
        for n in range(6)
    ]
    await submitted(store, link(1), client="another", marks=Marks(tag="even"))
    first, cursor = await store.list_jobs("shop", limit=4)
    second, end = await store.list_jobs("shop", cursor=cursor, limit=4)
    assert [job.id for job in first + second] == ids[::-1]
    assert end is None
    tagged, _ = await store.list_jobs("shop", tag="even")
    assert [job.id for job in tagged] == ids[4::-2]
    await run_all(store, done(), Failed(BROKEN))
    failed, _ = await store.list_jobs("shop", status=JobStatus.FAILED)
    assert [job.id for job in failed] == [ids[1]]
    both, _ = await store.list_jobs("shop", status=JobStatus.SUCCEEDED, tag="even")
    assert [job.id for job in both] == [ids[0]]
    assert await store.list_jobs("nobody") == ([], None)


async def test_a_page_does_not_shift_when_jobs_are_added_meanwhile(store: Store) -> None:
    ids = [(await submitted(store)).id for _ in range(4)]
    _, cursor = await store.list_jobs("shop", limit=2)
    await submitted(store)
    rest, _ = await store.list_jobs("shop", cursor=cursor, limit=9)
    assert [job.id for job in rest] == ids[1::-1]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 30, "٣", "1 OR 1", "job_1"])
async def test_a_cursor_that_is_not_ours_is_refused(store: Store, cursor: str) -> None:
    job = await submitted(store)
    with pytest.raises(InvalidParameter, match="cursor"):
        await store.list_jobs("shop", cursor=cursor)
    with pytest.raises(InvalidParameter, match="cursor"):
        await store.list_items(job.id, cursor=cursor)


# -- giving back -------------------------------------------------------------------------------


async def test_released_items_are_claimed_again_in_their_old_place(
    records: JobBackend, store: Store
) -> None:
    job = await submitted(store, *(upload(str(n)) for n in range(4)))
    claims = await begun(store, 3)
    wakes, seq = records.wakes, (await job_now(store, job)).seq
    await store.release(claims[:2])
    now = await job_now(store, job)
    assert (now.status, now.counts) == (JobStatus.RUNNING, Counts(queued=2 + 1, running=1))
    assert now.seq > seq
    assert records.wakes > wakes
    assert [claim.index for claim in await store.claim("cpu", 2)] == [0, 1]


async def test_a_job_whose_every_item_was_released_is_queued(store: Store) -> None:
    job = await submitted(store, upload("a"), upload("b"))
    await store.release(await store.claim("cpu", 2))
    assert (await job_now(store, job)).status is JobStatus.QUEUED
    assert {item.started_at for item in await items_of(store, job)} == {None}
    await store.release([])


async def test_what_a_dead_service_ran_goes_back_to_the_queue(records: JobBackend) -> None:
    store = await records.open()
    job = await submitted(store, *(upload(str(n)) for n in range(4)))
    claims = await begun(store, 3)
    await store.finish(claims[0], done("kept"))
    await records.crash()

    store = await records.open()
    assert (await job_now(store, job)).counts == Counts(queued=1, running=2, succeeded=1)
    assert await store.recover() == 2
    now = await job_now(store, job)
    assert (now.status, now.counts) == (JobStatus.RUNNING, Counts(queued=3, succeeded=1))
    assert await store.recover() == 0
    assert not await store.finish(claims[1], Failed(BROKEN))
    claims = await run_all(store, done(), done(), done())
    assert [(claim.index, claim.attempt) for claim in claims] == [(1, 2), (2, 2), (3, 1)]
    assert (await job_now(store, job)).status is JobStatus.SUCCEEDED
    assert (await items_of(store, job))[0].results[0].name == "kept.out"


async def test_an_item_that_is_interrupted_too_often_is_given_up(records: JobBackend) -> None:
    store = await records.open(max_unfinished_items=2)
    job = await submitted(store, upload("suspect"), upload("bystander"))
    for _ in range(MAX_INTERRUPTIONS - 1):
        await store.claim("cpu", 1)
        assert await store.recover() == 1
    await store.claim("cpu", 2)
    assert await store.recover() == 1
    suspect, bystander = await items_of(store, job)
    assert suspect.problem is not None
    assert suspect.problem.code == "internal.interrupted"
    assert bystander.status is ItemStatus.QUEUED
    now = await job_now(store, job)
    assert (now.status, now.counts) == (JobStatus.RUNNING, Counts(queued=1, failed=1))
    store.check_backlog(1)
    await run_all(store, done())
    assert (await job_now(store, job)).status is JobStatus.PARTIAL


# -- ending ------------------------------------------------------------------------------------


async def test_cancelling_ends_what_is_queued_and_running_and_keeps_what_has_ended(
    records: JobBackend, store: Store
) -> None:
    job = await submitted(store, *(upload(str(n)) for n in range(4)))
    await run_all(store, done("kept"))
    [running] = await store.claim("cpu", 1)
    assert await store.cancel(job.id) == [running.item_key]
    items = await items_of(store, job)
    assert [item.status for item in items] == [ItemStatus.SUCCEEDED] + [ItemStatus.CANCELED] * 3
    assert items[0].results
    assert items[1].finished_at == records.clock.now
    now = await job_now(store, job)
    assert (now.status, now.counts) == (JobStatus.CANCELED, Counts(succeeded=1, canceled=3))
    assert await store.claim("cpu", 9) == []


async def test_cancelling_what_is_over_changes_nothing(store: Store) -> None:
    job = await submitted(store)
    await run_all(store, done())
    before = await job_now(store, job)
    assert await store.cancel(job.id) == []
    assert await job_now(store, job) == before
    assert await store.cancel("job_unknown") == []


async def test_deleting_removes_the_job_its_items_and_its_files(store: Store) -> None:
    stored = await store.add_file("shop", NamedBlob(blob("stored"), "n"), HOUR_S)
    job = await submitted(store, upload("in"), NewItem(file_id=stored.id), upload("running"))
    await run_all(store, done("out"), done("more"))
    [running] = await store.claim("cpu", 1)
    first, second, _ = await items_of(store, job)
    assert await store.delete_job(job.id) == [running.item_key]
    assert await store.get_job(job.id) is None
    assert await store.list_items(job.id) == ([], None)
    for file_id in (first.file_id, first.results[0].id, second.results[0].id):
        assert file_id is not None
        assert await store.get_file(file_id) is None
    texts = ("in", "running", "out", "more", "stored")
    # The item that was given the stored file let go of it too; its own record has it still.
    assert sorted(await store.loose()) == sorted(blob(t).key for t in texts[:4])
    assert await store.loose() == []
    assert await store.unreferenced([blob(t).key for t in texts]) == [
        blob(t).key for t in texts[:4]
    ]
    assert await store.get_file(stored.id) == stored
    assert await store.delete_job(job.id) == []


# -- retention ---------------------------------------------------------------------------------


async def purge_all(store: Store) -> None:
    while await store.purge():
        pass


async def test_a_finished_jobs_data_goes_after_its_retention_and_its_record_one_later(
    records: JobBackend, store: Store
) -> None:
    link_ = NewItem(url="http://o/", headers={"Authorization": "secret"})
    job = await submitted(store, upload("in"), link_, retention_s=HOUR_S)
    await run_all(store, done("out"))
    for claim in await store.claim("io", 1):
        await store.finish(claim, Failed(BROKEN))
    [file] = (await items_of(store, job))[0].results
    keys = [blob("in").key, blob("out").key]
    records.clock.move(HOUR_S - 1)
    await purge_all(store)
    assert (await job_now(store, job)).status is JobStatus.PARTIAL
    assert await store.loose() == []
    before = await job_now(store, job)

    records.clock.move(1)
    await purge_all(store)
    now = await job_now(store, job)
    assert (now.status, now.counts) == (JobStatus.EXPIRED, before.counts)
    assert now.status.done
    assert now.seq > before.seq
    assert await store.get_file(file.id) is None
    assert sorted(await store.loose()) == sorted(keys)
    assert await store.unreferenced(keys) == keys
    items = await items_of(store, job)
    assert [item.status for item in items] == [ItemStatus.SUCCEEDED, ItemStatus.FAILED]
    assert [(item.blob, item.file_id, item.results) for item in items] == [(None, None, ())] * 2
    assert items[0].facts
    await store.extend(file, HOUR_S)  # too late, and no harm

    records.clock.move(HOUR_S - 1)
    await purge_all(store)
    assert await store.get_job(job.id)
    records.clock.move(1)
    await purge_all(store)
    assert await store.get_job(job.id) is None
    assert await store.list_items(job.id) == ([], None)


async def test_an_unfinished_job_does_not_expire(records: JobBackend, store: Store) -> None:
    job = await submitted(store, upload("a"), upload("b"), retention_s=1)
    await run_all(store, done("out"))
    records.clock.move(365 * DAY_S)
    await purge_all(store)
    assert (await job_now(store, job)).counts == Counts(queued=1, succeeded=1)
    assert await store.unreferenced([blob(t).key for t in ("a", "b", "out")]) == []


async def test_a_watcher_hears_of_expiry(records: JobBackend, store: Store) -> None:
    job = await submitted(store, retention_s=1)
    await run_all(store, done())
    watching = asyncio.create_task(store.changed(job.id, (await job_now(store, job)).seq, 30))
    await settle()
    records.clock.move(1)
    await purge_all(store)
    seen = await watching
    assert seen is not None
    assert seen.status is JobStatus.EXPIRED


async def test_reading_renews_a_whole_job(records: JobBackend, store: Store) -> None:
    job = await submitted(store, upload("a"), upload("b"), retention_s=HOUR_S)
    await run_all(store, done("out"), done("more"))
    [result] = (await items_of(store, job))[0].results
    records.clock.move(HOUR_S - 1)
    await store.extend(result, HOUR_S)
    records.clock.move(HOUR_S - 1)
    await purge_all(store)
    for item in await items_of(store, job):
        for file in item.results:
            assert file.expires_at == records.clock.now + timedelta(seconds=1)
    records.clock.move(1)
    await purge_all(store)
    assert (await job_now(store, job)).status is JobStatus.EXPIRED


async def test_reading_the_input_of_a_job_at_work_sets_no_end_to_it(
    records: JobBackend, store: Store
) -> None:
    job = await submitted(store)
    [item] = await items_of(store, job)
    assert item.file_id is not None
    file = await store.get_file(item.file_id)
    assert file is not None
    await store.extend(file, 1)
    records.clock.move(2)
    await purge_all(store)
    assert await store.get_file(file.id) == file


async def test_a_stored_file_lives_for_its_retention_and_reading_renews_it(
    records: JobBackend, store: Store
) -> None:
    file = await store.add_file("shop", NamedBlob(blob("x"), "x.txt"), HOUR_S)
    assert (file.job_id, file.name, file.client) == (None, "x.txt", "shop")
    assert file.expires_at == records.clock.now + timedelta(seconds=HOUR_S)
    records.clock.move(HOUR_S - 1)
    await store.extend(file, HOUR_S)
    records.clock.move(HOUR_S - 1)
    await purge_all(store)
    assert await store.get_file(file.id)
    records.clock.move(1)
    await purge_all(store)
    assert await store.get_file(file.id) is None
    assert await store.unreferenced([blob("x").key])


async def test_stored_files_are_listed_for_their_client_and_those_of_jobs_are_not(
    store: Store,
) -> None:
    stored = [
        await store.add_file("shop", NamedBlob(blob(f"{n}"), f"{n}.txt"), HOUR_S) for n in range(3)
    ]
    await store.add_file("other", NamedBlob(blob("theirs"), "theirs.txt"), HOUR_S)
    await submitted(store, NewItem(file_id=stored[0].id))
    await run_all(store, done())
    page, cursor = await store.list_files("shop", limit=2)
    assert page == [stored[2], stored[1]]
    assert await store.list_files("shop", cursor=cursor, limit=2) == ([stored[0]], None)
    with pytest.raises(InvalidParameter):
        await store.list_files("shop", cursor="nonsense")


async def test_an_input_outlives_the_stored_file_that_it_came_from(
    records: JobBackend, store: Store
) -> None:
    file = await store.add_file("shop", NamedBlob(blob("x"), "x"), HOUR_S)
    await submitted(store, NewItem(file_id=file.id))
    await store.delete_file(file.id)
    await store.delete_file(file.id)
    assert await store.get_file(file.id) is None
    assert await store.unreferenced([blob("x").key]) == []
    [claim] = await store.claim("cpu", 1)
    assert claim.inputs == (NamedBlob(blob("x"), "x"),)


async def test_purging_takes_a_bounded_bite_and_says_that_there_is_more(
    records: JobBackend, store: Store
) -> None:
    async def left() -> int:
        return len([f for f in files if await store.get_file(f.id)])

    files = await asyncio.gather(
        *(store.add_file("shop", NamedBlob(blob("x"), "x"), 1) for _ in range(1500))
    )
    for _ in range(120):
        await submitted(store, retention_s=1)
    await run_all(store, *[done()] * 120)
    records.clock.move(1)
    assert await store.purge()
    assert 0 < await left() < 1500
    bites = 1
    while await store.purge():
        bites += 1
    assert bites > 1
    assert await left() == 0
    expired, _ = await store.list_jobs("shop", status=JobStatus.EXPIRED, limit=MANY)
    assert len(expired) == 120


# -- the disk ----------------------------------------------------------------------------------


async def test_a_well_store_says_that_it_is_writable(store: Store) -> None:
    job = await submitted(store)
    await store.check_writable()
    assert await job_now(store, job) == job


async def test_a_full_disk_refuses_what_does_not_fit_and_harms_nobody_else(
    records: JobBackend, store: Store
) -> None:
    large = new_job(marks=Marks(metadata={"text": "x" * 1_000_000}))
    known = await submitted(store)
    async with records.full(store):
        calls = (store.submit(large), begun(store, 1), store.submit(large))
        refused, claims, too = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(refused, StorageFull)
        assert isinstance(too, StorageFull)
        assert isinstance(claims, list)
        assert [claim.job_id for claim in claims] == [known.id]
        assert (await job_now(store, known)).status is JobStatus.RUNNING
        assert len((await store.list_jobs("shop"))[0]) == 1
    assert (await store.submit(large)).created
    assert await store.finish(claims[0], done("r"))
    assert (await job_now(store, known)).status is JobStatus.SUCCEEDED
