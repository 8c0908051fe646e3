"""What the rules promise where two nodes have one database: two of anything."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from operator import attrgetter

import pytest

from app.errors import QueueFull, StorageError
from app.model.chunks import Claim, Ended, Failed
from app.model.deliveries import EVENTS, DeliveryStatus, Verdict, Webhook
from app.model.jobs import Counts, JobStatus
from app.nodes.waiting import Waiters
from app.records import nodes, outcome, reading, topics
from tests.contracts.backends import JobBackend
from tests.contracts.records import Store
from tests.contracts.test_job_store import (
    BROKEN,
    HOUR_S,
    blob,
    done,
    items_of,
    job_now,
    new_job,
    settle,
    submitted,
    upload,
)
from tests.contracts.test_streams import empty, url

pytestmark = pytest.mark.anyio

DELIVERED = Verdict(DeliveryStatus.DELIVERED)
HOOK = Webhook("https://shop.test/hooks", frozenset(EVENTS))
LEASE_S = 60.0


@pytest.fixture
async def other(records: JobBackend, store: Store) -> Store:
    return await records.open()


async def beat_of(store: Store, node: Store) -> int:
    """Give another node's beat as a store sees it."""
    [seen] = [seen for seen in await store.db.read(nodes.seen) if seen.id == node.node]
    return seen.beat


async def bury(store: Store, node: Store) -> int:
    beat = await beat_of(store, node)
    return await store.db.write(outcome.bury, node.node, beat)


async def claimed(store: Store, limit: int = 100) -> list[Claim]:
    """Claim so many items, and begin them."""
    claims = [*await store.claim("cpu", limit), *await store.claim("io", limit)]
    await store.began([(claim, 0.0) for claim in claims])
    return claims


# -- who has what ------------------------------------------------------------------------------


async def test_two_may_open_a_new_folder_at_once(records: JobBackend) -> None:
    stores = await asyncio.gather(*(records.open() for _ in range(4)))
    made = await asyncio.gather(*(submitted(store) for store in stores))
    assert len(await stores[0].claim("cpu", 9)) == len(made) == 4


async def test_what_one_has_taken_the_other_is_not_given(store: Store, other: Store) -> None:
    await submitted(store, *(upload(str(n)) for n in range(40)))
    both = [await node.claim("cpu", 1) for node in (store, other) * 2]
    keys = [claim.item_key for claims in both for claim in claims]
    assert len(keys) == len(set(keys)) == 40
    assert store.in_hand
    assert other.in_hand


async def test_a_start_and_a_look_take_nothing_from_who_lives(
    records: JobBackend, store: Store
) -> None:
    job = await submitted(store)
    [claim] = await claimed(store)
    other = await records.open()
    assert await other.claim("cpu", 9) == []
    seen = await beat_of(other, store)
    assert await store.db.write(nodes.beat, store.node)
    # It has shown a sign of life since it was looked at.
    assert await other.db.write(outcome.bury, store.node, seen) == 0
    assert await other.claim("cpu", 9) == []
    assert await store.db.write(nodes.beat, store.node)
    assert await store.finish(claim, done("r"))
    assert (await job_now(other, job)).status is JobStatus.SUCCEEDED


async def test_a_chunk_that_was_taken_again_voids_the_ghost(store: Store, other: Store) -> None:
    job = await submitted(store, *(upload(str(n)) for n in range(3)))
    ghosts = await claimed(store)
    assert await bury(other, store) == 3
    again = await claimed(other, 1)
    assert [(claim.index, claim.attempt) for claim in again] == [(0, 2)]
    before = await job_now(other, job)
    assert await store.finish_all([Ended(ghost, done("ghost")) for ghost in ghosts]) == set()
    await store.began([(ghost, 0.0) for ghost in ghosts])
    await store.release(ghosts)
    # Nor once it is there again, under its old name.
    assert not await store.db.write(nodes.beat, store.node)
    await store.join()
    assert await store.finish_all([Ended(ghost, done("ghost")) for ghost in ghosts]) == set()
    assert await job_now(store, job) == before
    assert await store.unreferenced([blob("ghost").key])
    [chunk] = {(claim.chunk_key, claim.delivery) for claim in again}
    while again:
        assert await other.finish(again.pop(), done("r"))
        suspect = await other.begin(other._chunks[chunk])
        again += suspect
    assert (await job_now(store, job)).counts == Counts(succeeded=3)


