"""What the operator is shown of a deployment, by either database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.errors import AttemptsExhausted, FetchTimeout
from app.model.chunks import Done, Ended, Failed
from app.records import ending, events, nodes, overview, tally
from tests.contracts.backends import JobBackend
from tests.contracts.records import Store
from tests.contracts.test_batches import batch, url
from tests.contracts.test_job_store import submitted, upload

pytestmark = pytest.mark.anyio

FAILED = Failed(FetchTimeout("It took too long.").problem())


async def look(store: Store) -> overview.Overview:
    return await store.db.read(overview.look)


async def end(store: Store, *worked: tuple[Done | Failed, float]) -> None:
    """End items that each took so long, on this node."""
    claims = await store.claim("cpu", len(worked))
    ended = [
        Ended(claim, what, worked_s) for claim, (what, worked_s) in zip(claims, worked, strict=True)
    ]
    assert len(await store.finish_all(ended)) == len(worked)


async def test_the_last_hour_is_a_series_by_code_and_older_counts_go(
    store: Store, records: JobBackend, one_item_a_chunk: None
) -> None:
    assert (await look(store)).succeeded is None
    job = await submitted(store, *(upload(f"{n}") for n in range(6)))
    await end(store, (Done((), {}), 0.25), (FAILED, 1.5))
    records.clock.move(60)
    await end(store, (Done((), {}), 2), (Done((), {}), 0.5))
    now = await look(store)
    assert now.succeeded is not None
    assert (now.succeeded.items, now.succeeded.series[-2:]) == (3, [1, 2])
    assert (len(now.succeeded.series), sum(now.succeeded.worked_ms)) == (tally.STEPS, 2750)
    assert now.since == now.at.replace(second=0, microsecond=0) - timedelta(minutes=59)
    [failures] = now.failures
    assert (failures.code, failures.ends.series[-2:]) == (FAILED.problem.code, [1, 0])
    assert failures.example is not None
    assert (failures.example.job_id, failures.example.idx) == (job.id, 1)
    # Of each minute and code the slowest, the slowest of all first.
    assert [(one.item.idx, one.worked_ms, one.code) for one in now.slowest] == [
        (2, 2000, ""),
        (1, 1500, FAILED.problem.code),
        (0, 250, ""),
    ]
    assert now.slowest[0].item.job_id == job.id

    records.clock.move(3600)
    later = await look(store)
    assert (later.succeeded, later.failures, later.slowest) == (None, [], [])
    records.clock.move(7200)
    while await store.db.write(ending.purge):
        pass
    assert records.select("SELECT count(*) FROM tally") == [(0,)]


async def test_what_all_nodes_ended_is_one_series(
    store: Store, records: JobBackend, one_item_a_chunk: None
) -> None:
    other = await records.open()
    await submitted(store, *(upload(f"{n}") for n in range(5)))
    await end(store, (Done((), {}), 0.5), (Done((), {}), 0.1))
    await end(other, (Done((), {}), 0.75), (Done((), {}), 0.1), (FAILED, 0.1))
    now = await look(store)
    assert now.succeeded is not None
    assert (now.succeeded.series[-1], now.succeeded.worked_ms[-1]) == (4, 1450)
    assert [one.worked_ms for one in now.slowest] == [750, 500, 100]
    assert {node.id for node in now.nodes} == {store.node, other.node}
    # Each has rows of its own: none waits for another's.
    assert records.select("SELECT count(DISTINCT node) FROM tally") == [(2,)]


async def test_what_is_void_and_what_is_canceled_is_not_counted(store: Store) -> None:
    job = await submitted(store, upload("a"), upload("b"))
    claims = await store.claim("cpu", 1)
    await store.cancel(job.id)
    assert await store.finish_all([Ended(claim, Done((), {})) for claim in claims]) == set()
    assert (await look(store)).succeeded is None


async def test_what_waits_and_what_is_under_way_is_shown_by_client(
    store: Store, one_item_a_chunk: None
) -> None:
    await submitted(store, *(upload(f"{n}") for n in range(3)))
    urls = (await store.submit(batch(*(url(n) for n in range(2))))).job
    [claim] = await store.claim("cpu", 1)
    now = await look(store)
    assert [(one.lane, one.items) for one in now.waiting] == [("cpu", 2), ("io", 2)]
    assert sum(now.clients.values()) == 5
    assert {one.client for one in now.waiting} == set(now.clients)
    [work] = now.under_way
    assert (work.node, work.job_id, work.items) == (store.node, claim.job_id, 1)
    assert (work.first_index, work.last_index, work.started_at) == (0, 0, None)
    await store.began([(claim, 0.2)])
    assert (await look(store)).under_way[0].started_at is not None
    assert urls.id != work.job_id


async def test_a_node_is_shown_with_what_it_says(store: Store) -> None:
    told = {"workers": 2, "disk_free_bytes": 1 << 40, "version": "1", "process_memory_bytes": None}
    assert await store.db.write(nodes.beat, store.node, told)
    [node] = (await look(store)).nodes
    assert (node.id, node.told, sorted(node.roles)) == (store.node, told, ["api", "work"])


async def test_an_event_that_was_given_up_is_shown_until_it_is_sent_again(store: Store) -> None:
    said = {"client": "shop", "event": "job.failed", "data": "{}", "url": "https://x.example/hook"}
    problem = AttemptsExhausted("It never answered.").problem()
    gone = await store.db.write(events.insert, **said, problem=problem)
    now = (await look(store)).deliveries
    [(client, dead)] = now.latest_dead
    assert (now.pending, now.sending, now.dead, now.due_at) == (0, 0, 1, None)
    assert (client, dead.id, dead.problem) == ("shop", gone, problem)
    await store.outbox.replay(gone)
    [route] = await store.outbox.due((), None)
    now = (await look(store)).deliveries
    assert (now.pending, now.dead, now.latest_dead) == (1, 0, [])
    assert now.due_at is not None
    await store.outbox.claim([route.key])
    now = (await look(store)).deliveries
    assert (now.pending, now.sending) == (0, 1)
