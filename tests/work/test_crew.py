"""A whole runtime at work, on a real pool, real records and a real disk; and parts that fail."""

from __future__ import annotations

import asyncio
import gzip
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from structlog.testing import capture_logs

from app.blobs.keeping import nothing_removed
from app.blobs.unrecorded import Unrecorded
from app.cpu import CpuPool, PoolSettings
from app.errors import StorageError, StorageFull
from app.main import chores_of
from app.model.blobs import File, NamedBlob
from app.model.jobs import Counts, Item, ItemStatus, Job, JobStatus, NewItem, NewJob, Progress, Step
from app.records import ending, files
from app.runtime import Runtime, open_runtime
from app.settings import Settings
from app.stores.base import Database
from app.work.crew import Crew
from tests.contracts.records import Store
from tests.work.pool_tasks import Gate

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("plugin_installed")]

COPY = Step("misbehave", {"how": "copy"})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        drain_timeout_s=0,
        pool={"workers": 2},
        blobs={"min_free_bytes": 0},
        fetch={"allow_networks": ["127.0.0.1/32"], "retries": 0},
    )


@pytest.fixture
def childless(settings: Settings) -> Settings:
    """For what works nothing: records and bytes."""
    return settings.model_copy(update={"roles": ("api",)})


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


def jobs_of(runtime: Runtime) -> Store:
    """Give a runtime's records, a method a rule."""
    return Store(runtime.database, 100_000)  # type: ignore[arg-type]


class FailingDatabase:
    """A database whose disk is full for the first so many calls of one rule."""

    def __init__(self, inner: Database, on: str, times: int) -> None:
        self._inner = inner
        self._on = on
        self.left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def write(self, rule: Callable[..., Any], *args: Any) -> Any:
        if rule.__name__ == self._on and self.left > 0:
            self.left -= 1
            raise StorageFull("The disk is full.")
        return await self._inner.write(rule, *args)

    note = write

    def alongside(self) -> FailingDatabase:
        return self