async def test_who_was_buried_is_given_nothing_before_it_is_there_again(
    store: Store, other: Store
) -> None:
    await submitted(store, webhook=HOOK)
    assert await bury(other, store) == 0
    assert await store.claim("cpu", 9) == []
    new = replace(new_job(), client="another")
    assert (await store.submit(new)).created
    assert await store.claim("cpu", 9) == []
    await store.join()
    for claim in await store.claim("cpu", 9):
        assert await store.finish(claim, done("r"))
    assert await bury(other, store) == 0
    routes = await store.outbox.due((), None)
    assert await store.outbox.claim([route.key for route in routes]) == []
    assert len(await other.outbox.claim([route.key for route in routes])) == len(routes) == 2


async def test_what_the_dead_were_sending_another_sends(store: Store, other: Store) -> None:
    await submitted(store, webhook=replace(HOOK, events=frozenset({"job.succeeded"})))
    for claim in await store.claim("cpu", 1):
        await store.finish(claim, done("r"))
    [route] = await store.outbox.due((), None)
    [ghost] = await store.outbox.claim([route.key])
    assert await other.outbox.due((), None) == []
    assert await other.outbox.claim([route.key]) == []
    await bury(other, store)
    assert not await store.outbox.settle(ghost, None, DELIVERED)
    [parcel] = await other.outbox.claim([route.key])
    assert parcel.id == ghost.id
    assert not await store.outbox.settle(ghost, None, DELIVERED)
    assert await other.outbox.settle(parcel, None, DELIVERED)


# -- who hears of what -------------------------------------------------------------------------


async def test_a_look_shows_what_the_other_has_committed(store: Store, other: Store) -> None:
    job = await submitted(store)
    quiet = await submitted(store, client="another")
    ids = [job.id, quiet.id, "job_unknown"]
    before = await store.db.read(reading.seqs, ids)
    assert before == {job.id: (1, False), quiet.id: (1, False)}
    await other.cancel(job.id)
    after = await store.db.read(reading.seqs, ids)
    assert after == {job.id: (2, True), quiet.id: (1, False)}
    await other.delete_job(job.id)
    assert await store.db.read(reading.seqs, ids) == {quiet.id: (1, False)}


@pytest.mark.parametrize("looks_before", [0, 1])
async def test_who_waits_here_is_woken_by_a_commit_there(
    store: Store, other: Store, looks_before: int
) -> None:
    job = await submitted(store)
    waiting = Waiters(store.db, topics.JOB, reading.seqs, attrgetter("seq"))
    task = asyncio.create_task(
        waiting.until(job.id, store.get_job, lambda found: found.seq > job.seq, 60)
    )
    await settle()
    for _ in range(looks_before):
        await waiting.look()
    await claimed(other)
    await waiting.look()
    async with asyncio.timeout(10):
        found = await task
    assert found is not None
    assert found.status is JobStatus.RUNNING


async def test_an_event_stream_loses_nothing_of_what_two_end_at_once(
    store: Store, other: Store
) -> None:
    job = await submitted(store, *(upload(str(n)) for n in range(200)))

    async def run(node: Store) -> None:
        while claims := await node.claim("cpu", 7):
            half = len(claims) // 2
            ends = [[Ended(claim, done("r")) for claim in claims[:half]]]
            ends.append([Ended(claim, done("r")) for claim in claims[half:]])
            await asyncio.gather(*(node.finish_all(some) for some in ends if some))

    running = [asyncio.create_task(run(node)) for node in (store, other)]
    heard: list[tuple[int, int]] = [(0, 0)]
    while len(heard) <= 200:
        for node in (store, other):
            found = await node.items_since(job.id, heard[-1], limit=9)
            heard += [(item.seq, item.index) for item in found]
    await asyncio.gather(*running)
    assert heard == sorted(heard)
    assert {index for _, index in heard[1:]} == set(range(200))
    assert len(heard) == 201


# -- what holds for all ------------------------------------------------------------------------


