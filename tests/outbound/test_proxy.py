"""The configured proxy: everything goes through it, and nothing that the guard has not judged.

127.0.0.1 stands for the public internet, 127.0.0.2 for the operator's private network.
"""

import base64
import contextlib
import logging
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.errors import FetchConnectError, FetchError, FetchForbidden, FetchProxyError, FetchTlsError
from app.model.blobs import Blob
from app.model.deliveries import PutTarget
from app.ops.fetch import FetchParams
from app.outbound import attempt
from app.outbound.fetch import Fetcher, FetchSettings
from app.outbound.proxy import MAX_ADDRESSES, MAX_ANSWER_BYTES, Proxy, TunnelConnector
from app.settings import Settings

from .origin import BODY, Canary
from .proxy import HANG, OPEN, PEM, ConnectProxy, TlsOrigin, refusal
from .receiver import Receiver

pytestmark = pytest.mark.anyio

PUBLIC, PRIVATE = "127.0.0.1", "127.0.0.2"
DEFAULTS = FetchParams()
ONCE = FetchParams(retries=0)
AT = datetime(2026, 1, 1, tzinfo=UTC)
BOTH_LOOPS = pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {"use_uvloop": use}) for use in (False, True)],
    ids=["asyncio", "uvloop"],
)
"""The tests' usual one and the service's own, where sockets change hands or are given up."""
CREDENTIALS = "Basic " + base64.b64encode(b"us er:s3cret@:").decode()


@pytest.fixture
async def open_proxy(anyio_backend):
    async with contextlib.AsyncExitStack() as stack:

        async def make(*script, then=OPEN):
            return await stack.enter_async_context(ConnectProxy(*script, then=then))

        yield make


@pytest.fixture
async def proxy(open_proxy):
    return await open_proxy()


