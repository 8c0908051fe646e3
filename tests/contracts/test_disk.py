"""What the disk store promises beyond the contract: the order of its writes, and its threads."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import app.ops.space
from app.blobs.disk import DiskBlobStore
from app.errors import StorageError, StorageFull
from app.model.blobs import Blob
from tests.contracts.backends import DiskBackend, files_end_at
from tests.contracts.test_blob_store import MIB, of, put, read

pytestmark = pytest.mark.anyio


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[DiskBackend]:
    made = DiskBackend(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def blobs(room: DiskBackend) -> DiskBlobStore:
    return await room.open()


Step = tuple[str, int]


@pytest.fixture
def steps(blobs: DiskBlobStore, monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """What has reached the disk: the inode of what was synced, or of what was renamed."""
    seen: list[Step] = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(descriptor: int) -> None:
        fsync(descriptor)
        status = os.fstat(descriptor)
        seen.append(("folder" if stat.S_ISDIR(status.st_mode) else "file", status.st_ino))

    def seen_replace(source: Path, target: Path) -> None:
        seen.append(("rename", source.stat().st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    return seen


async def expected(blobs: DiskBlobStore, blob: Blob) -> list[Step]:
    async with blobs.local(blob) as path:
        number, folder = path.stat().st_ino, path.parent.stat().st_ino
    return [("file", number), ("rename", number), ("folder", folder)]


async def test_bytes_are_synced_then_renamed_then_the_folder_is_synced(
    blobs: DiskBlobStore, steps: list[Step]
) -> None:
    blob = await put(blobs, b"x" * (MIB + 1))
    assert steps == await expected(blobs, blob)


async def test_a_result_is_synced_then_renamed_then_the_folder_is_synced(
    blobs: DiskBlobStore, steps: list[Step]
) -> None:
    blob = of(b"x")
    async with blobs.scratch() as folder:
        (folder / "made").write_bytes(b"x")
        await blobs.adopt(folder / "made", blob)
    assert steps == await expected(blobs, blob)


async def test_a_large_upload_is_brought_to_disk_while_it_arrives(
    blobs: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = Held(os.fdatasync)
    monkeypatch.setattr(os, "fdatasync", flush)
    arriving = asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * MIB
        arriving.set()

    storing = asyncio.create_task(blobs.put(halting(), 20 * MIB))
    await asyncio.to_thread(flush.began.wait)
    await arriving.wait()  # although what came first is still on its way to the disk
    flush.gate.set()
    assert await read(blobs, (await storing)) == b"x" * 20 * MIB


async def test_what_cannot_be_brought_to_disk_is_not_stored(
    room: DiskBackend, blobs: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "the disk")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(StorageError):
        await put(blobs, b"x" * 20 * MIB)
    assert room.stored() == []
    assert room.leftovers() == []


async def test_an_upload_canceled_while_it_is_brought_to_disk_leaves_nothing(
    room: DiskBackend, blobs: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = Held(os.fdatasync)
    monkeypatch.setattr(os, "fdatasync", flush)
    storing = asyncio.create_task(put(blobs, b"x" * 20 * MIB))
    await asyncio.to_thread(flush.began.wait)
    storing.cancel()
    await asyncio.sleep(0)
    flush.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert flush.ended.is_set()
    assert room.stored() == []
    assert room.leftovers() == []


class Held:
    """Stands in for a function of `os`: the first call waits in its thread until it is let go."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._first = True
        self.began = threading.Event()
        self.gate = threading.Event()
        self.ended = threading.Event()

    def __call__(self, *args: Any) -> Any:
        if not self._first:
            return self._function(*args)
        self._first = False
        self.began.set()
        self.gate.wait()
        try:
            return self._function(*args)
        finally:
            self.ended.set()


