"""Promises 21 and 22: what each kind of origin leads to, within its time and its bytes."""

import asyncio
import contextlib
import logging
from datetime import UTC, datetime

import httpx
import pytest

from app.errors import (
    FetchConnectError,
    FetchError,
    FetchNameError,
    FetchRedirectError,
    FetchStatusError,
    FetchTimeout,
    FetchTlsError,
    FetchTooLarge,
    FetchTruncated,
    InternalError,
    InvalidParameter,
    StorageFull,
)
from app.ops.fetch import FetchParams
from app.outbound.coding import STEP_BYTES
from app.outbound.fetch import Fetcher, FetchSettings
from app.outbound.pace import Budget, HostTurns
from app.outbound.redirect import Hop, redirected

from .origin import BODY

pytestmark = pytest.mark.anyio

DEFAULTS = FetchParams()
ONCE = FetchParams(retries=0)


@pytest.mark.parametrize("path", ["/206", "/304", "/404", "/500"])
async def test_a_status_error_says_which(path, fetch, origin):
    with pytest.raises(FetchStatusError) as caught:
        await fetch(path)
    assert caught.value.extra == {"http_status": int(path[1:]), "tries": 1}
    assert len(origin.requests) == 1


@pytest.mark.parametrize("path", ["/stall", "/stall_in_body"])
async def test_a_silent_origin_is_given_up_on(path, origin, open_fetcher, save):
    fetcher = await open_fetcher(read_timeout_s=0.05)
    with pytest.raises(FetchTimeout) as caught:
        await fetcher.fetch(origin.url + path, DEFAULTS, None, save)
    assert caught.value.extra == {"phase": "read", "tries": 1}


@pytest.mark.parametrize("path", ["/drip", "/drip_headers"])
async def test_an_origin_that_drips_meets_the_total_deadline(path, fetch, origin, save):
    with pytest.raises(FetchTimeout) as caught:
        await fetch(path, FetchParams(timeout_s=0.2))
    assert caught.value.extra == {"phase": "total", "tries": 1}
    assert save.kept == []
    async with asyncio.timeout(2):
        await origin.gone.wait()


async def test_the_deadline_spans_redirects(origin, open_fetcher, save):
    fetcher = await open_fetcher(max_redirects=20, timeout_s=0.2)
    with pytest.raises(FetchTimeout):
        await fetcher.fetch(f"{origin.url}/slow-loop", DEFAULTS, None, save)
    assert 1 < len(origin.requests) < 20


async def test_an_endless_body_stops_near_the_cap(fetch, origin, save):
    with pytest.raises(FetchTooLarge) as caught:
        await fetch("/endless", FetchParams(max_bytes=1_000_000))
    assert caught.value.extra == {"max_bytes": 1_000_000, "tries": 1}
    async with asyncio.timeout(2):
        await origin.gone.wait()
    # What the socket buffers of both ends hold comes on top.
    assert origin.sent_bytes < 20_000_000
    assert save.kept == []


async def test_no_piece_of_a_coded_body_is_larger_than_a_step(fetch, save):
    with pytest.raises(FetchTooLarge):
        await fetch("/gzip-bomb")
    assert 0 < save.largest_piece <= STEP_BYTES


async def test_members_that_decode_to_nothing_are_counted_on_the_wire(fetch):
    with pytest.raises(FetchTooLarge):
        await fetch("/gzip-empty-members", FetchParams(max_bytes=1000))


@pytest.mark.parametrize("path", ["/ok", "/chunked", "/gzip", "/deflate"])
async def test_the_cap_is_exact(path, fetch):
    assert (await fetch(path, FetchParams(max_bytes=len(BODY)))).body == BODY
    with pytest.raises(FetchTooLarge):
        await fetch(path, FetchParams(max_bytes=len(BODY) - 1))


async def test_bytes_after_the_declared_end_never_answer_the_next_request(fetch):
    for _ in range(3):
        assert (await fetch("/long")).body == BODY


async def test_params_tighten_the_settings_and_never_loosen_them():
    settings = FetchSettings(timeout_s=3, max_bytes=100, max_redirects=2, retries=1)
    loose = FetchParams(timeout_s=9, max_bytes=200, max_redirects=5, retries=5)
    tight = FetchParams(timeout_s=1, max_bytes=50, max_redirects=0, retries=0)

    assert settings.tightened(loose) == settings
    assert settings.tightened(tight) == FetchSettings(
        timeout_s=1, max_bytes=50, max_redirects=0, retries=0
    )
    assert settings.tightened(DEFAULTS) == settings


async def test_no_redirect_at_all_can_be_asked_for(fetch, origin):
    with pytest.raises(FetchRedirectError):
        await fetch("/to-ok", FetchParams(max_redirects=0))
    assert origin.paths() == ["/to-ok"]


