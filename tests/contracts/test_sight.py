"""What whoever watches a deployment is told of it, by either database."""

from __future__ import annotations

import pytest

from app.records import sight
from tests.contracts.backends import JobBackend
from tests.contracts.records import Store
from tests.contracts.test_batches import batch, url
from tests.contracts.test_job_store import submitted, upload

pytestmark = pytest.mark.anyio


async def test_what_waits_is_counted_by_lane_and_the_oldest_is_told(
    store: Store, records: JobBackend, monkeypatch: pytest.MonkeyPatch, one_item_a_chunk: None
) -> None:
    before = await store.db.read(sight.look)
    assert before.unfinished_items == 0
    assert set(before.lanes.values()) == {sight.Depth(0, 0, 0.0)}
    assert before.nodes == {"api": 1, "work": 1}

    await submitted(store, *(upload(f"{n}") for n in range(5)))
    await store.submit(batch(*(url(n) for n in range(2))))
    records.clock.move(60)
    now = await store.db.read(sight.look)
    assert now.unfinished_items == 7
    assert {lane: (d.chunks, d.items) for lane, d in now.lanes.items()} == {
        "cpu": (5, 5),
        "io": (2, 2),
    }
    await store.claim("io", 2)
    monkeypatch.setattr(sight, "LOOKED_AT", 3)
    then = await store.db.read(sight.look)
    assert then.unfinished_items == 7
    assert then.lanes["io"] == sight.Depth(0, 0, 0.0)
    assert then.lanes["cpu"][:2] == (3, 3)
    assert then.lanes["cpu"].oldest_s == 60
