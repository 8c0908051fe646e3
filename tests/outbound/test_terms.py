"""What a batch and each of its URLs may ask for: digests, types, sizes, versions, pace."""

import asyncio
import hashlib

import pytest

from app.errors import (
    FetchDigestMismatch,
    FetchProtocolError,
    FetchStatusError,
    FetchTimeout,
    FetchTooLarge,
    FetchTypeRefused,
)
from app.ops.fetch import FetchParams
from app.outbound.terms import Terms, Unchanged

from .origin import BODY, PAGES, answer

pytestmark = pytest.mark.anyio

DIGEST = hashlib.sha256(BODY).hexdigest()
NOISE = b"\x07\x13\x99\xfe"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0" + bytes(6000)


@pytest.fixture
def page(monkeypatch):
    """Serve some content under a Content-Type at /page."""

    def serve(body, claimed=None):
        monkeypatch.setitem(
            PAGES, "/page", answer(body, "200 OK", *[f"Content-Type: {claimed}"] * bool(claimed))
        )

    return serve


# -- digests and sizes -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ok", "/gzip", "/chunked", "/to-ok"])
async def test_the_digest_is_of_the_decoded_content(path, fetch):
    assert (await fetch(path, terms=Terms(sha256=DIGEST))).body == BODY


async def test_another_digest_fails_once_and_leaves_nothing(fetch, origin, save):
    with pytest.raises(FetchDigestMismatch) as caught:
        await fetch("/ok", terms=Terms(sha256="0" * 64))
    assert caught.value.extra == {"sha256": DIGEST, "tries": 1}
    assert (save.kept, save.cleaned, len(origin.requests)) == ([], 1, 1)


async def test_a_urls_own_cap_tightens_the_batchs_and_never_loosens_it(fetch):
    size = len(BODY)
    assert (await fetch("/ok", terms=Terms(max_bytes=size))).body == BODY
    for params, terms in (
        (FetchParams(), Terms(max_bytes=size - 1)),
        (FetchParams(max_bytes=size - 1), Terms(max_bytes=size)),
    ):
        with pytest.raises(FetchTooLarge) as caught:
            await fetch("/ok", params, terms=terms)
        assert caught.value.extra["max_bytes"] == size - 1


# -- types -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "body", "claimed"),
    [
        ("image/png", PNG, "image/png"),
        ("image/*", PNG, "image/png; x=y"),
        ("image/*", PNG, None),
        ("image/*", PNG, "application/octet-stream"),
        ("text/html, image/*", PNG, "image/x-png"),
        ("*/*", NOISE, None),
        ("text/csv", b"a,b\n1,2\n", "text/csv"),
        ("application/json", b'{"a": 1}', "application/json"),
        ("text/*", b"plain words", None),
        ("application/octet-stream", NOISE, None),
    ],
)
async def test_content_of_an_accepted_type_is_kept(accepted, body, claimed, page, fetch):
    page(body, claimed)
    assert (await fetch("/page", FetchParams(accept_types=accepted))).body == body


@pytest.mark.parametrize(
    ("accepted", "body", "claimed", "read"),
    [
        ("image/*", PNG, "text/html", False),
        ("text/html", PNG, "image/png", False),
        ("image/*", b"<html><body>Not an image", "image/png", True),
        ("image/*", b"plain words", "image/png", True),
        ("image/*", b"", "image/png", True),
        ("image/*", NOISE, "image/png", True),
        ("text/csv", PNG, "text/csv", True),
        ("text/csv", b"a,b\n", None, True),
        ("image/jpeg", PNG, None, True),
    ],
)
async def test_other_content_is_refused_and_leaves_nothing(
    accepted, body, claimed, read, page, fetch, save
):
    page(body, claimed)
    with pytest.raises(FetchTypeRefused):
        await fetch("/page", FetchParams(accept_types=accepted))
    assert (save.kept, save.calls, save.cleaned) == ([], int(read), int(read))


async def test_a_type_is_judged_before_the_rest_is_downloaded(fetch, origin, save):
    with pytest.raises(FetchTypeRefused):
        await fetch("/endless", FetchParams(accept_types="image/*"))
    async with asyncio.timeout(2):
        await origin.gone.wait()
    assert save.largest_piece == 0


@pytest.mark.parametrize("text", ["image", "image/", "/png", "image/png;q=1", "*", "[1]", "a b/c"])
def test_what_is_no_media_type_cannot_be_accepted(text):
    with pytest.raises(ValueError, match="accept_types"):
        FetchParams(accept_types=text)


def test_types_come_as_a_list_in_commas_or_in_json():
    expected = ("image/*", "text/csv")
    for given in (["image/*", "TEXT/csv"], "image/*, text/csv", '["image/*","text/csv"]'):
        assert FetchParams(accept_types=given).accept_types == expected