async def test_the_facts_tell_what_the_origin_said(fetch, origin):
    fetched = await fetch("/typed")
    assert fetched.facts == {
        "status": 200,
        "final_url": f"{origin.url}/typed",
        "redirects": 0,
        "tries": 1,
        "resumed": 0,
        "claimed_media_type": "image/png",
        "name": "€ rates.png",
        "etag": '"abc"',
        "last_modified": "Mon, 01 Jan 2024 00:00:00 GMT",
        "size_bytes": len(BODY),
        "headers": {
            "content-type": "Image/PNG; charset=x",
            "content-length": str(len(BODY)),
            "content-disposition": "attachment; filename*=UTF-8''..%2F%E2%82%AC%20rates.png",
        },
        "elapsed_ms": fetched.facts["elapsed_ms"],
        "timings": fetched.facts["timings"],
    }


async def test_the_final_url_is_the_one_that_answered(fetch, origin):
    facts = (await fetch("/chain/2")).facts
    assert (facts["final_url"], facts["redirects"]) == (f"{origin.url}/chain/0", 2)


async def test_a_location_with_raw_characters_is_quoted_as_browsers_do(fetch):
    assert (await fetch("/to-spaces")).body.startswith(b"GET /echo?a%20b=%C3%A4 HTTP/1.1")


# -- tries -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/close", "/reset", "/short", "/503"])
async def test_three_tries_are_three_requests_and_no_more(path, fetch, origin, naps):
    with pytest.raises(FetchError) as caught:
        await fetch(path)
    assert caught.value.extra["tries"] == 3
    assert len(origin.requests) == 3
    assert naps.delays_s == [0.125, 0.25]


async def test_a_kept_connection_that_dies_when_used_again_costs_no_try(fetch, origin, naps):
    await fetch("/ok")
    fetched = await fetch("/dies-if-reused")
    assert (fetched.body, fetched.facts["tries"], naps.delays_s) == (BODY, 1, [])
    assert origin.paths() == ["/ok", "/dies-if-reused", "/dies-if-reused"]


async def test_a_post_is_never_sent_again(fetch, origin):
    await fetch("/ok")
    with pytest.raises(FetchConnectError):
        await fetch.fetcher.client.post(f"{origin.url}/dies-if-reused", content=b"")
    assert origin.paths() == ["/ok", "/dies-if-reused"]


async def test_a_cut_body_is_saved_afresh_by_the_next_try(fetch, save):
    fetched = await fetch("/flaky/1/short")
    assert fetched.facts["tries"] == 2
    assert (save.calls, save.cleaned, save.kept) == (2, 1, [BODY])


async def test_retry_after_is_kept(fetch, naps):
    assert (await fetch("/flaky/2/429")).facts["tries"] == 3
    assert naps.delays_s == [2.0, 2.0]


async def test_retry_after_as_a_date_is_kept(origin, save, naps):
    early = datetime.fromtimestamp(-3, UTC)
    settings = FetchSettings(allow_networks="127.0.0.1/32")
    async with Fetcher(settings, sleep=naps, now=lambda: early) as fetcher:
        await fetcher.fetch(f"{origin.url}/flaky/1/date", DEFAULTS, None, save)
    assert naps.delays_s == [3.0]


async def test_an_origin_that_asks_for_too_long_a_wait_is_left_alone(fetch, origin, naps):
    with pytest.raises(FetchStatusError) as caught:
        await fetch("/429-for-long")
    assert caught.value.extra == {"http_status": 429, "retry_after_s": 600.0, "tries": 1}
    assert len(origin.requests) == 1
    assert naps.delays_s == []


async def test_the_wait_between_tries_is_part_of_the_deadline(origin, save):
    async def oversleep(delay_s):
        await asyncio.Event().wait()

    settings = FetchSettings(allow_networks="127.0.0.1/32", timeout_s=0.3)
    async with Fetcher(settings, sleep=oversleep, jitter=lambda: 0.0) as fetcher:
        with pytest.raises(FetchTimeout):
            await fetcher.fetch(f"{origin.url}/close", DEFAULTS, None, save)


async def test_a_refused_connection_is_a_connect_error(open_fetcher, save, unused_port):
    fetcher = await open_fetcher()
    with pytest.raises(FetchConnectError):
        await fetcher.fetch(f"http://127.0.0.1:{unused_port}/", ONCE, None, save)


async def test_a_name_that_does_not_resolve_is_a_name_error(open_fetcher, save):
    async def lookup(host):
        return []

    fetcher = await open_fetcher(lookup)
    with pytest.raises(FetchNameError):
        await fetcher.fetch("http://nowhere.test/", DEFAULTS, None, save)


