"""Jobs that are submitted together: in one transaction, and each for itself all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.errors import IdempotencyMismatch, NotFound, OffloadError, QueueFull, StorageError
from app.model.chunks import Submitted
from app.model.jobs import NewItem, NewJob
from app.records import intake
from app.records.intake import Asked, Taker
from app.stores.together import Together
from tests.contracts.records import Store
from tests.contracts.test_job_store import new_job, upload

pytestmark = pytest.mark.anyio


async def submit(
    store: Store, *asked: NewJob | Asked, most: int = 99
) -> list[Submitted | OffloadError]:
    entries = [one if isinstance(one, Asked) else Asked(one) for one in asked]
    return await store.db.note(intake.submit_all, entries, most)


async def unfinished(store: Store) -> int:
    [row] = await store.db.read(lambda tx: tx.run("backlog"))
    return int(row["n"])


async def test_each_of_them_is_there_whole(store: Store) -> None:
    made = await submit(store, *(new_job(*map(upload, "ab"[: 1 + n % 2])) for n in range(5)))
    for n, one in enumerate(made):
        assert isinstance(one, Submitted)
        items, _ = await store.list_items(one.job.id)
        assert [item.name for item in items] == [f"{c}.txt" for c in "ab"[: 1 + n % 2]]
        assert one.job.counts.queued == len(items)
    assert len({one.job.id for one in made if isinstance(one, Submitted)}) == 5
    assert await unfinished(store) == 7
    assert len(await store.claim("cpu", 99)) == 7


async def test_who_is_refused_leaves_the_others_alone(store: Store) -> None:
    missing = new_job(NewItem(file_id="file_missing"))
    large = new_job(*map(upload, "abcdef"))
    small = new_job(upload("x"))
    made = await submit(store, small, missing, large, small, most=4)
    assert [type(one) for one in made] == [Submitted, NotFound, QueueFull, Submitted]
    assert await unfinished(store) == 2
    assert len(await store.claim("cpu", 99)) == 2


async def test_one_key_makes_one_job_also_among_those_that_come_together(store: Store) -> None:
    one = replace(new_job(upload("a")), idempotency_key="k", fingerprint="1")
    first, again, other, plain = await submit(
        store, one, replace(one), replace(one, fingerprint="2"), new_job(upload("b"))
    )
    assert isinstance(first, Submitted)
    assert isinstance(again, Submitted)
    assert (first.created, again.created) == (True, False)
    assert first.job.id == again.job.id
    assert isinstance(other, IdempotencyMismatch)
    assert isinstance(plain, Submitted)
    assert await unfinished(store) == 2


async def test_each_gives_its_taker_its_first_chunk(store: Store) -> None:
    cpu, io = Taker(store.node, "cpu"), Taker(store.node, "io")
    takers = {"a": cpu, "b": cpu, "c": None, "d": io}
    made = await submit(store, *(Asked(new_job(upload(n)), taker) for n, taker in takers.items()))
    chunks = [one.chunks for one in made if isinstance(one, Submitted)]
    names = [[claim.name for chunk in of_job for claim in chunk.claims] for of_job in chunks]
    assert names == [["a.txt"], ["b.txt"], [], []]
    assert sorted(claim.name for claim in await store.claim("cpu", 9)) == ["c.txt", "d.txt"]


async def test_nobody_who_was_given_up_for_dead_takes_anything(store: Store) -> None:
    made = await submit(store, Asked(new_job(upload("a")), Taker("node_gone", "cpu")))
    assert [one.chunks for one in made if isinstance(one, Submitted)] == [()]
    assert [claim.name for claim in await store.claim("cpu", 9)] == ["a.txt"]


async def test_a_client_with_many_waits_for_one_with_few(store: Store) -> None:
    many = [replace(new_job(*map(upload, "aaaa")), client="many") for _ in range(3)]
    await submit(store, *many, replace(new_job(upload("b")), client="few"))
    order = [claim.name for claim in await store.claim("cpu", 99)]
    assert order.index("b.txt") <= 4


# -- handing over --------------------------------------------------------------------------------


class Pen:
    """Writes numbers, all that come meanwhile at once; what is negative is refused."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.broken: set[int] = set()
        self.error: Exception = ValueError("broken")

    async def write(self, things: Sequence[int]) -> list[str | Exception]:
        self.groups.append(list(things))
        self.begun.set()
        await self.go_on.wait()
        if self.broken & set(things):
            raise self.error
        return [KeyError(thing) if thing < 0 else str(thing) for thing in things]


async def asked(together: Together[int, str], things: Sequence[int]) -> list[str | BaseException]:
    return await asyncio.gather(*map(together.ask, things), return_exceptions=True)


async def test_what_comes_while_it_writes_goes_together_next() -> None:
    pen = Pen()
    together = Together(pen.write, 4)
    first = asyncio.ensure_future(together.ask(0))
    await pen.begun.wait()
    others = asyncio.ensure_future(asked(together, [1, 2, -3, 4, 5]))
    await asyncio.sleep(0)
    pen.go_on.set()
    answers = await others
    assert await first == "0"
    assert pen.groups == [[0], [1, 2, -3, 4], [5]]
    assert isinstance(answers[2], KeyError)
    assert answers[:2] + answers[3:] == ["1", "2", "4", "5"]


async def test_who_breaks_it_pays_alone_and_who_has_left_is_written_too() -> None:
    pen = Pen()
    pen.broken = {2}
    together = Together(pen.write, 9)
    asking = [asyncio.ensure_future(together.ask(n)) for n in range(4)]
    await pen.begun.wait()
    asking[3].cancel()
    pen.go_on.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert answers[:2] == ["0", "1"]
    assert isinstance(answers[2], ValueError)
    assert pen.groups == [[0, 1, 2, 3], [0], [1], [2], [3]]


async def test_a_store_that_is_away_is_not_waited_for_by_each() -> None:
    pen = Pen()
    pen.broken, pen.error = set(range(9)), StorageError("away")
    pen.go_on.set()
    answers = await asked(Together(pen.write, 9), range(9))
    assert {type(answer) for answer in answers} == {StorageError}
    assert len(pen.groups) == 3