@pytest.fixture
def lent_pool(pool: CpuPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a runtime use the children that the module shares, and leave them open."""
    for name in ("open", "close"):
        monkeypatch.setattr(pool, name, AsyncMock())
    monkeypatch.setattr("app.runtime.CpuPool", lambda _: pool)


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncIterator[Runtime]:
    async with open_runtime(settings) as runtime, Crew(runtime):
        yield runtime


async def submit(runtime: Runtime, *contents: bytes, steps: tuple[Step, ...] = (COPY,)) -> Job:
    items = []
    for number, content in enumerate(contents):
        blob = await runtime.blobs.put(once(content), len(content))
        items.append(NewItem(upload=NamedBlob(blob, f"{number}.txt")))
    new = NewJob(client="shop", steps=steps, items=tuple(items), retention_s=3600)
    return (await runtime.submissions.submit(new)).job


async def once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def ended(runtime: Runtime, job: Job) -> tuple[Job, list[Item]]:
    async with asyncio.timeout(60):
        while not job.status.done:
            job = await runtime.changed(job.id, job.seq, 60) or job
    items, _ = await jobs_of(runtime).list_items(job.id)
    return job, items


async def result_of(runtime: Runtime, item: Item) -> bytes:
    [file] = item.results
    found = await runtime.database.look(files.get, file.id)
    assert found is not None
    if found.blob.value is not None:
        return found.blob.value
    async with runtime.blobs.local(file.blob) as path:
        return path.read_bytes()


def leftovers(settings: Settings) -> list[Path]:
    return list((settings.data_dir / "blobs" / "work").glob("*/*"))


@pytest.mark.usefixtures("lent_pool")
async def test_an_item_passes_through_all_steps_wherever_they_run(settings: Settings) -> None:
    steps = (COPY, Step("in_thread"), Step("compress", {"format": "gzip"}))
    async with at_work(settings) as runtime:
        job, items = await ended(runtime, await submit(runtime, b"a" * 999, b"b", steps=steps))
        assert job.status is JobStatus.SUCCEEDED
        for item, content in zip(items, (b"a" * 999, b"b"), strict=True):
            assert gzip.decompress(await result_of(runtime, item)) == content
            assert item.facts["misbehave"]["by"] != os.getpid()
            assert item.facts["in_thread"]["by"] != "MainThread"
            assert set(item.facts) == {"misbehave", "in_thread", "compress"}
            assert item.results[0].name == f"{item.index}.txt.gz"
        assert leftovers(settings) == []


@pytest.mark.usefixtures("lent_pool")
async def test_items_are_joined_with_their_parts_and_without_what_failed(
    settings: Settings, origin: str
) -> None:
    cut, glue = Step("cut"), Step("glue")
    steps = (Step("fetch"), cut, glue, Step("compress"))
    urls = [f"{origin}/7", f"{origin}/missing"]
    async with at_work(settings) as runtime:
        blob = await runtime.blobs.put(once(b"one\nbad\ntwo"), 1000)
        items = (
            *(NewItem(url=url) for url in urls),
            NewItem(upload=NamedBlob(blob, "lines.txt")),
        )
        new = NewJob(client="shop", steps=steps, items=items, retention_s=3600, join_at=2)
        job, told = await ended(runtime, (await runtime.submissions.submit(new)).job)
        assert (job.status, job.counts) == (JobStatus.PARTIAL, Counts(succeeded=3, failed=1))
        packed = await result_of(runtime, told[3])
        assert gzip.decompress(packed) == b"0.txt page 7\n0.txt one\n2.txt two"
        assert told[3].facts["glue"] == {"inputs": 3}
        assert [part.name for part in told[2].refused] == ["line 1"]
        assert leftovers(settings) == []


@pytest.mark.usefixtures("lent_pool")
async def test_files_are_joined_as_they_came(settings: Settings) -> None:
    async with at_work(settings) as runtime:
        blobs = [await runtime.blobs.put(once(text), 1000) for text in (b"b", b"a")]
        items = tuple(NewItem(upload=NamedBlob(blob, f"{n}.txt")) for n, blob in enumerate(blobs))
        new = NewJob(client="shop", steps=(Step("glue"),), items=items, retention_s=3600, join_at=0)
        job, told = await ended(runtime, (await runtime.submissions.submit(new)).job)
        assert job.status is JobStatus.SUCCEEDED
        assert await result_of(runtime, told[2]) == b"0.txt b\n1.txt a"


@pytest.mark.usefixtures("lent_pool")
async def test_a_join_of_nothing_says_so(settings: Settings, origin: str) -> None:
    async with at_work(settings) as runtime:
        steps = (Step("fetch"), Step("glue"))
        items = (NewItem(url=f"{origin}/missing"),)
        new = NewJob(client="shop", steps=steps, items=items, retention_s=3600, join_at=1)
        job, told = await ended(runtime, (await runtime.submissions.submit(new)).job)
        assert job.status is JobStatus.FAILED
        assert told[1].problem is not None
        assert told[1].problem.code == "input.none_left"


@pytest.mark.usefixtures("lent_pool")
async def test_a_running_item_shows_how_far_it_is(settings: Settings, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    os.mkfifo(f"{gate}.began")
    step = Step("misbehave", {"how": "wait", "pipe": str(gate)})
    async with at_work(settings) as runtime:
        job = await submit(runtime, b"a", steps=(step,))
        await asyncio.to_thread(Path(f"{gate}.began").read_text)
        items, _ = await jobs_of(runtime).list_items(job.id)
        while items[0].progress is None:
            job = await runtime.changed(job.id, job.seq, 60) or job
            items, _ = await jobs_of(runtime).list_items(job.id)
        assert items[0].progress == Progress(3, 10)
        await asyncio.to_thread(gate.write_bytes, b"")
        job, items = await ended(runtime, job)
        assert items[0].progress is None


async def test_who_waits_for_a_worker_is_queued(settings: Settings, gate: Gate) -> None:
    settings = settings.model_copy(update={"pool": PoolSettings(workers=1)})
    step = Step("misbehave", {"how": "wait", "pipe": str(gate.path)})
    async with at_work(settings) as runtime:
        job = await submit(runtime, b"a", b"b", b"c", steps=(step,))
        for over in range(3):
            await gate.began()
            while (now := await jobs_of(runtime).get_job(job.id)) and not now.counts.running:
                await runtime.changed(job.id, now.seq, 60)
            # All three are in hand, and one at a time is at work.
            assert now
            assert now.counts == Counts(queued=2 - over, running=1, succeeded=over)
            items, _ = await jobs_of(runtime).list_items(job.id)
            assert [item.status.value for item in items] == (
                ["succeeded"] * over + ["running"] + ["queued"] * (2 - over)
            )
            assert [item.started_at is not None for item in items] == (
                [True] * (over + 1) + [False] * (2 - over)
            )
            await gate.open()
            while now.counts.succeeded == over:
                now = await runtime.changed(job.id, now.seq, 60) or now
        _, items = await ended(runtime, job)
        began = [item.started_at for item in items if item.started_at]
        assert began == sorted(set(began))
        assert len(began) == 3


@pytest.mark.usefixtures("lent_pool")
async def test_a_url_is_fetched_and_goes_on_through_the_steps(
    settings: Settings, origin: str
) -> None:
    async with at_work(settings) as runtime:
        urls = [f"{origin}/7", f"{origin}/missing", f"{origin}/8"]
        items = tuple(NewItem(url=url) for url in urls)
        new = NewJob(client="shop", steps=(Step("fetch"), COPY), items=items, retention_s=3600)
        job, told = await ended(runtime, (await runtime.submissions.submit(new)).job)
        assert job.status is JobStatus.PARTIAL
        assert await result_of(runtime, told[0]) == b"page 7"
        assert told[0].results[0].name == "7"
        assert {"fetch", "misbehave"} == set(told[0].facts)
        assert told[1].problem is not None
        assert told[1].problem.code == "fetch.status"
        assert await result_of(runtime, told[2]) == b"page 8"


@pytest.mark.usefixtures("lent_pool")
async def test_an_item_that_kills_its_worker_fails_alone(settings: Settings) -> None:
    step = Step("misbehave", {"how": "die_if_poison"})
    contents = [b"good"] * 3 + [b"poison"] + [b"good"] * 3
    async with at_work(settings) as runtime:
        job, items = await ended(runtime, await submit(runtime, *contents, steps=(step,)))
        assert job.counts == Counts(succeeded=6, failed=1)
        assert items[3].problem is not None
        assert items[3].problem.code == "internal.worker_lost"
        assert await result_of(runtime, items[0]) == b"good"
        assert leftovers(settings) == []


@pytest.mark.usefixtures("lent_pool")
async def test_what_an_item_fails_with_is_recorded(settings: Settings) -> None:
    async with at_work(settings) as runtime:
        with capture_logs() as logged:
            raising = await submit(runtime, b"x", steps=(Step("misbehave", {"how": "raise"}),))
            _, [raised] = await ended(runtime, raising)
        [told] = [line for line in logged if line["event"] == "item_failed"]
        assert (told["log_level"], told["code"]) == ("error", "internal.operation")
        assert "_Unpicklable" in told["detail"]
        objects = settings.data_dir / "blobs" / "objects"
        [input_] = {path for path in objects.rglob("*") if path.is_file()}
        input_.unlink()
        new = NewJob(
            client="shop",
            steps=(COPY,),
            items=(NewItem(file_id=raised.file_id),),
            retention_s=3600,
        )
        _, [missing] = await ended(runtime, (await runtime.submissions.submit(new)).job)
        codes = [item.problem.code for item in (raised, missing) if item.problem]
        assert codes == ["internal.operation", "storage.missing"]


@pytest.mark.usefixtures("lent_pool")
async def test_a_result_that_cannot_be_written_down_fails_its_item_and_no_other(
    settings: Settings,
) -> None:
    async with at_work(settings) as runtime:
        job = await submit(runtime, b"x", steps=(Step("misbehave", {"how": "unsayable"}),))
        _, [item] = await ended(runtime, job)
        assert item.problem is not None
        assert item.problem.code == "internal.operation"
        job, _ = await ended(runtime, await submit(runtime, b"y"))
        assert job.status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("rule", ["take", "_finish_and_take"])
@pytest.mark.usefixtures("lent_pool")
async def test_work_goes_on_when_a_full_disk_has_room_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    monkeypatch.setattr("app.work.loop.RETRY_S", 0.01)
    async with open_runtime(settings) as runtime:
        failing = FailingDatabase(runtime.database, rule, times=3)
        job = await submit(runtime, b"a", b"b")
        async with Crew(replace(runtime, database=failing)) as crew:  # type: ignore[arg-type]
            job, items = await ended(runtime, job)
            assert crew.chunks.alive
        assert failing.left == 0
        assert job.status is JobStatus.SUCCEEDED
        assert [item.attempt for item in items] == [1, 1]
        assert await result_of(runtime, items[1]) == b"b"


async def test_items_that_the_store_cannot_take_back_are_run_by_the_next_service(
    settings: Settings, gate: Gate
) -> None:
    async with open_runtime(settings) as runtime:
        failing = FailingDatabase(runtime.database, "give_back", times=1)
        async with Crew(replace(runtime, database=failing)):  # type: ignore[arg-type]
            step = Step("misbehave", {"how": "wait", "pipe": gate.path})
            job = await submit(runtime, b"x", steps=(step,))
            await gate.began()
        assert failing.left == 0
    async with at_work(settings) as runtime:
        await gate.pass_one()
        job, _ = await ended(runtime, job)
        assert job.status is JobStatus.SUCCEEDED


@pytest.mark.usefixtures("lent_pool")
async def test_a_cancelled_item_is_over_at_once_and_its_late_outcome_is_void(
    settings: Settings, gate: Gate
) -> None:
    async with at_work(settings) as runtime:
        step = Step("misbehave", {"how": "wait", "pipe": gate.path})
        job = await submit(runtime, b"x", steps=(step,))
        await gate.began()
        await runtime.database.write(ending.cancel, job.id)
        job, [item] = await ended(runtime, job)
        assert (job.status, item.status) == (JobStatus.CANCELED, ItemStatus.CANCELED)
        await gate.open()
        # Both workers are free again, and what the ghost made is nowhere.
        await ended(runtime, await submit(runtime, *(b"%d" % n for n in range(8))))
        assert await ended(runtime, job) == (job, [item])
        assert leftovers(settings) == []


@pytest.mark.usefixtures("lent_pool")
async def test_a_deleted_job_stops_and_leaves_no_trace(settings: Settings, gate: Gate) -> None:
    async with at_work(settings) as runtime:
        step = Step("misbehave", {"how": "wait", "pipe": gate.path})
        job = await submit(runtime, b"x", steps=(step,))
        await gate.began()
        await runtime.database.write(ending.delete, job.id)
        await gate.open()
        assert await jobs_of(runtime).get_job(job.id) is None
        await ended(runtime, await submit(runtime, *(b"%d" % n for n in range(8))))
        assert await jobs_of(runtime).list_items(job.id) == ([], None)
        assert leftovers(settings) == []


async def test_items_that_run_at_shutdown_are_finished_by_the_next_service(
    settings: Settings, gate: Gate
) -> None:
    waiting = Step("misbehave", {"how": "wait", "pipe": gate.path})
    async with open_runtime(settings) as runtime:
        async with Crew(runtime):
            job = await submit(runtime, b"x", steps=(waiting,))
            await gate.began()
        stopped = await jobs_of(runtime).get_job(job.id)
        assert stopped is not None
        assert (stopped.status, stopped.counts) == (JobStatus.QUEUED, Counts(queued=1))
        assert leftovers(settings) == []

    async with at_work(settings) as runtime:
        await gate.pass_one()
        job, items = await ended(runtime, job)
        assert job.status is JobStatus.SUCCEEDED
        assert [await result_of(runtime, item) for item in items] == [b"x"]
        assert items[0].attempt > 1


async def test_bytes_without_a_record_go_after_the_grace_time_and_no_others(
    childless: Settings,
) -> None:
    async with open_runtime(childless) as runtime:
        chores = chores_of(runtime)
        names = ("input", "stored", "orphan", "fresh orphan")
        kept, stored, orphan, fresh = [
            await runtime.blobs.put(once(name.encode()), 99) for name in names
        ]
        item = NewItem(upload=NamedBlob(kept, "n"))
        await runtime.submissions.submit(NewJob("shop", (COPY,), (item,), retention_s=60))
        file = await jobs_of(runtime).add_file("shop", NamedBlob(stored, "n"), 60)
        old = time.time() - childless.blobs.grace_s - 1
        for blob in (kept, stored, orphan):
            os.utime(childless.data_dir / "blobs" / "objects" / blob.key[:2] / blob.key, (old, old))

        async def left() -> set[str]:
            listed = [key async for keys in runtime.blobs.unused_since(-60) for key in keys]
            return set(listed)

        await chores.sweep()
        assert await left() == {kept.key, stored.key, fresh.key}
        await jobs_of(runtime).delete_file(file.id)
        await chores.sweep()
        assert await left() == {kept.key, fresh.key}


async def stored_keys(runtime: Runtime) -> set[str]:
    return {key async for keys in runtime.blobs.unused_since(-60) for key in keys}


async def test_the_bytes_of_what_is_deleted_or_expired_go_without_a_grace(
    childless: Settings,
) -> None:
    async with open_runtime(childless) as runtime:
        chores = chores_of(runtime)
        names = ("deleted", "expired", "input", "shared", "orphan")
        deleted, expired, given, shared, orphan = [
            NamedBlob(await runtime.blobs.put(once(name.encode()), 99), name) for name in names
        ]
        one = await jobs_of(runtime).add_file("shop", deleted, 3600)
        await jobs_of(runtime).add_file("shop", expired, 0)
        items = (NewItem(upload=given), NewItem(upload=shared))
        job = (await runtime.submissions.submit(NewJob("shop", (COPY,), items, retention_s=60))).job
        await jobs_of(runtime).add_file("bank", shared, 3600)
        everything = {named.blob.key for named in (deleted, given, shared, orphan)}
        await chores.tidy()
        assert await stored_keys(runtime) == everything
        await jobs_of(runtime).delete_file(one.id)
        await runtime.database.write(ending.delete, job.id)
        await chores.tidy()
        assert await stored_keys(runtime) == {shared.blob.key, orphan.blob.key}


async def test_what_is_stored_while_another_goes_stays(childless: Settings) -> None:
    async with open_runtime(childless) as runtime:
        chores = chores_of(runtime)

        async def store() -> File:
            async with runtime.unrecorded() as stored:
                blob = await stored.put(once(b"contested"), 99)
                await chores.tidy()  # no record names it yet
                file = await jobs_of(runtime).add_file("shop", NamedBlob(blob, "n"), 3600)
                stored.recorded([blob])
            return file

        # However they fall together: what has a record has its bytes, and nothing else is there.
        for _ in range(10):
            file = await store()
            await jobs_of(runtime).delete_file(file.id)
            kept, _ = await asyncio.gather(store(), chores.tidy())
            await chores.tidy()
            assert await stored_keys(runtime) == {kept.blob.key}
            await jobs_of(runtime).delete_file(kept.id)


async def test_what_was_deleted_during_a_backup_goes_after_it(childless: Settings) -> None:
    async with open_runtime(childless) as runtime:
        chores = chores_of(runtime)
        given = NamedBlob(await runtime.blobs.put(once(b"some"), 99), "n")
        file = await jobs_of(runtime).add_file("shop", given, 3600)
        with nothing_removed(childless.data_dir / "blobs"):
            await jobs_of(runtime).delete_file(file.id)
            await chores.tidy()
            assert await stored_keys(runtime) == {given.blob.key}
        await chores.tidy()
        assert await stored_keys(runtime) == set()


async def test_what_failed_before_it_had_a_record_leaves_nothing(childless: Settings) -> None:
    async with open_runtime(childless) as runtime:
        chores = chores_of(runtime)
        with suppress(ZeroDivisionError):
            async with runtime.unrecorded() as stored:
                await stored.put(once(b"some"), 99)
                raise ZeroDivisionError
        assert await stored_keys(runtime)
        await chores.tidy()
        assert await stored_keys(runtime) == set()


async def test_what_a_record_names_stays_although_its_caller_was_not_told(
    childless: Settings,
) -> None:
    """A caller that goes away does not undo its submission."""
    async with open_runtime(childless) as runtime:
        chores = chores_of(runtime)

        async def call() -> None:
            async with runtime.unrecorded() as stored:
                named = NamedBlob(await stored.put(once(b"some"), 99), "n")
                new = NewJob("shop", (COPY,), (NewItem(upload=named),), retention_s=60)
                submitting = asyncio.ensure_future(runtime.submissions.submit(new))
                await asyncio.sleep(0)
                asyncio.current_task().cancel()
                await asyncio.shield(submitting)

        await asyncio.gather(call(), return_exceptions=True)
        await chores.tidy()
        [job], _ = await jobs_of(runtime).list_jobs("shop")
        [item], _ = await jobs_of(runtime).list_items(job.id)
        assert await stored_keys(runtime) == {item.blob.key}


async def test_what_cannot_be_told_to_the_records_waits_for_its_grace(childless: Settings) -> None:
    async def full(_: list[str]) -> None:
        raise StorageFull("The disk is full.")

    async with open_runtime(childless) as runtime:
        async with Unrecorded(runtime.blobs, full) as stored:
            blob = await stored.put(once(b"some"), 99)
        assert await stored_keys(runtime) == {blob.key}


async def test_a_second_service_on_the_same_data_folder_is_refused(settings: Settings) -> None:
    async with open_runtime(settings):
        with pytest.raises(StorageError, match="Another service runs on OFFLOAD_DATA_DIR"):
            async with open_runtime(settings):
                pass
    async with open_runtime(settings):
        pass


async def test_a_data_folder_that_cannot_be_used_is_named(settings: Settings) -> None:
    settings.data_dir.write_text("in the way")
    with pytest.raises(StorageError, match=r"OFFLOAD_DATA_DIR .*data cannot be used"):
        async with open_runtime(settings):
            pass