@pytest.fixture
async def tls_origin(anyio_backend, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
    async with TlsOrigin() as server:
        yield server


@pytest.fixture
async def receiver(anyio_backend):
    async with Receiver() as server:
        yield server


def named(**names):
    """Give a look-up that knows these names under .test."""

    async def lookup(host):
        return names[host.removesuffix(".test")]

    return lookup


async def fetched(fetcher, save, url, params=DEFAULTS):
    return await fetcher.fetch(url, params, None, save)


# -- what a tunnel is asked for ----------------------------------------------------------------


@BOTH_LOOPS
async def test_the_proxy_gets_an_address_and_nothing_else(origin, proxy, open_fetcher, save):
    fetcher = await open_fetcher(named(name=[PUBLIC]), proxy_url=proxy.url)
    got = await fetched(fetcher, save, f"http://name.test:{origin.port}/ok?q=s3cret")
    assert got.body == BODY
    asked = f"CONNECT {PUBLIC}:{origin.port} HTTP/1.1\r\nHost: {PUBLIC}:{origin.port}\r\n\r\n"
    assert proxy.heads == [asked.encode()]
    assert origin.requests[0].startswith(b"GET /ok?q=s3cret HTTP/1.1\r\n")
    assert f"host: name.test:{origin.port}".encode() in origin.requests[0].lower()


@BOTH_LOOPS
async def test_tls_goes_through_to_the_origins_own_name(tls_origin, proxy, open_fetcher, save):
    fetcher = await open_fetcher(named(name=[PUBLIC]), proxy_url=proxy.url)
    got = await fetched(fetcher, save, f"https://name.test:{tls_origin.port}/ok")
    assert got.body == BODY
    assert tls_origin.names == ["name.test"]
    assert proxy.targets == [f"{PUBLIC}:{tls_origin.port}"]
    assert b"GET " not in proxy.passed
    assert b"name.test" not in proxy.heads[0]


@BOTH_LOOPS
async def test_a_certificate_for_another_name_does_not_do(tls_origin, proxy, open_fetcher, save):
    fetcher = await open_fetcher(named(wrong=[PUBLIC]), proxy_url=proxy.url)
    with pytest.raises(FetchTlsError):
        await fetched(fetcher, save, f"https://wrong.test:{tls_origin.port}/ok")
    assert tls_origin.requests == []


async def test_a_certificate_that_nobody_vouches_for_does_not_do(
    tls_origin, proxy, open_fetcher, save, monkeypatch
):
    monkeypatch.delenv("SSL_CERT_FILE")
    fetcher = await open_fetcher(proxy_url=proxy.url)
    with pytest.raises(FetchTlsError):
        await fetched(fetcher, save, f"https://{PUBLIC}:{tls_origin.port}/ok")
    assert tls_origin.requests == []


@pytest.mark.parametrize(
    ("network", "host", "target"),
    [
        ("::1/128", "[::1]", "[::1]"),
        ("127.0.0.1/32", "[::ffff:127.0.0.1]", PUBLIC),
        ("127.0.0.1/32", "[::ffff:7f00:1]", PUBLIC),
    ],
)
async def test_addresses_of_ipv6(network, host, target, open_proxy, open_fetcher, save):
    proxy = await open_proxy(then=refusal(403))
    fetcher = await open_fetcher(proxy_url=proxy.url, allow_networks=network)
    with pytest.raises(FetchProxyError):
        await fetched(fetcher, save, f"http://{host}:8080/")
    assert proxy.targets == [f"{target}:8080"]


async def test_credentials_are_the_proxys_alone(tls_origin, origin, open_proxy, open_fetcher, save):
    proxy = await open_proxy()
    url = proxy.url.replace("//", "//us%20er:s3cret%40%3A@")
    fetcher = await open_fetcher(proxy_url=url)
    plain = await fetched(fetcher, save, f"{origin.url}/echo")
    await fetched(fetcher, save, f"https://{PUBLIC}:{tls_origin.port}/ok")
    for head in proxy.heads:
        assert head.endswith(f"Proxy-Authorization: {CREDENTIALS}\r\n\r\n".encode())
    through = proxy.passed + plain.body + b"".join(origin.requests + tls_origin.requests)
    assert b"proxy" not in through.lower()
    assert CREDENTIALS.encode() not in through


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nProxy-Agent: old\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 299 Fine\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n" + OPEN,
    ],
)
async def test_any_success_opens_the_tunnel(answer, origin, open_proxy, open_fetcher, save):
    proxy = await open_proxy(then=answer)
    fetcher = await open_fetcher(proxy_url=proxy.url)
    assert (await fetched(fetcher, save, f"{origin.url}/ok")).body == BODY


@BOTH_LOOPS
async def test_a_proxy_may_have_a_name_and_addresses_that_do_not_answer(
    origin, proxy, open_fetcher, save
):
    lookup = named(proxy=["127.0.0.9", PUBLIC])
    fetcher = await open_fetcher(lookup, proxy_url=f"http://proxy.test:{proxy.port}")
    assert (await fetched(fetcher, save, f"{origin.url}/ok")).body == BODY
    assert proxy.connections == 1


# -- the pool ----------------------------------------------------------------------------------


@BOTH_LOOPS
async def test_a_tunnel_is_kept_for_its_own_origin_only(
    origin, open_origin, proxy, open_fetcher, save
):
    other = await open_origin()
    fetcher = await open_fetcher(named(a=[PUBLIC], b=[PUBLIC]), proxy_url=proxy.url)
    wanted = [("a.test", origin), ("b.test", origin), ("a.test", other), (PUBLIC, origin)]
    for _ in range(2):
        for host, server in wanted:
            got = await fetched(fetcher, save, f"http://{host}:{server.port}/echo")
            assert f"host: {host}:{server.port}".encode() in got.body.lower()
    assert proxy.targets == [f"{PUBLIC}:{server.port}" for _, server in wanted]
    assert (origin.connections, other.connections) == (3, 1)


async def test_a_kept_tunnel_that_broke_is_opened_anew(origin, proxy, open_fetcher, save):
    fetcher = await open_fetcher(proxy_url=proxy.url)
    await fetched(fetcher, save, f"{origin.url}/ok")
    got = await fetched(fetcher, save, f"{origin.url}/dies-if-reused")
    assert (got.body, got.facts["tries"], proxy.connections) == (BODY, 1, 2)