async def test_a_name_server_that_hangs_meets_the_connect_timeout(open_fetcher, save, naps):
    async def lookup(host):
        await asyncio.Event().wait()

    fetcher = await open_fetcher(lookup, connect_timeout_s=0.05)
    with pytest.raises(FetchTimeout) as caught:
        await fetcher.fetch("http://slow.test/", DEFAULTS, None, save)
    assert caught.value.extra == {"phase": "connect", "tries": 3}


async def test_tls_spoken_to_a_plain_server_is_a_tls_error(open_fetcher, canary, save):
    fetcher = await open_fetcher()
    with pytest.raises(FetchTlsError):
        await fetcher.fetch(f"https://127.0.0.1:{canary.port}/", ONCE, None, save)


# -- headers and credentials -------------------------------------------------------------------

SECRETS = {"Authorization": "Bearer s3cret", "Cookie": "id=s3cret", "X-Api-Key": "s3cret"}


async def test_a_callers_headers_reach_the_origin_and_ours_stay(fetch):
    head = (await fetch("/echo", headers=SECRETS | {"Accept": "image/*"})).body.lower()
    assert head.count(b"s3cret") == 3
    assert b"accept: image/*\r\n" in head
    assert b"accept-encoding: identity\r\n" in head
    assert b"user-agent: offload/" in head


async def test_a_redirect_within_the_origin_keeps_the_headers(fetch, origin):
    await fetch("/to-ok", headers=SECRETS)
    assert all(head.count(b"s3cret") == 3 for head in origin.requests)


async def test_a_redirect_to_another_origin_drops_them_for_good(fetch, origin, open_origin):
    other = await open_origin()
    path = f"/to-port/{other.port}/to-port/{origin.port}/echo"
    fetched = await fetch(path, headers=SECRETS)
    assert fetched.facts["redirects"] == 2
    assert origin.requests[0].count(b"s3cret") == 3
    assert b"s3cret" not in b"".join(other.requests) + fetched.body


async def test_a_redirect_from_https_to_http_drops_them(fetch):
    guard = fetch.fetcher.guard
    hop = Hop(guard.check_url("https://a.test/"), dict(SECRETS))
    response = httpx.Response(302, headers={"location": "http://a.test/"})
    assert redirected(guard, hop, response, 5).headers == {}


async def test_a_redirect_to_a_name_outside_ascii_is_understood(fetch):
    hop = Hop(fetch.fetcher.guard.check_url("http://a.test/"), {})
    response = httpx.Response(302, headers={"location": "http://bücher.test/ä".encode()})
    target = redirected(fetch.fetcher.guard, hop, response, 5).target
    assert str(target.url) == "http://xn--bcher-kva.test/%C3%A4"


async def test_a_header_that_cannot_be_sent_costs_no_connection(fetch, origin):
    with pytest.raises(InvalidParameter):
        await fetch("/echo", headers={"Host": "internal"})
    assert origin.connections == 0


async def test_cookies_of_one_fetch_are_not_sent_by_the_next(fetch, origin):
    await fetch("/set-cookie")
    assert b"cookie" not in (await fetch("/echo")).body.lower()


async def test_a_signed_url_is_sent_as_it_was_given(fetch, origin):
    target = "/echo?sig=a%20b%2Bc+d&x=%7e&path=%2fa%2F&e="
    assert (await fetch(target)).body.startswith(b"GET " + target.encode() + b" HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "path", ["/ok", "/echo?token=s3cret", "/garbage?s3cret", "/stall?s3cret", "/to-nonsense"]
)
async def test_nothing_is_logged_that_could_be_a_credential(
    path, origin, open_fetcher, save, caplog
):
    caplog.set_level(logging.DEBUG)
    fetcher = await open_fetcher(read_timeout_s=0.05)
    said = ""
    try:
        await fetcher.fetch(origin.url + path, ONCE, SECRETS, save)
    except FetchError as error:
        said = error.detail + error.log_detail + repr(error.extra)
    assert "s3cret" not in caplog.text + said


# -- saving ------------------------------------------------------------------------------------


async def test_what_save_raises_passes_through_and_is_not_tried_again(fetch, origin):
    async def full(chunks, max_bytes):
        async for _ in chunks:
            raise StorageFull("No space left.")

    async def broken(chunks, max_bytes):
        raise OSError("disk")

    for save, error in ((full, StorageFull), (broken, OSError)):
        with pytest.raises(error):
            await fetch.fetcher.fetch(f"{origin.url}/ok", DEFAULTS, None, save)
    assert len(origin.requests) == 2


async def test_a_save_that_hides_the_failure_does_not_make_a_success(fetch, origin):
    async def careless(chunks, max_bytes):
        with contextlib.suppress(FetchError):
            return [chunk async for chunk in chunks]

    with pytest.raises(FetchTruncated):
        await fetch.fetcher.fetch(f"{origin.url}/gzip-cut", ONCE, None, careless)


