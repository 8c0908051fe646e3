"""What every blob store promises (`app/blobs/base.py`), put to each of them."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3

from app.blobs.base import BlobStore
from app.blobs.checked import BytesDiffer
from app.errors import BlobMissing, BodyTooLarge
from app.model.blobs import Blob, new_key
from tests.contracts.backends import BlobBackend

pytestmark = pytest.mark.anyio

MIB = 1 << 20
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0"
HOUR_S = 3600.0


async def pieces(content: bytes, size_bytes: int = 64 << 10) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size_bytes):
        yield content[start : start + size_bytes]


async def odd_pieces(content: bytes) -> AsyncIterator[bytes]:
    """Pieces as a network gives them: of any size, empty ones too."""
    sizes, start = random.Random(5), 0
    while start < len(content):
        size = sizes.choice([0, 1, 7, 4095, 65_537, 300_001, MIB + 3])
        yield content[start : start + size]
        start += size


def of(content: bytes) -> Blob:
    """What holds a content that is not stored yet."""
    return Blob(new_key(), len(content), "text/plain", hashlib.sha256(content).hexdigest())


async def put(blobs: BlobStore, content: bytes) -> Blob:
    return await blobs.put(pieces(content), len(content))


async def read(blobs: BlobStore, blob: Blob) -> bytes:
    async with blobs.local(blob) as path:
        return path.read_bytes()


async def unused(blobs: BlobStore, age_s: float) -> list[str]:
    return sorted([key async for batch in blobs.unused_since(age_s) for key in batch])


# -- storing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size_bytes", [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 5 * MIB])
async def test_what_is_stored_comes_back(
    bytes_room: BlobBackend, blobs: BlobStore, size_bytes: int
) -> None:
    content = random.Random(size_bytes).randbytes(size_bytes)
    blob = await blobs.put(odd_pieces(content), size_bytes)
    assert blob.digest == blob.sha256 == hashlib.sha256(content).hexdigest()
    assert blob.size_bytes == size_bytes
    assert await read(blobs, blob) == content
    assert bytes_room.stored() == [blob.key]
    assert bytes_room.leftovers() == []


@pytest.mark.parametrize("size_bytes", [0, 1, 5 * MIB])
async def test_what_nobody_asks_the_sha256_of_is_told_with_its_blake3(
    bytes_room: BlobBackend, blobs: BlobStore, size_bytes: int
) -> None:
    content = random.Random(size_bytes).randbytes(size_bytes)
    blob = await blobs.put(odd_pieces(content), size_bytes, sha256=False)
    assert blob.digest == f"b3-{blake3(content).hexdigest()}"
    assert blob.sha256 is None
    assert await read(blobs, blob) == content
    assert bytes_room.stored() == [blob.key]


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (PNG + b"x" * 2 * MIB, "image/png"),
        (b"plain words\n" * MIB, "text/plain"),
        (b"", "application/octet-stream"),
    ],
)
async def test_the_media_type_is_told_by_content_however_it_arrives(
    blobs: BlobStore, content: bytes, media_type: str
) -> None:
    async def first_bytes_one_by_one() -> AsyncIterator[bytes]:
        for start in range(min(len(content), 100)):
            yield content[start : start + 1]
        yield content[100:]

    assert (await blobs.put(first_bytes_one_by_one(), 1 << 30)).media_type == media_type
    assert (await put(blobs, content)).media_type == media_type


async def test_a_key_is_opaque_and_never_used_again(
    bytes_room: BlobBackend, blobs: BlobStore
) -> None:
    content = random.Random(1).randbytes(MIB + MIB // 2)
    made = await asyncio.gather(*(put(blobs, content) for _ in range(20)))
    keys = {blob.key for blob in made}
    assert len(keys) == 20
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in keys)
    assert {blob.digest for blob in made} == {hashlib.sha256(content).hexdigest()}
    assert set(bytes_room.stored()) == keys
    assert bytes_room.leftovers() == []
    assert await blobs.delete(made[0].key)  # and no other goes with it
    for blob in made[1:]:
        assert await read(blobs, blob) == content


@pytest.mark.parametrize("size_bytes", [0, 1, MIB, 6 * MIB])
@pytest.mark.parametrize("sha256", [True, False])
async def test_a_file_is_taken_under_a_key_that_it_has(
    bytes_room: BlobBackend, blobs: BlobStore, tmp_path: Path, size_bytes: int, sha256: bool
) -> None:
    content = random.Random(size_bytes).randbytes(size_bytes)
    file = tmp_path / "file"
    file.write_bytes(content)
    blob = (
        of(content) if sha256 else replace(of(content), digest=f"b3-{blake3(content).hexdigest()}")
    )
    assert not await blobs.has(blob)
    for _ in range(2):  # who is not sure does it again
        await blobs.take(file, blob)
    assert await blobs.has(blob)
    assert not await blobs.has(replace(blob, size_bytes=size_bytes + 1))
    assert await read(blobs, blob) == file.read_bytes() == content
    assert bytes_room.stored() == [blob.key]
    assert bytes_room.leftovers() == []


@pytest.mark.parametrize("size_bytes", [MIB, 11 * MIB])
async def test_a_file_that_is_not_what_it_was_is_not_taken(
    bytes_room: BlobBackend, blobs: BlobStore, tmp_path: Path, size_bytes: int
) -> None:
    content = random.Random(size_bytes).randbytes(size_bytes)
    file = tmp_path / "file"
    for damaged in (content[:-1], content + b"x", content[:-1] + b"?", b""):
        file.write_bytes(damaged)
        with pytest.raises(BytesDiffer):
            await blobs.take(file, of(content))
    assert (bytes_room.stored(), bytes_room.leftovers()) == ([], [])


@pytest.mark.parametrize("max_bytes", [0, 10, MIB, 3 * MIB])
async def test_one_byte_too_many_is_refused_and_leaves_nothing(
    bytes_room: BlobBackend, blobs: BlobStore, max_bytes: int
) -> None:
    asked = []

    async def endless() -> AsyncIterator[bytes]:
        for chunk in (b"x" * max_bytes, b"y", b"never asked for"):
            asked.append(chunk)
            yield chunk

    with pytest.raises(BodyTooLarge) as refusal:
        await blobs.put(endless(), max_bytes)
    assert refusal.value.extra == {"max_bytes": max_bytes}
    assert asked[-1] == b"y"
    assert (bytes_room.stored(), bytes_room.leftovers()) == ([], [])
    assert (await put(blobs, b"x" * max_bytes)).size_bytes == max_bytes


@pytest.mark.parametrize("sent_bytes", [0, 10, 2 * MIB + 5])
async def test_a_stream_that_breaks_leaves_nothing(
    bytes_room: BlobBackend, blobs: BlobStore, sent_bytes: int
) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        async for piece in pieces(b"x" * sent_bytes):
            yield piece
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await blobs.put(breaking(), 1 << 30)
    assert (bytes_room.stored(), bytes_room.leftovers()) == ([], [])


@pytest.mark.parametrize("sent_bytes", [0, 10, 2 * MIB + 5])
@pytest.mark.parametrize("times", [1, 5])
async def test_a_cancelled_upload_leaves_nothing(
    bytes_room: BlobBackend, blobs: BlobStore, sent_bytes: int, times: int
) -> None:
    all_sent = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        async for piece in pieces(b"x" * sent_bytes):
            yield piece
        all_sent.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(blobs.put(stalling(), 1 << 30))
    await all_sent.wait()
    for _ in range(times):  # as a cancel scope does it, again and again
        upload.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await upload
    await bytes_room.close()  # which waits for what is under way
    assert (bytes_room.stored(), bytes_room.leftovers()) == ([], [])


async def test_memory_stays_flat_while_a_large_body_is_stored(blobs: BlobStore) -> None:
    async def large() -> AsyncIterator[bytes]:
        for number in range(1024):
            yield bytes([number % 256]) * (64 << 10)

    await put(blobs, b"warm")
    tracemalloc.start()
    try:
        blob = await blobs.put(large(), 64 * MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert blob.size_bytes == 64 * MIB
    assert peak < 16 * MIB


# -- taking over -------------------------------------------------------------------------------


async def test_a_result_is_taken_over(bytes_room: BlobBackend, blobs: BlobStore) -> None:
    content = b"a result"
    blob = of(content)
    async with blobs.scratch() as folder:
        made = folder / "made"
        made.write_bytes(content)
        await blobs.adopt(made, blob)
        assert not made.exists()
    async with blobs.local(blob) as path:
        assert path.read_bytes() == content
    assert (bytes_room.stored(), bytes_room.leftovers()) == ([blob.key], [])


async def test_a_result_made_long_ago_has_its_full_grace_time(
    bytes_room: BlobBackend, blobs: BlobStore
) -> None:
    async with blobs.scratch() as folder:
        (folder / "made").write_bytes(b"x")
        bytes_room.clock.move(100 * HOUR_S)
        await blobs.adopt(folder / "made", of(b"x"))
    assert await unused(blobs, 1) == []


async def test_missing_bytes_are_named_as_such(blobs: BlobStore) -> None:
    missing = of(b"never stored")
    with pytest.raises(BlobMissing):
        async with blobs.local(missing):
            pass
    with pytest.raises(BlobMissing):
        await blobs.link(missing)
    assert not await blobs.delete(missing.key)


async def test_a_scratch_folder_is_empty_private_and_removed_after_an_error(
    bytes_room: BlobBackend, blobs: BlobStore
) -> None:
    async def fail() -> None:
        async with blobs.scratch() as folder, blobs.scratch() as other:
            assert folder != other
            assert list(folder.iterdir()) == []
            (folder / "deep" / "er").mkdir(parents=True)
            (folder / "deep" / "er" / "file").write_bytes(b"x")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await fail()
    assert bytes_room.leftovers() == []


@pytest.mark.parametrize("times", [1, 5])
async def test_a_scratch_folder_is_removed_when_its_user_is_cancelled(
    bytes_room: BlobBackend, blobs: BlobStore, times: int
) -> None:
    began = asyncio.Event()

    async def work() -> None:
        async with blobs.scratch() as folder:
            (folder / "half").write_bytes(b"x")
            began.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await began.wait()
    for _ in range(times):
        working.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(working, return_exceptions=True)
    await bytes_room.close()
    assert bytes_room.leftovers() == []


# -- room --------------------------------------------------------------------------------------


async def test_a_well_store_says_that_it_is_writable(
    bytes_room: BlobBackend, blobs: BlobStore
) -> None:
    await blobs.check_writable()
    assert bytes_room.leftovers() == []


# -- keeping house -----------------------------------------------------------------------------


async def test_what_is_old_is_found_and_what_is_younger_is_not(
    bytes_room: BlobBackend, blobs: BlobStore
) -> None:
    old = [(await put(blobs, b"old %d" % n)).key for n in range(20)]
    bytes_room.clock.move(1)
    young = await put(blobs, b"young")
    bytes_room.clock.move(HOUR_S - 1)
    assert await unused(blobs, HOUR_S) == sorted(old)
    for key in old:
        assert await blobs.delete(key)
        assert not await blobs.delete(key)
    assert bytes_room.stored() == [young.key]
    bytes_room.clock.move(1)
    assert await unused(blobs, HOUR_S) == [young.key]


async def test_what_is_deleted_can_be_read_to_the_end_by_who_has_opened_it(
    blobs: BlobStore,
) -> None:
    blob = await put(blobs, b"content")
    async with blobs.local(blob) as path:
        with path.open("rb") as reader:
            assert await blobs.delete(blob.key)
            assert reader.read() == b"content"
    with pytest.raises(BlobMissing):
        await read(blobs, blob)


async def test_linked_bytes_are_a_blob_of_their_own(
    bytes_room: BlobBackend, blobs: BlobStore
) -> None:
    first = await put(blobs, b"content")
    bytes_room.clock.move(HOUR_S)
    linked = await blobs.link(first)
    assert linked == replace(first, key=linked.key)
    assert linked.key != first.key
    assert linked.key not in await unused(blobs, HOUR_S)  # it has its full grace time
    assert await blobs.delete(first.key)
    assert await read(blobs, linked) == b"content"
    assert bytes_room.stored() == [linked.key]
    assert bytes_room.leftovers() == []
    with pytest.raises(BlobMissing):
        await blobs.link(first)


async def test_a_value_is_linked_without_the_store(
    bytes_room: BlobBackend, blobs: BlobStore
) -> None:
    small = replace(of(b"small"), value=b"small")
    linked = await blobs.link(small)
    assert (linked.value, linked.key != small.key) == (b"small", True)
    assert bytes_room.stored() == []


@pytest.mark.parametrize("sha256", [True, False])
async def test_what_is_saved_in_scratch_is_not_stored_before_it_is_adopted(
    bytes_room: BlobBackend, blobs: BlobStore, sha256: bool
) -> None:
    content = PNG + random.Random(1).randbytes(3 * MIB)
    async with blobs.scratch() as folder:
        made = await blobs.save(folder / "made", odd_pieces(content), 1 << 30, sha256=sha256)
        assert (folder / "made").read_bytes() == content
        assert (made.size_bytes, made.media_type) == (len(content), "image/png")
        assert made.digest == (await blobs.put(pieces(content), 1 << 30, sha256=sha256)).digest
        assert made.key not in bytes_room.stored()
        with pytest.raises(BodyTooLarge):
            await blobs.save(folder / "large", pieces(content), MIB)
        assert [path.name for path in folder.iterdir()] == ["made"]
        await blobs.adopt(folder / "made", made)
    assert await read(blobs, made) == content


# -- several processes -------------------------------------------------------------------------


async def test_a_second_process_takes_nothing_from_the_first(bytes_room: BlobBackend) -> None:
    blobs, gate = await bytes_room.open(), asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * MIB
        await gate.wait()

    upload = asyncio.create_task(blobs.put(halting(), 1 << 30))
    async with blobs.scratch() as folder:
        (folder / "half").write_bytes(b"x")
        other = await bytes_room.open()
        assert (folder / "half").read_bytes() == b"x"
        gate.set()
        assert await read(other, await upload) == b"x" * 3 * MIB


async def test_a_new_process_keeps_the_blobs_and_clears_what_a_dead_one_left(
    bytes_room: BlobBackend,
) -> None:
    blobs = await bytes_room.open()
    blob = await put(blobs, b"kept")
    sent = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield b"x" * (2 * MIB)
        yield b"x" * (2 * MIB)  # asked for when the first is being written
        sent.set()
        await asyncio.Event().wait()

    async with blobs.scratch() as folder:
        (folder / "half").write_bytes(b"x")
        upload = asyncio.create_task(blobs.put(stalling(), 1 << 30))
        await sent.wait()
        assert bytes_room.leftovers()
        bytes_room.crash()
        later = await bytes_room.open()
        assert bytes_room.leftovers() == []
        assert await read(later, blob) == b"kept"
        upload.cancel()
        await asyncio.gather(upload, return_exceptions=True)