async def test_timings_count_the_tunnel_as_connecting(tls_origin, proxy, open_fetcher, save):
    fetcher = await open_fetcher(named(name=[PUBLIC]), proxy_url=proxy.url)
    url = f"https://name.test:{tls_origin.port}/ok"
    first = (await fetched(fetcher, save, url)).facts["timings"]
    again = (await fetched(fetcher, save, url)).facts["timings"]
    assert first["dns_ms"] is not None
    assert 0 < first["dns_ms"] + first["connect_ms"] <= first["first_byte_ms"]
    assert (again["dns_ms"], again["connect_ms"]) == (None, None)


# -- the guard ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2:8080/",
        "https://[::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://inside.test/",
        "https://mixed.test/",
        "http://8.8.8.8:22/",
    ],
)
async def test_what_is_forbidden_is_refused_before_the_proxy_hears_of_it(
    url, proxy, open_fetcher, save
):
    lookup = named(inside=[PRIVATE], mixed=[PUBLIC, PRIVATE])
    fetcher = await open_fetcher(lookup, proxy_url=proxy.url)
    with pytest.raises(FetchForbidden):
        await fetched(fetcher, save, url)
    assert proxy.connections == 0


async def test_a_literal_is_judged_where_it_is_dialled_too(proxy, open_fetcher, save, monkeypatch):
    """As an address must be of which the first look at the URL made nothing."""
    fetcher = await open_fetcher(proxy_url=proxy.url)
    monkeypatch.setattr(fetcher.guard, "_check_early", lambda host, port: None)
    with pytest.raises(FetchForbidden):
        await fetched(fetcher, save, f"http://{PRIVATE}/")
    assert proxy.connections == 0


@pytest.mark.parametrize("place", ["to-metadata", "to-neighbour", "to-named/inside.test/ok"])
async def test_a_redirect_to_a_forbidden_address_is_not_followed(
    place, origin, proxy, open_fetcher, save
):
    fetcher = await open_fetcher(named(inside=[PRIVATE]), proxy_url=proxy.url)
    with pytest.raises(FetchForbidden):
        await fetched(fetcher, save, f"{origin.url}/{place}")
    assert proxy.targets == [f"{PUBLIC}:{origin.port}"]


async def test_a_name_that_is_bound_anew_is_judged_anew(origin, proxy, open_fetcher, save):
    answers = [[PUBLIC], [PRIVATE]]

    async def lookup(host):
        return answers.pop(0)

    fetcher = await open_fetcher(lookup, proxy_url=proxy.url)
    await fetched(fetcher, save, f"http://name.test:{origin.port}/until-close")
    with pytest.raises(FetchForbidden):
        await fetched(fetcher, save, f"http://name.test:{origin.port}/ok")
    assert proxy.targets == [f"{PUBLIC}:{origin.port}"]


async def test_only_the_dial_to_the_proxy_is_exempt(proxy, open_fetcher, save):
    """It may be where the guard lets nobody go, and even there it is no target."""
    settings = {"proxy_url": proxy.url, "allow_networks": f"{PRIVATE}/32"}
    fetcher = await open_fetcher(**settings)
    async with Canary(PRIVATE) as origin:
        got = await fetched(fetcher, save, f"http://{PRIVATE}:{origin.port}/")
    assert got.body == b"secret"
    with pytest.raises(FetchForbidden):
        await fetched(fetcher, save, proxy.url)
    assert proxy.connections == 1


@BOTH_LOOPS
async def test_nothing_goes_past_the_proxy_should_aiohttp_change(
    origin, proxy, open_fetcher, save, monkeypatch
):
    monkeypatch.delattr(TunnelConnector, "_wrap_create_connection")
    fetcher = await open_fetcher(proxy_url=proxy.url)
    with pytest.raises(FetchConnectError):
        await fetched(fetcher, save, f"{origin.url}/ok", ONCE)
    assert (origin.connections, proxy.connections) == (0, 0)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("configured", [True, False])
