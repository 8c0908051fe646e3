"""A body that was cut off is gone on with where the origin can prove that it is the same one."""

import hashlib

import pytest

from app.errors import FetchDigestMismatch, FetchStatusError, FetchTruncated
from app.ops.fetch import FetchParams
from app.outbound.terms import PLAIN, Terms

from .origin import BODY

pytestmark = pytest.mark.anyio

THREE_TRIES = FetchParams(retries=2)
MORE = FetchParams(retries=10)


@pytest.fixture
async def fetch(origin, open_fetcher, save):
    fetcher = await open_fetcher(retries=10)

    async def fetch(path, params=THREE_TRIES, terms=PLAIN):
        return await fetcher.fetch(origin.url + path, params, None, save, terms)

    return fetch


def asked_from(origin):
    """Give the first byte that each request asked for; None for all of them."""
    return [
        int(head.lower().split(b"range: bytes=")[1].split(b"-")[0])
        if b"range: bytes=" in head.lower()
        else None
        for head in origin.requests
    ]


@pytest.mark.parametrize("how", ["well", "chunked", "gzip"])
async def test_a_cut_body_goes_on_where_it_was_cut(how, fetch, origin, save, naps):
    fetched = await fetch(f"/cut/{how}")
    assert fetched.body == BODY
    assert (save.calls, save.cleaned, save.kept) == (1, 0, [BODY])
    assert (fetched.facts["tries"], fetched.facts["resumed"]) == (2, 1)
    assert fetched.facts["status"] == 200
    [first, second] = asked_from(origin)
    assert first is None
    assert 0 < second < len(BODY)
    assert naps.delays_s == [0.125]


async def test_it_goes_on_as_often_as_there_are_tries(fetch, origin):
    fetched = await fetch("/cut/well/5", MORE)
    assert (fetched.body, fetched.facts["tries"], fetched.facts["resumed"]) == (BODY, 6, 5)
    starts = asked_from(origin)[1:]
    assert starts == sorted(set(starts))


async def test_tries_for_the_rest_are_tries(fetch, origin, save):
    with pytest.raises(FetchTruncated) as caught:
        await fetch("/cut/well/9")
    assert caught.value.extra["tries"] == len(origin.requests) == 3
    assert caught.value.facts["fetch"]["resumed"] == 2
    assert (save.calls, save.cleaned, save.kept) == (1, 1, [])


@pytest.mark.parametrize("how", ["no-etag", "weak", "no-ranges"])
async def test_what_cannot_be_proved_the_same_is_fetched_afresh(how, fetch, origin, save):
    fetched = await fetch(f"/cut/{how}")
    assert (fetched.body, fetched.facts["tries"], fetched.facts["resumed"]) == (BODY, 2, 0)
    assert asked_from(origin) == [None, None]
    assert (save.calls, save.cleaned) == (2, 1)


@pytest.mark.parametrize(
    "how",
    ["ignored", "other-start", "other-total", "less", "other-etag", "unsaid", "gone", "satisfied"],
)
async def test_an_answer_that_is_not_the_rest_is_not_taken_for_it(how, fetch, origin, save):
    fetched = await fetch(f"/cut/{how}")
    assert fetched.body == BODY
    assert (fetched.facts["tries"], fetched.facts["resumed"]) == (3, 0)
    assert [start is None for start in asked_from(origin)] == [True, False, True]
    assert (save.calls, save.cleaned, save.kept) == (2, 1, [BODY])


async def test_another_version_is_fetched_whole(fetch, save):
    fetched = await fetch("/cut/changed")
    assert fetched.body == BODY
    assert save.kept == [BODY]


async def test_an_origin_that_is_busy_is_asked_again_for_the_rest(fetch, naps):
    fetched = await fetch("/cut/busy")
    assert (fetched.body, fetched.facts["tries"], fetched.facts["resumed"]) == (BODY, 3, 1)
    assert naps.delays_s == [0.125, 2.0]


async def test_an_origin_that_stays_busy_has_failed_with_that(fetch, save):
    with pytest.raises(FetchStatusError) as caught:
        await fetch("/cut/busy", FetchParams(retries=1))
    assert (caught.value.extra["http_status"], save.kept) == (503, [])


async def test_a_digest_is_of_the_whole_and_shows_a_rest_that_lies(fetch, save):
    terms = Terms(sha256=hashlib.sha256(BODY).hexdigest())
    assert (await fetch("/cut/well", terms=terms)).body == BODY
    with pytest.raises(FetchDigestMismatch):
        await fetch("/cut/lies/3", terms=terms)
    assert save.kept == [BODY]


async def test_what_was_received_before_the_cut_counts_for_the_cap(fetch):
    fetched = await fetch("/cut/chunked", FetchParams(max_bytes=len(BODY)))
    assert fetched.facts["size_bytes"] == len(BODY)