@pytest.mark.parametrize("times", [1, 5])
async def test_a_cancelled_upload_never_writes_into_another_ones_file(
    room: DiskBackend, blobs: DiskBlobStore, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    write = Held(os.write)
    monkeypatch.setattr(os, "write", write)
    cancelled = asyncio.create_task(put(blobs, b"bad" * MIB))
    await asyncio.to_thread(write.began.wait)
    for _ in range(times):
        cancelled.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([cancelled], timeout=0.1)  # it must not end before its thread does

    half_sent, resume = asyncio.Event(), asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        yield b"good" * MIB
        yield b"good" * MIB  # asked for when the first is being written
        half_sent.set()
        await resume.wait()

    # If the descriptor of the first were closed by now, this one would get it.
    other = asyncio.create_task(blobs.put(halting(), 8 * MIB))
    await half_sent.wait()
    write.gate.set()
    await asyncio.to_thread(write.ended.wait)
    resume.set()
    blob = await other
    assert await read(blobs, blob) == b"good" * 2 * MIB
    await asyncio.gather(cancelled, return_exceptions=True)
    await room.close()  # which waits for what is under way
    assert room.stored() == [blob.key]
    assert room.leftovers() == []


async def test_an_upload_cancelled_while_it_is_published_is_there_whole_or_not_at_all(
    room: DiskBackend, blobs: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = Held(os.fsync)
    monkeypatch.setattr(os, "fsync", fsync)
    cancelled = asyncio.create_task(put(blobs, b"content"))
    await asyncio.to_thread(fsync.began.wait)
    cancelled.cancel()
    await asyncio.sleep(0)
    fsync.gate.set()
    await asyncio.gather(cancelled, return_exceptions=True)
    await room.close()
    assert room.leftovers() == []
    blobs = await room.open()
    for key in room.stored():
        assert await read(blobs, replace(of(b"content"), key=key)) == b"content"


@pytest.mark.parametrize("size_bytes", [2 * MIB, 10 * MIB])
async def test_a_disk_that_takes_no_more_leaves_nothing_and_works_again_later(
    room: DiskBackend, blobs: DiskBlobStore, size_bytes: int
) -> None:
    with files_end_at(MIB):
        with pytest.raises(StorageError):
            await put(blobs, b"x" * size_bytes)
        assert (await put(blobs, b"small")).size_bytes == 5
    assert room.leftovers() == []
    assert (await put(blobs, b"x" * size_bytes)).size_bytes == size_bytes


async def test_no_space_left_is_told_apart_from_other_failures(
    room: DiskBackend, blobs: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        with Path("/dev/full").open("wb", buffering=0) as device:
            return device.write(b"x")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageFull):
            await put(blobs, b"x")
    assert (room.stored(), room.leftovers()) == ([], [])


async def test_a_folder_that_cannot_be_used_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("in the way")
    with pytest.raises(StorageError):
        await DiskBackend(tmp_path).open()


async def test_a_file_that_has_too_many_names_is_copied(
    room: DiskBackend, blobs: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.EMLINK, "so many names")

    blob = await put(blobs, b"content")
    monkeypatch.setattr(os, "link", full)
    linked = await blobs.link(blob)
    assert await blobs.delete(blob.key)
    assert await read(blobs, linked) == b"content"
    assert room.leftovers() == []


async def test_bytes_of_an_older_folder_are_where_they_were(
    room: DiskBackend, blobs: DiskBlobStore
) -> None:
    for key in ("ab" * 32, "b3-" + "cd" * 32):
        path = room.root / "objects" / key.removeprefix("b3-")[:2] / key
        path.write_bytes(b"older")
        assert await read(blobs, replace(of(b"older"), key=key)) == b"older"
        assert await blobs.delete(key)
        assert not path.exists()


async def test_room_that_was_laid_claim_to_and_is_not_used_is_given_back(
    blobs: DiskBlobStore,
) -> None:
    blob = await put(blobs, b"x" * (3 * MIB + 1))
    async with blobs.local(blob) as path:
        status = path.stat()
    assert status.st_size == 3 * MIB + 1
    assert status.st_blocks * 512 < 4 * MIB


async def test_a_file_system_that_lays_no_claims_is_written_to_all_the_same(
    blobs: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "posix_fallocate", unable)
    blob = await put(blobs, b"x" * 20 * MIB)
    assert await read(blobs, blob) == b"x" * 20 * MIB


async def test_a_result_is_taken_over_without_a_copy(blobs: DiskBlobStore) -> None:
    async with blobs.scratch() as folder:
        (folder / "made").write_bytes(b"a result")
        number = (folder / "made").stat().st_ino
        await blobs.adopt(folder / "made", blob := of(b"a result"))
    async with blobs.local(blob) as path:
        assert path.stat().st_ino == number


# -- room --------------------------------------------------------------------------------------


async def test_uploads_are_refused_below_the_free_space_floor(room: DiskBackend) -> None:
    blobs = await room.open(min_free_bytes=1 << 62)
    with pytest.raises(StorageFull):
        await put(blobs, b"x")
    with pytest.raises(StorageFull):
        await blobs.check_writable()
    assert (room.stored(), room.leftovers()) == ([], [])


async def test_what_is_told_of_room_names_the_setting_and_the_figures(
    room: DiskBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.ops.space, "free_bytes", lambda _: 1500)
    blobs = await room.open(min_free_bytes=1000)
    assert (await put(blobs, b"x" * 500)).size_bytes == 500
    for refused in (lambda: put(blobs, b"y" * 501), lambda: _space(blobs, 501)):
        with pytest.raises(StorageFull) as raised:
            await refused()
        assert "OFFLOAD_BLOBS_MIN_FREE_BYTES" in raised.value.detail
        assert raised.value.extra == {
            "free_bytes": 1500,
            "min_free_bytes": 1000,
            "needed_bytes": 1501,
        }
    assert room.leftovers() == []


async def _space(blobs: DiskBlobStore, size_bytes: int) -> None:
    blobs.check_space(size_bytes)


async def test_no_result_is_taken_over_below_the_free_space_floor(
    room: DiskBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.ops.space, "free_bytes", lambda _: 999)
    blobs = await room.open(min_free_bytes=1000)
    async with blobs.scratch() as folder:
        made = folder / "made"
        made.write_bytes(b"made")
        with pytest.raises(StorageFull):
            await blobs.adopt(made, of(b"made"))
    assert (room.stored(), room.leftovers()) == ([], [])