async def test_the_environments_proxies_are_ignored(
    scheme, configured, tls_origin, origin, proxy, canary, open_fetcher, save, monkeypatch
):
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(variable, canary.url)
        monkeypatch.setenv(variable.lower(), canary.url)
    monkeypatch.setenv("NO_PROXY", "*" if configured else "")
    monkeypatch.setenv("no_proxy", "*" if configured else "")
    fetcher = await open_fetcher(proxy_url=proxy.url if configured else "")
    server = tls_origin if scheme == "https" else origin
    got = await fetched(fetcher, save, f"{scheme}://{PUBLIC}:{server.port}/ok")
    assert got.body == BODY
    assert (canary.connections, proxy.connections) == (0, int(configured))


# -- a proxy that does not do as asked ---------------------------------------------------------

REFUSED = {
    "407": (refusal(407, "Proxy-Authenticate: Basic realm=x"), 407, 1),
    "403": (refusal(403), 403, 1),
    "405": (refusal(405), 405, 1),
    "302": (refusal(302, "Location: http://127.0.0.2/"), 302, 1),
    "429": (refusal(429), 429, 3),
    "500": (refusal(500), 500, 3),
    "502": (refusal(502), 502, 3),
    "503": (refusal(503, "Retry-After: 600"), 503, 3),
    "504": (b"HTTP/1.0 504 Gateway Timeout\r\n\r\n", 504, 3),
    "closes at once": (b"", None, 3),
    "closes in the status": (b"HTT", None, 3),
    "closes in the header": (b"HTTP/1.1 200 OK\r\nVia: ", None, 3),
    "goes on after the header": (OPEN + b"HTTP/1.1 200 OK\r\n\r\nevil", None, 1),
    "garbage": (b"SSH-2.0-OpenSSH_9.6\r\n", None, 1),
    "garbage that ends": (b"220 mail.test ESMTP\r\n\r\n", None, 1),
    "HTTP/2": (b"\0\0\x12\x04\0\0\0\0\0" + bytes(18), None, 1),
    "HTTP/9.9": (b"HTTP/9.9 200 OK\r\n\r\n", None, 1),
    "status of two digits": (b"HTTP/1.1 20 OK\r\n\r\n", None, 1),
    "status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", None, 1),
    "no status": (b"HTTP/1.1 OK\r\n\r\n", None, 1),
    "other protocol": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + OPEN, None, 1),
    "huge header": (OPEN[:-2] + b"X: " + b"x" * MAX_ANSWER_BYTES, None, 1),
    "endless interim": (b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, None, 1),
}  # fmt: skip


@pytest.mark.parametrize("how", REFUSED)
async def test_a_refusal_says_so_and_is_tried_again_where_that_may_help(
    how, origin, open_proxy, open_fetcher, save, caplog
):
    says, status, tries = REFUSED[how]
    proxy = await open_proxy(then=says)
    caplog.set_level(logging.DEBUG)
    fetcher = await open_fetcher(proxy_url=proxy.url.replace("//", "//user:s3cret@"))
    with pytest.raises(FetchProxyError) as caught:
        await fetched(fetcher, save, f"{origin.url}/ok")
    error = caught.value
    assert error.extra.get("proxy_status") == status
    assert error.extra["tries"] == proxy.connections == tries
    assert "proxy" in error.detail
    assert "http_status" not in error.extra
    assert origin.connections == 0
    secret = base64.b64encode(b"user:s3cret").decode()
    for said in (error.detail, error.log_detail, str(error.problem()), caplog.text):
        assert "s3cret" not in said
        assert secret not in said


@BOTH_LOOPS
@pytest.mark.parametrize("says", [HANG, b"HTTP/1.1 200 OK\r\n"])
async def test_a_proxy_that_hangs_meets_the_connect_timeout(
    says, origin, open_proxy, open_fetcher, save
):
    class Silent(ConnectProxy):
        async def serve(self, reader, writer):
            await super().serve(reader, writer)
            await reader.read()

    async with Silent(then=says) as proxy:
        fetcher = await open_fetcher(proxy_url=proxy.url, connect_timeout_s=0.1)
        with pytest.raises(FetchError) as caught:
            await fetched(fetcher, save, f"{origin.url}/ok")
    assert caught.value.code == "fetch.timeout"
    assert caught.value.extra == {"phase": "connect", "tries": 3}
    assert "through the proxy" in caught.value.detail