async def test_the_limit_holds_across_both(records: JobBackend) -> None:
    one, two = [await records.open(max_unfinished_items=4) for _ in range(2)]
    await submitted(one, upload("a"), upload("b"))
    await submitted(two, upload("c"))
    for store in (one, two):
        store.check_backlog(1)
        with pytest.raises(QueueFull):
            store.check_backlog(2)
        with pytest.raises(QueueFull):
            await submitted(store, upload("d"), upload("e"))
    made = await asyncio.gather(
        *(submitted(store) for store in (one, two) * 5), return_exceptions=True
    )
    assert sum(isinstance(one, QueueFull) for one in made) == 9
    [first, *_] = await one.claim("cpu", 9)
    await one.finish(first, done("r"))
    two.check_backlog(1)


def alone(_: int) -> float:
    """Weigh an item so much that it is a chunk of its own."""
    return 100.0


async def test_a_client_does_not_wait_behind_what_another_has_submitted_there(
    store: Store, other: Store
) -> None:
    slow = [upload(str(n)) for n in range(30)]
    await submitted(store, *slow[:20], client="a", weigh=alone)
    await submitted(other, *slow[20:], client="a", weigh=alone)
    small = await submitted(other, *slow[:3], client="b", weigh=alone)
    claims = await store.claim("cpu", 6)
    assert [claim.job_id == small.id for claim in claims] == [False, True] * 3


async def test_what_is_retried_has_a_turn_of_its_own(store: Store, other: Store) -> None:
    slow = [upload(str(n)) for n in range(4)]
    job = await submitted(store, *slow, client="a", weigh=alone)
    for claim in await store.claim("cpu", 4):
        await store.finish(claim, Failed(BROKEN))
    await store.retry(job.id)
    later = await submitted(other, *slow, client="a", weigh=alone)
    small = await submitted(other, *slow, client="b", weigh=alone)
    claims = await store.claim("cpu", 8)
    assert [claim.job_id for claim in claims] == [job.id] * 4 + [small.id] * 4
    assert [claim.job_id for claim in await store.claim("cpu", 9)] == [later.id] * 4
    assert not await store.claim("cpu", 9)


async def test_house_is_kept_around_what_the_other_receives(
    records: JobBackend, store: Store, other: Store
) -> None:
    async with store.receiving("shop", dedupe=False) as incoming:
        await incoming.add([url(n) for n in range(20)])
        records.clock.move(1000 * HOUR_S)
        while await other.purge():
            pass
        dead = await records.open()
        await bury(other, dead)
        while await other.purge():
            pass
        await incoming.add([url(n) for n in range(20, 30)])
        made = await incoming.submit(empty())
    assert [item.index for item in await items_of(other, made.job)] == list(range(30))
    assert await other.claim("io", 9)


async def test_what_the_dead_received_is_never_shown(store: Store, other: Store) -> None:
    async with store.receiving("shop", dedupe=False) as incoming:
        await incoming.add([url(n) for n in range(20)])
        await bury(other, store)
        with pytest.raises(StorageError):
            await incoming.submit(empty())
        while await other.purge():
            pass
        with pytest.raises(StorageError):
            await incoming.submit(empty())
    assert await other.list_jobs("shop") == ([], None)
    assert await other.claim("io", 9) == []


# -- chores ------------------------------------------------------------------------------------


async def takes(store: Store) -> bool:
    return await store.db.write(nodes.take_chore, "tidy", store.node, LEASE_S)


async def test_a_chore_is_one_nodes_for_as_long_as_it_says(
    records: JobBackend, store: Store, other: Store
) -> None:
    assert await takes(store)
    assert not await takes(other)
    records.clock.move(LEASE_S - 1)
    assert not await takes(other)
    assert await takes(store)
    records.clock.move(LEASE_S - 1)
    assert not await takes(other)
    records.clock.move(1)
    assert await takes(other)
    assert not await takes(store)
    assert await other.db.write(nodes.take_chore, "sweep", other.node, LEASE_S)


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
async def test_a_clock_that_jumps_stops_no_chore(
    records: JobBackend, store: Store, other: Store, jump_s: float
) -> None:
    assert await takes(store)
    records.clock.move(jump_s)
    assert await takes(other)
    assert not await takes(store)
    records.clock.move(LEASE_S)
    assert await takes(store)


@pytest.mark.parametrize("how", ["leaves", "dies"])
async def test_the_chores_of_who_goes_are_free_at_once(
    store: Store, other: Store, how: str
) -> None:
    assert await takes(store)
    if how == "leaves":
        await store.db.write(outcome.leave, store.node)
    else:
        await bury(other, store)
    assert await takes(other)
