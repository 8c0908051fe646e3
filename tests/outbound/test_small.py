"""Bodies of up to 64 KiB are values: read whole, and given to no store."""

import hashlib

import pytest

from app.blobs.values import small_or
from app.errors import FetchTooLarge, FetchTruncated, FetchTypeRefused
from app.model.blobs import SMALL_BYTES
from app.ops.fetch import FetchParams
from app.ops.media_type import sniff
from app.outbound.terms import PLAIN, Terms

from .origin import body_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def fetch_small(origin, open_fetcher, save):
    async def fetch(path, terms=PLAIN, **params):
        fetcher = await open_fetcher(retries=0)
        return await fetcher.fetch(
            origin.url + path, FetchParams(**params), None, small_or(save), terms
        )

    return fetch


@pytest.mark.parametrize("size_bytes", [0, 1, 4000, SMALL_BYTES])
@pytest.mark.parametrize("kind", ["size", "gzip-of"])
async def test_a_small_body_comes_with_its_blob(size_bytes, kind, fetch_small, save):
    fetched = await fetch_small(f"/{kind}/{size_bytes}")
    blob, body = fetched.body, body_of(size_bytes)
    assert blob.value == body
    assert blob.size_bytes == fetched.facts["size_bytes"] == size_bytes
    assert blob.sha256 == hashlib.sha256(body).hexdigest()
    assert blob.media_type == sniff(body)
    assert save.calls == 0


async def test_no_two_values_have_one_key(fetch_small):
    first, second = [(await fetch_small("/size/10")).body for _ in range(2)]
    assert first.digest == second.digest
    assert first.key != second.key


@pytest.mark.parametrize("size_bytes", [SMALL_BYTES + 1, 1_000_000])
@pytest.mark.parametrize("kind", ["size", "gzip-of"])
async def test_a_larger_body_goes_whole_to_the_store(size_bytes, kind, fetch_small, save):
    fetched = await fetch_small(f"/{kind}/{size_bytes}")
    assert save.kept == [body_of(size_bytes)] == [fetched.body]


@pytest.mark.parametrize("size_bytes", [10, SMALL_BYTES, SMALL_BYTES + 1])
async def test_a_body_that_stops_is_neither_a_value_nor_stored(size_bytes, fetch_small, save):
    with pytest.raises(FetchTruncated):
        await fetch_small(f"/stops-at/{size_bytes}")
    assert save.kept == []
    assert save.cleaned == save.calls == (size_bytes > SMALL_BYTES)


@pytest.mark.parametrize("size_bytes", [10, SMALL_BYTES, SMALL_BYTES + 1])
async def test_a_coded_body_without_its_end_is_neither(size_bytes, fetch_small, save):
    with pytest.raises(FetchTruncated):
        await fetch_small(f"/gzip-of/{size_bytes}/1")
    assert save.kept == []


@pytest.mark.parametrize("path", ["/size/1001", "/gzip-of/1001", "/gzip-bomb"])
async def test_a_small_limit_holds_for_decoded_bytes(path, fetch_small, save):
    with pytest.raises(FetchTooLarge):
        await fetch_small(path, max_bytes=1000)
    assert save.calls == 0


async def test_a_small_body_of_an_unwanted_type_is_no_value(fetch_small, save):
    with pytest.raises(FetchTypeRefused):
        await fetch_small("/size/100", accept_types=("image/*",))
    assert save.calls == 0


async def test_a_small_body_has_to_have_its_digest(fetch_small):
    wanted = hashlib.sha256(body_of(100)).hexdigest()
    fetched = await fetch_small("/size/100", Terms(sha256=wanted))
    assert fetched.body.digest == wanted