@pytest.mark.parametrize("host", [PUBLIC, "proxy.test", "nowhere.test"])
async def test_a_proxy_that_is_not_there(host, origin, unused_port, open_fetcher, save):
    async def lookup(name):
        if name == "nowhere.test":
            raise OSError("no such name")
        return [PUBLIC]

    fetcher = await open_fetcher(lookup, proxy_url=f"http://{host}:{unused_port}")
    with pytest.raises(FetchProxyError) as caught:
        await fetched(fetcher, save, f"{origin.url}/ok")
    assert caught.value.extra == {"temporary": True, "tries": 3}
    assert f"http://{host}:{unused_port}" in caught.value.log_detail
    assert host not in caught.value.detail


async def test_a_proxy_that_recovers_is_good_enough(origin, open_proxy, open_fetcher, save):
    proxy = await open_proxy(refusal(502))
    fetcher = await open_fetcher(proxy_url=proxy.url)
    assert (await fetched(fetcher, save, f"{origin.url}/ok")).facts["tries"] == 2


@BOTH_LOOPS
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_tunnel_that_leads_to_nobody_is_a_failed_connection(
    scheme, unused_port, proxy, open_fetcher, save
):
    """The proxy has said yes before it knew."""
    fetcher = await open_fetcher(proxy_url=proxy.url)
    with pytest.raises(FetchConnectError):
        await fetched(fetcher, save, f"{scheme}://{PUBLIC}:{unused_port}/", ONCE)


# -- names with several addresses --------------------------------------------------------------


async def test_ipv4_is_asked_for_first_and_the_next_address_after_a_refusal(
    origin, open_proxy, open_fetcher, save
):
    proxy = await open_proxy(refusal(503), OPEN)
    lookup = named(name=["::1", "127.0.0.9", PUBLIC])
    fetcher = await open_fetcher(lookup, proxy_url=proxy.url, allow_networks="127.0.0.0/8,::1/128")
    got = await fetched(fetcher, save, f"http://name.test:{origin.port}/ok")
    assert (got.body, got.facts["tries"]) == (BODY, 1)
    assert proxy.targets == [f"127.0.0.9:{origin.port}", f"{PUBLIC}:{origin.port}"]


@pytest.mark.parametrize(
    ("script", "status", "asked"),
    [([refusal(403)], 403, MAX_ADDRESSES), ([b""], None, MAX_ADDRESSES), ([refusal(407)], 407, 1)],
)
async def test_the_first_refusal_counts_and_a_few_addresses_are_enough(
    script, status, asked, open_proxy, open_fetcher, save
):
    proxy = await open_proxy(*script, then=refusal(502))
    lookup = named(name=[f"127.0.0.{n}" for n in range(1, 100)])
    fetcher = await open_fetcher(lookup, proxy_url=proxy.url, allow_networks="127.0.0.0/8")
    with pytest.raises(FetchProxyError) as caught:
        await fetched(fetcher, save, "http://name.test/", ONCE)
    assert (caught.value.extra.get("proxy_status"), proxy.connections) == (status, asked)


# -- webhooks and pushes -----------------------------------------------------------------------


async def test_webhooks_go_through_the_proxy(receiver, proxy, open_fetcher):
    fetcher = await open_fetcher(proxy_url=proxy.url)
    sent = await attempt.send(
        fetcher.client, "POST", f"{receiver.url}/ok", {}, b"{}", timeout_s=5, at=AT
    )
    assert (sent.http_status, receiver.received[0].body) == (200, b"{}")
    assert proxy.targets == [f"{PUBLIC}:{receiver.port}"]