async def test_a_save_that_stops_early_does_not_make_a_success(fetch, origin):
    async def lazy(chunks, max_bytes):
        return await anext(chunks)

    with pytest.raises(InternalError):
        await fetch.fetcher.fetch(f"{origin.url}/endless", ONCE, None, lazy)
    async with asyncio.timeout(2):
        await origin.gone.wait()


# -- turns, cancellation, closing --------------------------------------------------------------


async def test_no_more_than_the_limit_are_under_way_to_one_host(origin, open_fetcher, save):
    fetcher = await open_fetcher(per_host_concurrency=2)
    tasks = [
        asyncio.create_task(fetcher.fetch(f"{origin.url}/held", DEFAULTS, None, save))
        for _ in range(6)
    ]
    for _ in range(2):
        await origin.arrived.acquire()
    assert [queue.users for queue in fetcher.turns._queues.values()] == [6]
    assert len(origin.requests) == 2
    origin.hold.set()
    await asyncio.gather(*tasks)
    assert len(fetcher.turns) == 0


async def test_waiting_for_the_hosts_turn_does_not_count(origin, save):
    time = [0.0]
    settings = FetchSettings(allow_networks="127.0.0.1/32", per_host_concurrency=1)
    async with Fetcher(settings, clock=lambda: time[0]) as fetcher:
        first = asyncio.create_task(fetcher.fetch(f"{origin.url}/held", DEFAULTS, None, save))
        await origin.arrived.acquire()
        second = asyncio.create_task(fetcher.fetch(f"{origin.url}/ok", DEFAULTS, None, save))
        await asyncio.sleep(0)
        time[0] = 1000.0
        origin.hold.set()
        assert (await first).facts["elapsed_ms"] == 1_000_000
        assert (await second).facts["elapsed_ms"] == 0


async def test_storing_does_not_count(origin):
    time = [0.0]

    async def slowly(chunks, max_bytes):
        kept = b""
        async for chunk in chunks:
            kept += chunk
            time[0] += 1000.0
        time[0] += 1000.0
        return kept

    settings = FetchSettings(allow_networks="127.0.0.1/32")
    async with Fetcher(settings, clock=lambda: time[0]) as fetcher:
        fetched = await fetcher.fetch(f"{origin.url}/ok", DEFAULTS, None, slowly)
    assert fetched.body
    assert time[0] >= 2000
    assert fetched.facts["elapsed_ms"] == 0
    assert fetched.facts["timings"]["total_ms"] == 0


async def test_a_deadline_that_stands_still_ends_nothing():
    budget = Budget(10, lambda: 0.0)
    async with budget.running():
        budget.stand()
        assert budget._deadline.when() is None
        budget.go_on()
        assert 0 < budget._deadline.when() - asyncio.get_running_loop().time() <= 10


async def test_two_hosts_that_redirect_to_each_other_do_not_lock_up(
    origin, open_origin, open_fetcher, save
):
    other = await open_origin()
    fetcher = await open_fetcher(per_host_concurrency=1)
    there = f"{origin.url}/to-port/{other.port}/ok"
    back = f"{other.url}/to-port/{origin.port}/ok"
    async with asyncio.timeout(5):
        await asyncio.gather(
            *(fetcher.fetch(url, DEFAULTS, None, save) for url in [there, back] * 10)
        )
    assert len(save.kept) == 20


async def test_a_cancelled_fetch_frees_everything(fetch, origin, save):
    task = asyncio.create_task(fetch("/endless", FetchParams(max_bytes=32 * 1024 * 1024)))
    await save.called.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(2):
        await origin.gone.wait()
    assert save.cleaned == save.calls
    assert len(fetch.fetcher.turns) == 0


async def test_a_cancelled_wait_for_the_turn_is_forgotten():
    turns = HostTurns(1)
    origin = ("http", "a.test", 80)

    async def wait():
        async with turns.turn(origin):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert len(turns) == 1
    for task in reversed(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(turns) == 0


async def test_a_timeout_of_someone_else_is_not_taken_for_the_deadline():
    with pytest.raises(TimeoutError):
        async with Budget(10, lambda: 0.0).running():
            raise TimeoutError


async def test_many_fetches_at_once_each_get_their_own_bytes(open_fetcher, origin, save):
    fetcher = await open_fetcher()
    bodies = await asyncio.gather(
        *(fetcher.fetch(f"{origin.url}/echo?{n}", DEFAULTS, None, save) for n in range(200))
    )
    assert all(
        fetched.body.startswith(b"GET /echo?%d HTTP" % n) for n, fetched in enumerate(bodies)
    )
    assert origin.connections <= 16
