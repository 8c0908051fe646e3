"""What the rules promise of several items that are queued, taken and ended together."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from app.model.blobs import Blob, NamedBlob
from app.model.chunks import MAX_INTERRUPTIONS, Ended, Failed
from app.model.jobs import Counts, ItemStatus, JobStatus, NewItem
from app.records import cutting, files, intake, outcome, queue
from app.records.cutting import CHUNK_MS, MOST_ITEMS, Piece
from tests.contracts.backends import JobBackend
from tests.contracts.records import Store
from tests.contracts.test_batches import FETCHED, batch, url
from tests.contracts.test_job_store import (
    BROKEN,
    blob,
    done,
    items_of,
    job_now,
    new_job,
    submitted,
    upload,
)

pytestmark = pytest.mark.anyio

MOST = 1_000_000


def cuts(*pieces: Piece, most: int | None = None) -> list[tuple[int, int, int]]:
    return [(part.lo, part.hi, part.n) for part in cutting.cut(pieces, most)]


def stored(index: int, cost_ms: float) -> Piece:
    return Piece(index, "cpu", fetches=False, cost_ms=cost_ms)


def test_a_chunk_is_as_many_items_as_take_a_while_together() -> None:
    assert cuts() == []
    assert cuts(*(stored(n, CHUNK_MS / 3) for n in range(7))) == [(0, 2, 3), (3, 5, 3), (6, 6, 1)]
    assert cuts(*(stored(n, 10 * CHUNK_MS) for n in range(3))) == [(n, n, 1) for n in range(3)]
    many = MOST_ITEMS["cpu"] * 3
    parts = cuts(*(stored(n, 0.001) for n in range(many)))
    assert [n for _, _, n in parts] == [MOST_ITEMS["cpu"]] * 3
    # What nobody has estimated is cut small.
    unknown = cuts(*(Piece(n, "cpu", fetches=False) for n in range(10)))
    assert [n for _, _, n in unknown] == [4, 4, 2]


def test_items_of_a_chunk_need_not_be_neighbours() -> None:
    assert cuts(*(stored(n, 1) for n in (1, 5, 9)), most=2) == [(1, 5, 2), (9, 9, 1)]


async def test_outcomes_of_many_jobs_are_written_together(store: Store) -> None:
    jobs = [await submitted(store, *(upload(f"{n}{m}") for m in range(3))) for n in range(4)]
    claims = await store.claim("cpu", 100)
    assert len({claim.chunk_key for claim in claims}) == 4
    ended = [Ended(c, Failed(BROKEN) if c.index == 1 else done(f"{c.item_key}")) for c in claims]
    assert await store.finish_all(ended) == {claim.fence for claim in claims}
    for job in jobs:
        now = await job_now(store, job)
        assert (now.status, now.counts) == (JobStatus.PARTIAL, Counts(succeeded=2, failed=1))
        assert now.seq == job.seq + 1
        items = await items_of(store, job)
        assert [item.status.value for item in items] == ["succeeded", "failed", "succeeded"]
        assert {item.seq for item in items} == {now.seq}
        assert [item.index for item in await store.items_since(job.id, (0, 0))] == [0, 1, 2]


async def test_an_outcome_told_twice_in_one_call_is_written_once(store: Store) -> None:
    job = await submitted(store, upload("a"), upload("b"))
    first, _ = await store.claim("cpu", 2)
    assert await store.finish_all([Ended(first, done("r")), Ended(first, done("s"))])
    assert (await job_now(store, job)).counts == Counts(queued=1, succeeded=1)
    assert len((await items_of(store, job))[0].results) == 1


async def test_what_of_a_chunk_is_over_stays_so_when_its_node_dies(records: JobBackend) -> None:
    store = await records.open()
    job = await submitted(store, *(upload(str(n)) for n in range(5)))
    claims = await store.claim("cpu", 9)
    assert len({claim.chunk_key for claim in claims}) == 1
    await store.began([(claims[2], 0.0)])
    await store.finish_all([Ended(claim, done("r")) for claim in claims[:2]])
    await records.crash()
    store = await records.open()
    assert await store.recover() == 3
    seen = []
    while suspect := await store.claim("cpu", 1):
        [claim] = suspect
        seen.append((claim.index, claim.attempt))
        assert await store.finish(claim, done("r"))
        # The rest of the chunk is still in hand: as a node, go on with it.
        fence = (claim.chunk_key, claim.delivery)
        while again := await store.begin(store._chunks[fence]):
            seen.append((again[0].index, again[0].attempt))
            assert await store.finish(again[0], done("r"))
    assert sorted(seen) == [(2, 2), (3, 2), (4, 2)]
    assert (await job_now(store, job)).counts == Counts(succeeded=5)


@pytest.mark.parametrize("poison", [0, 5, 15])
async def test_who_kills_its_node_fails_alone(records: JobBackend, poison: int) -> None:
    store = await records.open()
    job = await submitted(store, *(upload(str(n)) for n in range(16)))
    deaths = 0
    while not (await job_now(store, job)).status.done:
        begun = await store.claim("cpu", 16)
        await store.began([(claim, 0.0) for claim in begun])
        while begun:
            if poison in [claim.index for claim in begun]:
                deaths += 1
                await store.recover()
                break
            [claim] = begun
            await store.finish(claim, done("r"))
            begun = await store.begin(store._chunks[claim.chunk_key, claim.delivery])
    items = await items_of(store, job)
    assert [item.index for item in items if item.status is ItemStatus.FAILED] == [poison]
    assert (await job_now(store, job)).counts == Counts(succeeded=15, failed=1)
    assert deaths == MAX_INTERRUPTIONS
    assert items[poison].problem is not None
    assert items[poison].problem.code == "internal.interrupted"


async def test_what_is_given_back_has_paid_for_what_had_begun_only(store: Store) -> None:
    await submitted(store, *(upload(str(n)) for n in range(4)))
    claims = await store.claim("cpu", 9)
    await store.began([(claims[1], 0.0)])
    await store.finish(claims[0], done("r"))
    await store.release(claims)
    again = await store.claim("cpu", 9)
    assert [(claim.index, claim.attempt) for claim in again] == [(1, 2), (2, 1), (3, 1)]


async def test_a_chunk_that_a_node_has_yet_is_no_second_one_after_a_retry(
    records: JobBackend,
) -> None:
    store = await records.open()
    job = await submitted(store, upload("a"), upload("b"))
    claims = await store.claim("cpu", 9)
    ended = [Ended(claim, Failed(BROKEN)) for claim in claims]
    # Its outcomes are told, that it is over is not.
    assert len(await store.db.write(outcome.finish, store.node, ended)) == 2
    await store.retry(job.id)
    assert await store.db.write(outcome.finish, store.node, ended) == set()
    await records.crash()
    store = await records.open()
    await store.recover()
    again = await store.claim("cpu", 9)
    assert [claim.index for claim in again] == [0, 1]
    for claim in again:
        assert await store.finish(claim, done("r"))
    assert await store.claim("cpu", 9) == []


async def test_a_node_is_given_what_it_has_room_for_when_it_submits(store: Store) -> None:
    slow = map(upload, "abcde")
    taker = intake.Taker(store.node, "cpu")
    made = await store.db.write(
        intake.submit, new_job(*slow, weigh=lambda _: CHUNK_MS), MOST, taker
    )
    assert [[claim.index for claim in chunk.claims] for chunk in made.chunks] == [[0]]
    assert [claim.index for claim in await store.claim("cpu", 9)] == [1, 2, 3, 4]
    ended = [Ended(claim, done("r")) for chunk in made.chunks for claim in chunk.claims]
    recorded = await store.db.write(outcome.finish, store.node, ended, made.chunks)
    assert len(recorded) == 1


@pytest.mark.parametrize("pace", [1, 3, 8, 200])
async def test_a_pace_holds_whatever_it_is_cut_into(store: Store, pace: int) -> None:
    job = (await store.submit(batch(*map(url, range(100)), pace=pace))).job
    order: list[int] = []
    under_way = await store.claim("io", 1000)
    assert len(under_way) == min(pace, 100)
    while under_way:
        claim = under_way.pop(0)
        order.append(claim.index)
        assert await store.finish(claim, done("x"))
        under_way += await store.claim("io", 1000)
        assert len(under_way) <= pace
        # It may wait for the slowest of a chunk, not for more.
        left = 100 - len(order)
        assert len(under_way) >= min(left, math.ceil(pace * 3 / 4) - 1)
    assert sorted(order) == list(range(100))
    assert (await job_now(store, job)).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("number", [9, 40])
async def test_a_job_that_stops_ends_all_of_it_however_large(
    store: Store, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.records.bites.BITE_ROWS", 10)
    job = (await store.submit(batch(*map(url, range(number)), pace=8, stops=True))).job
    first, second, *_ = await store.claim("io", 100)
    ended = [Ended(first, Failed(BROKEN)), Ended(second, Failed(BROKEN))]
    assert len(await store.finish_all(ended)) == 2
    assert await store.claim("io", 100) == []
    now = await store.ended(job.id, 5)
    assert now is not None
    assert (now.status, now.counts) == (JobStatus.FAILED, Counts(failed=2, canceled=number - 2))
    assert await store.claim("io", 100) == []
    await store.retry(job.id)
    assert len(await store.claim("io", 100)) == 8


async def test_small_bytes_are_kept_with_the_records_for_as_long_as_they_are_named(
    store: Store,
) -> None:
    small = replace(blob("in"), value=b"in")
    job = await submitted(store, NewItem(upload=NamedBlob(small, "in.txt")), upload("large"))
    first, second = await store.claim("cpu", 9)
    assert [given.blob.value for given in (*first.inputs, *second.inputs)] == [b"in", None]
    out = Blob("key-of-out", 3, "text/plain", "d" * 64, b"out")
    result = replace(done(), results=(NamedBlob(out, "out.txt"),))
    await store.finish_all([Ended(first, result), Ended(second, done("r"))])
    [shown] = (await items_of(store, job))[0].results
    read = await store.get_file(shown.id)
    assert read is not None
    assert read.blob.value == b"out"
    await store.delete_job(job.id)
    # Only what the blob store has is left to be removed from it.
    looked_at, keys = await store.db.write(files.take_loose)
    assert (looked_at, sorted(keys)) == (4, sorted(blob(t).key for t in ("large", "r")))
    [[left]] = await store.db.write(
        lambda tx: tx.db.execute("SELECT count(*) FROM small").fetchall()
    )
    assert left == 0


async def test_who_fails_on_a_chunk_that_it_has_again_changes_nothing(store: Store) -> None:
    job = await submitted(store)
    [before] = await store.db.write(queue.take, store.node, "cpu", 9)
    await store.db.write(queue.give_back, store.node, [before])
    [claim] = await store.claim("cpu", 9)
    await store.began([(claim, 0.0)])
    await store.db.write(outcome.crashed, store.node, before)
    assert (await job_now(store, job)).counts == Counts(running=1)
    assert await store.finish(claim, done("r"))


async def test_what_is_given_up_makes_room_in_a_pace(store: Store) -> None:
    job = (await store.submit(batch(url(0), url(1), pace=1))).job
    for _ in range(MAX_INTERRUPTIONS):
        [chunk] = await store.db.write(queue.take, store.node, "io", 9)
        if chunk.deaths:
            assert await store.db.write(queue.next_suspect, store.node, chunk)
        await store.db.write(outcome.crashed, store.node, chunk)
    left = await store.claim("io", 9)
    assert [claim.index for claim in left] == [1]
    assert await store.finish(left[0], done("r"))
    assert (await job_now(store, job)).counts == Counts(succeeded=1, failed=1)


async def test_no_chunk_outlives_a_job_of_which_all_is_given_up(store: Store) -> None:
    await submitted(store)
    for _ in range(MAX_INTERRUPTIONS):
        [chunk] = await store.db.write(queue.take, store.node, "cpu", 9)
        if chunk.deaths:
            assert await store.db.write(queue.next_suspect, store.node, chunk)
        await store.db.write(outcome.crashed, store.node, chunk)
    assert await store.db.write(queue.take, store.node, "cpu", 9) == []


async def test_twins_end_before_a_first_failure_cancels_the_others(store: Store) -> None:
    new = batch(url(0), url(1), url(1), url(2), dedupe=True, stops=True)
    job = (await store.submit(new)).job
    first, second, _ = await store.claim("io", 9)
    await store.finish_all([Ended(first, Failed(BROKEN)), Ended(second, FETCHED)])
    found = [item.status for item in await items_of(store, job)]
    assert found == ["failed", "succeeded", "succeeded", "canceled"]


async def test_an_outcome_is_not_told_by_another_claim_of_its_item(store: Store) -> None:
    await submitted(store)
    [ghost] = await store.claim("cpu", 9)
    await store.release([ghost])
    [claim] = await store.claim("cpu", 9)
    recorded = await store.finish_all([Ended(ghost, done("ghost")), Ended(claim, done("r"))])
    assert recorded == {claim.fence}