# -- versions ----------------------------------------------------------------------------------


def known(fetched):
    return Terms(known=fetched.facts)


@pytest.mark.parametrize("path", ["/versioned/etag", "/versioned/modified", "/versioned/both"])
async def test_what_has_not_changed_is_not_sent_again(path, fetch, save):
    first = await fetch(path)
    again = await fetch(path, terms=known(first))
    assert isinstance(again, Unchanged)
    assert (again.facts["status"], again.facts["tries"]) == (304, 1)
    assert save.calls == 1


async def test_what_has_changed_is_sent(fetch, origin):
    first = await fetch("/versioned")
    origin.unchanged = False
    assert (await fetch("/versioned", terms=known(first))).body == BODY


async def test_the_condition_goes_to_the_url_that_answered_and_to_no_other(fetch, origin):
    first = await fetch("/to-versioned")
    again = await fetch("/to-versioned", terms=known(first))
    assert isinstance(again, Unchanged)
    asked = [b"if-none-match" in head.lower() for head in origin.requests]
    assert asked == [False, False, False, True]


async def test_a_304_for_another_version_is_not_believed(fetch):
    first = await fetch("/versioned/other")
    with pytest.raises(FetchProtocolError):
        await fetch("/versioned/other", FetchParams(retries=0), terms=known(first))


async def test_a_304_that_nobody_asked_for_is_a_failure_even_if_a_version_is_known(fetch, origin):
    known = {"final_url": f"{origin.url}/elsewhere", "etag": '"v1"', "last_modified": None}
    terms = Terms(known=known)
    with pytest.raises(FetchStatusError) as caught:
        await fetch("/304", terms=terms)
    assert caught.value.extra["http_status"] == 304


async def test_a_callers_own_condition_keeps_ours_away(fetch):
    first = await fetch("/versioned")
    with pytest.raises(FetchStatusError):
        await fetch("/versioned", headers={"If-None-Match": '"v1"'}, terms=known(first))


# -- time and turns ----------------------------------------------------------------------------


async def test_a_batch_may_have_less_patience_with_silence(fetch, origin):
    with pytest.raises(FetchTimeout) as caught:
        await fetch("/stall", FetchParams(read_timeout_s=0.05))
    assert caught.value.extra["phase"] == "read"


async def test_a_batch_may_have_less_patience_with_names(open_fetcher, save):
    async def lookup(host):
        await asyncio.Event().wait()

    fetcher = await open_fetcher(lookup)
    params = FetchParams(connect_timeout_s=0.05, retries=0)
    with pytest.raises(FetchTimeout) as caught:
        await fetcher.fetch("http://slow.test/", params, None, save)
    assert caught.value.extra["phase"] == "connect"


async def test_a_batch_may_have_fewer_turns_at_a_host_than_the_service(origin, open_fetcher, save):
    fetcher = await open_fetcher(per_host_concurrency=8)
    polite = FetchParams(per_host_concurrency=2)
    tasks = [
        asyncio.create_task(
            fetcher.fetch(f"{origin.url}/held", polite, None, save, Terms(batch=batch))
        )
        for batch in ("a", "b")
        for _ in range(5)
    ]
    for _ in range(4):
        await origin.arrived.acquire()
    await asyncio.sleep(0)
    assert len(origin.requests) == 4
    # Those who wait for their batch's turn do not stand in the way of others.
    assert (await fetcher.fetch(f"{origin.url}/ok", FetchParams(), None, save)).body == BODY
    origin.hold.set()
    await asyncio.gather(*tasks)
    assert len(fetcher.turns) == 0


# -- what is told ------------------------------------------------------------------------------


async def test_timings_say_where_the_time_went(origin, open_fetcher, save):
    async def lookup(host):
        return ["127.0.0.1"]

    fetcher = await open_fetcher(lookup)
    url = f"http://named.test:{origin.port}/ok"
    first, second = [(await fetcher.fetch(url, FetchParams(), None, save)).facts for _ in range(2)]
    told = first["timings"]
    assert 0 <= told["dns_ms"] + told["connect_ms"] <= told["first_byte_ms"] <= told["total_ms"]
    assert told["total_ms"] <= first["elapsed_ms"] + 1
    # Over a kept connection there is nothing to look up and nothing to connect.
    assert (second["timings"]["dns_ms"], second["timings"]["connect_ms"]) == (None, None)


async def test_a_failure_tells_how_far_it_came(fetch, origin):
    with pytest.raises(FetchStatusError) as caught:
        await fetch("/to-404")
    facts = caught.value.facts["fetch"]
    assert facts["final_url"] == f"{origin.url}/404"
    assert (facts["redirects"], facts["tries"]) == (1, 1)
