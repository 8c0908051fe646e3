"""Limits that hold for all nodes: each has its share, and more when others have gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime

import pytest

from app.model.deliveries import Route
from app.model.shares import LEAST, WHOLE, Share, share_of
from app.outbound.pace import HostTurns
from app.outbound.turns import UNPROVEN_EACH, Turns

pytestmark = pytest.mark.anyio

ORIGIN = ("https", "origin.test", 443)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
HALVES = (Share(0, 2), Share(1, 2))


@pytest.mark.parametrize("nodes", range(1, 20))
@pytest.mark.parametrize("limit", [1, 2, 7, 16, 1000])
def test_shares_come_to_the_limit_and_leave_nobody_without(nodes: int, limit: int) -> None:
    ids = [f"{n:03}" for n in range(nodes)]
    shares = [share_of(one, ids).of(limit) for one in ids]
    assert sum(shares) == max(limit, nodes)
    assert max(shares) - min(shares) <= 1
    assert (WHOLE.of(limit), LEAST.of(limit)) == (limit, 1)
    assert share_of("a", []) == WHOLE


class Fetches:
    """Fetches that hold their turns until they may end."""

    def __init__(self, turns: HostTurns, count: int, **more: object) -> None:
        self.turns, self.more = turns, more
        self.held: Counter[int] = Counter()
        self.ends = [asyncio.Event() for _ in range(count)]
        self.tasks = [asyncio.create_task(self.fetch(n)) for n in range(count)]

    async def fetch(self, number: int) -> None:
        async with self.turns.turn(ORIGIN, **self.more):  # type: ignore[arg-type]
            self.held[number] = 1
            await self.ends[number].wait()
        del self.held[number]

    async def under_way(self) -> list[int]:
        for _ in range(5):
            await asyncio.sleep(0)
        return sorted(self.held)


async def test_two_nodes_together_are_as_polite_as_one() -> None:
    turns = [HostTurns(5), HostTurns(5)]
    for one, share in zip(turns, HALVES, strict=True):
        one.have(share)
    nodes = [Fetches(one, 10) for one in turns]
    assert [len(await node.under_way()) for node in nodes] == [3, 2]
    # One is gone: the other has all, those who have waited longest first.
    turns[0].have(WHOLE)
    assert await nodes[0].under_way() == [0, 1, 2, 3, 4]
    # And comes back: what is under way goes on, and what ends is not followed.
    turns[0].have(HALVES[0])
    for number in (0, 1):
        nodes[0].ends[number].set()
    assert await nodes[0].under_way() == [2, 3, 4]
    nodes[0].ends[2].set()
    assert await nodes[0].under_way() == [3, 4, 5]
    for node in nodes:
        for end in node.ends:
            end.set()
        await asyncio.gather(*node.tasks)
        assert len(node.turns) == 0


async def test_the_turns_of_a_batch_are_shared_too() -> None:
    turns = HostTurns(16)
    turns.have(HALVES[1])
    fetches = Fetches(turns, 6, batch="b", per_host=4)
    assert await fetches.under_way() == [0, 1]
    turns.have(WHOLE)
    assert await fetches.under_way() == [0, 1, 2, 3]
    for task in fetches.tasks:
        task.cancel()
    await asyncio.gather(*fetches.tasks, return_exceptions=True)
    assert len(turns) == 0


async def test_no_turn_is_lost_to_one_who_is_cancelled_as_it_is_given() -> None:
    turns = HostTurns(1)
    fetches = Fetches(turns, 3)
    assert await fetches.under_way() == [0]
    fetches.ends[0].set()
    await asyncio.sleep(0)  # the turn is the second one's, which does not know it yet
    fetches.tasks[1].cancel()
    assert await fetches.under_way() == [2]
    fetches.ends[2].set()
    async with AsyncExitStack() as stack:
        for task in fetches.tasks:
            stack.callback(task.cancel)
        with suppress(asyncio.CancelledError):
            await fetches.tasks[1]
        await fetches.tasks[2]
    assert len(turns) == 0


def test_what_one_receiver_gets_at_once_is_shared() -> None:
    turns = Turns(total=100, each=8)
    turns.have(HALVES[0])
    one = Route(0, "https://a.test", "https://a.test/hook")
    assert [turns.take(one) for _ in range(UNPROVEN_EACH)].count(True) == UNPROVEN_EACH // 2
    turns.give_back(one, quick=True)  # it is proven now
    assert [turns.take(one) for _ in range(8)].count(True) == 3
    assert one.lane in turns.busy(NOW)
    turns.have(WHOLE)
    assert turns.busy(NOW) == []
    assert [turns.take(one) for _ in range(8)].count(True) == 4
