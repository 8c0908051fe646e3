"""A bucket that fails in every way: what is asked of it comes to its end, or to a sentence."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.blobs.base import BlobSettings
from app.blobs.objects import ObjectBlobStore
from app.errors import BlobMissing, StorageError
from app.model.blobs import Blob, new_key
from tests.contracts.test_blob_store import pieces, read
from tests.s3 import shared_s3, storage
from tests.torture.wire import BUSY, Wire

pytestmark = pytest.mark.anyio

BIG = random.Random(6).randbytes(6 << 20)
PLAIN = "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nConnection: close\r\n\r\n{said}"
SAID = "<Error><Code>{code}</Code><Message>Of a test.</Message></Error>"


def answer(status: str, code: str) -> bytes:
    return PLAIN.format(status=status, said=SAID.format(code=code)).encode()


FAULTS: Mapping[str, Mapping[str, Any]] = {
    "down": {"refusing": True},
    "busy": {"instead": BUSY},
    "broken": {"instead": answer("500 Internal Server Error", "InternalError")},
    "cut off": {"most_answered": 100},
    "nonsense": {"instead": b"\0\1\2\r\n\r\n"},
    "denied": {"instead": answer("403 Forbidden", "AccessDenied")},
    "vanished": {"instead": answer("404 Not Found", "NoSuchBucket")},
}
PASSING = ("down", "busy", "cut off")
"""What a client is right to try again."""


@pytest.fixture
def wire() -> Iterator[Wire]:
    host, _, port = shared_s3().removeprefix("http://").partition(":")
    with Wire.to((host, int(port))) as made:
        yield made


Opened = Callable[[float], Awaitable[ObjectBlobStore]]


@pytest.fixture
async def opened(anyio_backend: str, wire: Wire, tmp_path: Path) -> AsyncIterator[Opened]:
    """Open stores on one bucket, through the wire, that try again for so long."""
    stores: list[ObjectBlobStore] = []
    place = f"s3://tests/{secrets.token_hex(8)}"

    async def opened(retry_s: float) -> ObjectBlobStore:
        wanted = storage(f"http://127.0.0.1:{wire.port}", place, retry_s=retry_s, cache_bytes=0)
        settings = BlobSettings(min_free_bytes=0)
        stores.append(ObjectBlobStore(tmp_path / str(len(stores)), settings, wanted))
        await stores[-1].open()
        return stores[-1]

    yield opened
    for store in stores:
        await store.close()


def break_(wire: Wire, fault: str) -> None:
    for name, value in FAULTS[fault].items():
        setattr(wire, name, value)
    wire.cut()  # what is set holds for new connections


async def ranges(store: ObjectBlobStore, blob: Blob) -> bytes:
    reader = store.ranges(blob)
    try:
        await reader.check()
        return await reader.read(blob.size_bytes)
    finally:
        await reader.aclose()


@pytest.mark.parametrize("fault", PASSING)
async def test_what_passes_is_waited_for(opened: Opened, wire: Wire, fault: str) -> None:
    store = await opened(30)
    blob = await store.put(pieces(BIG), len(BIG))
    break_(wire, fault)
    at_work = asyncio.gather(
        read(store, blob), ranges(store, blob), store.put(pieces(BIG), len(BIG)), store.link(blob)
    )
    # More than a client gives up at that counts its tries.
    await asyncio.to_thread(wire.wait_for, wire.connections + 50)
    assert not at_work.done()
    wire.mend()
    local, remote, put, linked = await at_work
    assert local == remote == BIG
    assert await read(store, put) == await read(store, linked) == BIG


async def test_what_is_slow_is_waited_for(opened: Opened, wire: Wire) -> None:
    store = await opened(30)
    wire.delay_s = 0.01
    blob = await store.put(pieces(BIG), len(BIG))
    assert await read(store, blob) == BIG


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_does_not_pass_is_a_sentence_and_nothing_is_lost(
    opened: Opened, wire: Wire, fault: str
) -> None:
    store = await opened(0)
    blob = await store.put(pieces(BIG), len(BIG))
    break_(wire, fault)

    async def listed() -> list[list[str]]:
        return [page async for page in store.unused_since(0)]

    asked: Mapping[str, Callable[[], Awaitable[Any]]] = {
        "put": lambda: store.put(pieces(BIG), len(BIG)),
        "read": lambda: read(store, blob),
        "ranges": lambda: ranges(store, blob),
        "link": lambda: store.link(blob),
        "has": lambda: store.has(blob),
        "delete": lambda: store.delete(blob.key),
        "list": listed,
        "ready": store.check_writable,
    }
    for name, ask in asked.items():
        with pytest.raises(StorageError) as failed:
            await ask()
        # That stored bytes are gone for good is said of nothing that may come back.
        assert not isinstance(failed.value, BlobMissing), name
        assert failed.value.detail == "The object store could not be used.", name
        assert failed.value.retryable
        assert "\n" not in failed.value.log_detail
        assert failed.value.log_detail
    wire.mend()
    assert await read(store, blob) == BIG


async def test_what_is_gone_is_told_from_a_bucket_that_is(opened: Opened) -> None:
    store = await opened(0)
    blob = Blob(new_key(), 5, "text/plain", "0" * 64)
    for ask in (read, ranges):
        with pytest.raises(BlobMissing):
            await ask(store, blob)
    with pytest.raises(BlobMissing):
        await store.link(blob)
    assert not await store.has(blob)
    assert not await store.delete(blob.key)