async def test_the_operators_own_endpoint_is_told_through_the_proxy(proxy, open_fetcher):
    fetcher = await open_fetcher(proxy_url=proxy.url)
    networks = FetchSettings(allow_networks=f"{PRIVATE}/32").allow_networks
    async with Receiver(PRIVATE) as inside, fetcher.wider_client(networks) as client:
        url = f"http://{PRIVATE}:{inside.port}/ok"
        sent = await attempt.send(client, "POST", url, {}, b"{}", timeout_s=5, at=AT)
        past = await attempt.send(fetcher.client, "POST", url, {}, b"{}", timeout_s=5, at=AT)
    assert (sent.http_status, past.problem.code) == (200, "fetch.forbidden")
    assert proxy.targets == [f"{PRIVATE}:{inside.port}"]


@BOTH_LOOPS
async def test_results_are_put_through_the_proxy(receiver, proxy, open_fetcher, tmp_path):
    path = tmp_path / "result"
    path.write_bytes(b"x" * 600_000)
    fetcher = await open_fetcher(proxy_url=proxy.url)
    sent = await attempt.put(
        fetcher.client,
        PutTarget(f"{receiver.url}/ok"),
        path,
        Blob("key", 600_000, "text/plain", "00" * 32),
        timeout_s=5,
        at=AT,
    )
    assert (sent.http_status, len(receiver.received[0].body)) == (200, 600_000)
    assert proxy.targets == [f"{PUBLIC}:{receiver.port}"]


async def test_a_refusal_is_the_attempts_reason_and_no_answer_of_the_receivers(
    receiver, open_proxy, open_fetcher
):
    proxy = await open_proxy(then=refusal(403))
    fetcher = await open_fetcher(proxy_url=proxy.url)
    sent = await attempt.send(
        fetcher.client, "POST", f"{receiver.url}/ok", {}, b"{}", timeout_s=5, at=AT
    )
    assert (sent.http_status, sent.answer, sent.problem.code) == (None, "", "fetch.proxy")
    assert sent.problem.extra["proxy_status"] == 403
    assert receiver.connections == 0


# -- the setting -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "proxy.test:3128",
        "https://user:s3cret@proxy.test:3128",
        "socks5://user:s3cret@proxy.test:1080",
        "http://user:s3cret@",
        "http://user:s3cret#@proxy.test:3128",
        "http://user:s3/cret@proxy.test:3128",
        "http://user:s3cret@proxy.test:0",
        "http://user:s3cret@proxy.test:65536",
        "http://user:s3cret@proxy.test:3128/path",
        "http://user:s3cret@proxy.test:3128?query",
        "http://user:s3cret@ proxy.test:3128",
        "http://user:s3cret@127.1:3128",
        "http://us%3Aer:s3cret@proxy.test:3128",
    ],
)
def test_what_is_no_proxy_is_refused_at_the_start_without_repeating_it(url, monkeypatch):
    monkeypatch.setenv("OFFLOAD_FETCH_PROXY_URL", url)
    with pytest.raises(ValidationError, match="proxy") as caught:
        Settings()
    assert "cret" not in str(caught.value)


@given(st.text(st.characters(exclude_categories=())))
def test_no_credentials_break_the_reader_or_are_repeated_by_it(credentials):
    said = ""
    try:
        proxy = Proxy.parse(f"http://{credentials}s3cret@proxy.test:3128")
    except ValueError as error:
        said = str(error)
    else:
        assert str(proxy) == "http://proxy.test:3128"
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://proxy.test:3128", "http://proxy.test:3128"),
        ("http://proxy.test/", "http://proxy.test:80"),
        ("http://user:s3cret@[::1]:3128", "http://[::1]:3128"),
    ],
)
def test_credentials_are_never_shown(url, shown, monkeypatch):
    monkeypatch.setenv("OFFLOAD_FETCH_PROXY_URL", url)
    settings = Settings()
    assert str(settings.fetch.proxy) == shown
    proxy = settings.fetch.proxy
    for said in (repr(settings), settings.model_dump_json(), repr(proxy), str(proxy)):
        assert "s3cret" not in said
        assert not proxy.authorization or proxy.authorization not in said


async def test_an_empty_setting_is_no_proxy(origin, save):
    settings = FetchSettings(proxy_url="", allow_networks="127.0.0.1/32")
    assert settings.proxy is None
    async with Fetcher(settings) as fetcher:
        assert (await fetched(fetcher, save, f"{origin.url}/ok")).body == BODY
