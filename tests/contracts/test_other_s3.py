"""The blob store on an S3 server of another make: what it asks for is S3, and not one server's."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import obstore
import pytest

from app.blobs.base import BlobSettings
from app.blobs.objects import ObjectBlobStore
from app.errors import BlobMissing, StorageError
from app.model.blobs import Blob, new_key
from tests.contracts.test_blob_store import odd_pieces, read, unused
from tests.s3 import MOTO, bucket_of, moto_server, storage

pytestmark = pytest.mark.anyio

BIG = random.Random(8).randbytes(11 << 20)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not MOTO.exists():
        pytest.skip("moto is not installed: `make test` does that")
    with moto_server(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
async def store(anyio_backend: str, url: str, tmp_path: Path) -> AsyncIterator[ObjectBlobStore]:
    made = opened(url, tmp_path)
    await made.open()
    yield made
    await made.close()


def opened(url: str, folder: Path, bucket: str = "tests") -> ObjectBlobStore:
    wanted = storage(url, f"s3://{bucket}/{folder.name}", retry_s=0, cache_bytes=0)
    return ObjectBlobStore(folder, BlobSettings(min_free_bytes=0), wanted)


async def asked(method: str, url: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.request(method, url)
    assert answer.is_success, answer.text


@pytest.mark.parametrize("content", [b"", b"small", BIG], ids=["empty", "small", "in parts"])
async def test_what_is_stored_comes_back(store: ObjectBlobStore, content: bytes) -> None:
    blob = await store.put(odd_pieces(content), len(content))
    assert blob.sha256 == hashlib.sha256(content).hexdigest()
    assert await read(store, blob) == content
    assert await store.has(blob)
    if content:
        reader = store.ranges(blob)
        await reader.check()
        await reader.seek(len(content) // 2)
        assert await reader.read(100) == content[len(content) // 2 :][:100]
        await reader.aclose()


async def test_it_is_linked_adopted_listed_and_deleted(store: ObjectBlobStore) -> None:
    blob = await store.put(odd_pieces(BIG), len(BIG))
    linked = await store.link(blob)
    async with store.scratch() as folder:
        path = folder / "made"
        path.write_bytes(b"made")
        made = Blob(new_key(), 4, "text/x-mine", hashlib.sha256(b"made").hexdigest())
        await store.adopt(path, made)
    assert await unused(store, 0) == sorted([blob.key, linked.key, made.key])
    assert await store.delete(blob.key)
    assert not await store.delete(blob.key)
    with pytest.raises(BlobMissing):
        await read(store, blob)
    assert await read(store, linked) == BIG
    assert await read(store, made) == b"made"


async def test_its_name_is_made_once(store: ObjectBlobStore, url: str, tmp_path: Path) -> None:
    again = opened(url, tmp_path)
    await again.open()
    name, is_new = await store.identity()
    assert is_new
    assert await again.identity() == (name, False)
    await again.close()


async def test_a_bucket_that_is_not_there_or_vanishes_has_lost_nothing(
    url: str, tmp_path: Path
) -> None:
    store = opened(url, tmp_path, "vanishing")
    with pytest.raises(StorageError, match=r"cannot be used: .*NoSuchBucket"):
        await store.open()
    await asked("PUT", f"{url}/vanishing")
    store = opened(url, tmp_path, "vanishing")
    await store.open()
    blob = await store.put(odd_pieces(BIG), len(BIG))
    bucket = bucket_of(storage(url, f"s3://vanishing/{tmp_path.name}"))
    await obstore.delete_async(bucket, [f"objects/{blob.key}", "name"])
    await asked("DELETE", f"{url}/vanishing")
    for ask in (read(store, blob), store.has(blob), store.delete(blob.key), store.link(blob)):
        with pytest.raises(StorageError, match="could not be used") as failed:
            await ask
        assert not isinstance(failed.value, BlobMissing)
    with pytest.raises(StorageError, match="could not be used") as refused:
        await store.put(odd_pieces(BIG), len(BIG))
    assert "NoSuchBucket" in refused.value.log_detail
    await store.close()
