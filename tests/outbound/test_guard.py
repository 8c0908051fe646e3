"""Promise 20: no fetch ever connects to an address that is not public, unless the operator says so.

ASVS 1.3.6. The canary is a real server; what counts is that nobody connected to it.
"""

import socket
from ipaddress import ip_address

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.errors import FetchError, FetchForbidden, FetchNameError, FetchUrlInvalid
from app.ops.fetch import FetchParams
from app.outbound.addresses import denied
from app.outbound.client import open_client
from app.outbound.guard import REFUSED, Guard, GuardSettings, SystemLookup
from app.outbound.limits import FetchSettings

from .origin import Server, answer

pytestmark = pytest.mark.anyio

SECONDS = FetchSettings(connect_timeout_s=1, read_timeout_s=1)


def words(text):
    return text.split()


NON_PUBLIC = words("""
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1
    127.255.255.254 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1
    192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1
    203.0.113.1 224.0.0.1 239.1.1.1 239.255.255.255 240.0.0.1 255.255.255.254 255.255.255.255
    168.63.129.16 :: ::1 ::2 ::127.0.0.1 ::10.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1
    ::ffff:169.254.169.254 ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8 64:ff9b::127.0.0.1
    64:ff9b::8.8.8.8 64:ff9b:1::1 64:ff9b:1::127.0.0.1 100::1 100:0:0:1::1 2001::1
    2001:0:7f00:1:: 2001:2::1 2001:10::1 2001:20::1 2001:1ff:ffff::1 2001:db8::1 2002:7f00:1::
    2002:808:808:: 3fff::1 3fff:fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%lo
    fe80::5efe:127.0.0.1 febf::1 fec0::1 ff02::1 ff0e::1
""")

PUBLIC = words("""
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1
    169.253.255.255 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0
    198.17.255.255 198.20.0.0 223.255.255.255 168.63.129.15 ::ffff:8.8.8.8 2000::1 2001:200::1
    2001:4860:4860::8888 2003::1 2606:4700::1111 2a00::1 3ffe::1 3fff:1000::1
""")


def guard(lookup=None, **settings):
    return Guard(GuardSettings(**settings), lookup)


def answers(*addresses):
    async def lookup(host):
        return addresses

    return lookup


@pytest.mark.parametrize("address", NON_PUBLIC)
def test_an_address_that_is_not_public_is_denied_with_a_reason(address):
    assert denied(ip_address(address))
    assert guard().judge(ip_address(address), 80)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_let_through(address):
    assert denied(ip_address(address)) is None
    assert guard().judge(ip_address(address), 443) is None


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_the_one_inside(address):
    assert denied(ip_address(f"::ffff:{address}")) == denied(address)


@settings(deadline=None)
@given(st.ip_addresses(v=6).filter(lambda a: a.ipv4_mapped is None and a.packed[0] >> 5 != 1))
def test_ipv6_outside_the_public_block_is_denied_whatever_it_is(address):
    assert denied(address)


@settings(deadline=None)
@given(st.ip_addresses())
def test_nothing_that_the_standard_library_calls_private_is_let_through(address):
    """A cross-check in the one direction that holds: our table may be stricter, never laxer."""
    lax = {ip_address("192.0.0.9"), ip_address("192.0.0.10")}
    assert denied(address) or not (address.is_private or address.is_multicast) or address in lax


SPELLINGS = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "127.127.127.127",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "0x7f000001",
    "0x7F000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "00000127.0.0.1",
    "0",
    "0.0.0.0",
    "0x0",
    "4294967295",
    "1.2.3.4.5",
    "256.0.0.1",
    "１２７.0.0.1",  # noqa: RUF001 - full-width digits
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "127．0．0．1",  # noqa: RUF001 - full-width full stops
    "١٢٧.٠.٠.١",  # noqa: RUF001 - Arabic digits
    "127%2e0%2e0%2e1",
    "%31%32%37.0.0.1",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::1]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::FFFF:7F00:0001]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "[::1%25lo]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[v1.7f000001]",
    "[127.0.0.1]",
    "[::1",
    "::1",
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "user@127.0.0.1",
    "user:password@127.0.0.1",
    "public.test@127.0.0.1",
    "127.0.0.1:80@public.test",
    "public.test%40127.0.0.1",
    "public.test\\@127.0.0.1",
    "public.test#@127.0.0.1",
    "127.0.0.1\t",
    "127.0.0.1\n",
    "127.0.0.1\x00.public.test",
    "\u2028127.0.0.1",
    " 127.0.0.1",
    "127.0.0.1\u00a0",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "ⓛocalhost",
    "loc\u00adalhost",
    "localhost%00.public.test",
]


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_of_a_private_address_leads_to_a_connection(host, canary, open_fetcher):
    fetcher = await open_fetcher(allow_networks=(), ports={canary.port}, connect_timeout_s=0.2)

    for url in (f"http://{host}:{canary.port}/", f"https://{host}:{canary.port}/"):
        with pytest.raises(FetchError) as refusal:
            await fetcher.fetch(url, FetchParams(retries=0), None, None)
        # "localhost" in capitals or with a dot resolves by the system, "public.test" does not.
        assert isinstance(refusal.value, FetchForbidden | FetchUrlInvalid | FetchNameError)

    assert canary.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "name.test"])
async def test_the_dial_itself_is_judged_even_if_the_url_was_not(host, canary):
    """The second line on its own: literals never reach aiohttp's resolver."""

    class Credulous(Guard):
        def _check_early(self, host, port):
            pass

    judge = Credulous(GuardSettings(ports={canary.port}), answers("127.0.0.1"))
    async with open_client(judge, SECONDS) as client:
        with pytest.raises(FetchForbidden) as refusal:
            await client.get(f"http://{host}:{canary.port}/")

    assert refusal.value.detail == REFUSED
    assert "loopback" in refusal.value.log_detail
    assert canary.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/path",
        "//127.0.0.1/",
        "127.0.0.1/",
        "http:/127.0.0.1/",
        "http:127.0.0.1",
        "http://",
        "http:///path",
        "http://:80/",
        "http://?",
        "http://a..b/",
        "http://.a/",
        "http://-/",
        "http://a b/",
        "http://a/b c",
        "http://a/\r\nHost: b",
        "http://a/\x00",
        "http://a\\b/",
        "http://a/b\\c",
        "http://a:b/",
        "http://a:-1/",
        "http://a:1:2/",
        "http://a:99999/",
        "http://" + "a" * 64 + ".test/",
        "http://" + "a." * 127 + "test/",
        "http://a/" + "b" * 8192,
        "http://xn--/",
        "http://xn--a\u0308/",
        "http://[",
        "http://]",
        "http://[]/",
        "http://\ud800/",
        "http://@a/\x7f",
        "http://user@a/",
        "http://:secret@a/",
    ],
)
def test_a_url_that_is_not_plain_and_absolute_is_refused(url):
    with pytest.raises(FetchUrlInvalid) as refusal:
        guard(allow_networks="0.0.0.0/0, ::/0").check_url(url)
    assert "secret" not in refusal.value.detail + refusal.value.log_detail


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://a.test/",
        "gopher://127.0.0.1:6379/_x",
        "data:text/plain,x",
        "javascript:alert(1)",
        "unix:///run/docker.sock",
        "dict://a.test/",
        "ws://a.test/",
        "http+unix://%2Frun%2Fdocker.sock/x",
        "localhost:80/",
    ],
)
def test_only_http_and_https_are_spoken(url):
    with pytest.raises(FetchForbidden):
        guard(allow_networks="0.0.0.0/0").check_url(url)


@settings(deadline=None)
@given(st.text())
def test_whatever_stands_in_a_url_the_answer_is_a_target_or_a_refusal(text):
    for url in (text, f"http://{text}", f"http://a.test/{text}", f"http://a.test:{text}/"):
        try:
            target = guard().check_url(url)
        except FetchError:
            continue
        assert str(target.url).isascii()
        assert target.host == target.url.raw_host.decode()


@pytest.mark.parametrize(
    ("url", "canonical", "origin"),
    [
        ("HTTP://EXAMPLE.Test", "http://example.test", ("http", "example.test", 80)),
        ("https://a.test:443/x#y", "https://a.test/x", ("https", "a.test", 443)),
        ("http://a.test:8080/", "http://a.test:8080/", ("http", "a.test", 8080)),
        (
            "http://bücher.test/ü?q=ü",
            "http://xn--bcher-kva.test/%C3%BC?q=%C3%BC",
            ("http", "xn--bcher-kva.test", 80),
        ),
        ("http://a_b.test./", "http://a_b.test./", ("http", "a_b.test.", 80)),
        (
            "http://a.test/%2f%41?x=%20+%7e",
            "http://a.test/%2f%41?x=%20+%7e",
            ("http", "a.test", 80),
        ),
        ("http://[2606:4700::1]/", "http://[2606:4700::1]/", ("http", "2606:4700::1", 80)),
        ("http://8.8.8.8/", "http://8.8.8.8/", ("http", "8.8.8.8", 80)),
    ],
)
def test_a_good_url_comes_back_in_canonical_form(url, canonical, origin):
    target = guard().check_url(url)
    assert str(target.url) == canonical
    assert target.origin == origin


@pytest.mark.parametrize("port", [0, 22, 25, 81, 6379, 8000, 65535])
def test_other_ports_than_the_allowed_are_refused(port):
    for host in ("a.test", "8.8.8.8", "[2606:4700::1]"):
        with pytest.raises((FetchForbidden, FetchUrlInvalid)):
            guard().check_url(f"http://{host}:{port}/")


async def test_an_allowed_network_opens_its_addresses_on_any_port_and_nothing_else():
    judge = guard(allow_networks=["10.1.0.0/16"])

    assert judge.judge(ip_address("10.1.2.3"), 6379) is None
    assert judge.judge(ip_address("::ffff:10.1.2.3"), 6379) is None
    assert judge.judge(ip_address("10.2.0.1"), 80)
    assert judge.judge(ip_address("8.8.8.8"), 6379)
    assert judge.check_url("http://10.1.2.3:6379/").port == 6379
    with pytest.raises(FetchForbidden):
        judge.check_url("http://10.2.0.1/")


async def test_nat64_is_opened_by_the_operator_and_the_address_inside_is_judged_still():
    judge = guard(allow_networks=["64:ff9b::/96"])

    assert judge.judge(ip_address("64:ff9b::8.8.8.8"), 443) is None
    assert judge.judge(ip_address("64:ff9b::8.8.8.8"), 22)
    assert judge.judge(ip_address("64:ff9b::10.0.0.1"), 443)


@pytest.mark.parametrize("address", NON_PUBLIC)
async def test_a_name_that_resolves_to_a_private_address_is_refused(address):
    with pytest.raises(FetchForbidden) as refusal:
        await guard(answers(address)).resolve("name.test", 80)
    assert refusal.value.detail == REFUSED
    assert str(ip_address(address)) in refusal.value.log_detail


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_one_private_answer_among_public_ones_refuses_the_name(position):
    mixed = ["8.8.8.8", "2606:4700::1111"]
    mixed.insert(position, "10.0.0.1")
    with pytest.raises(FetchForbidden):
        await guard(answers(*mixed)).resolve("name.test", 80)


async def test_all_public_answers_are_given_for_dialling_once_each():
    judged = await guard(answers("8.8.8.8", "2606:4700::1111", "8.8.8.8")).resolve("a.test", 80)
    assert judged == [ip_address("8.8.8.8"), ip_address("2606:4700::1111")]


@pytest.mark.parametrize(
    ("failure", "temporary"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), False),
        (socket.gaierror(socket.EAI_AGAIN, "later"), True),
        (UnicodeError("label too long"), False),
        (OSError("no resolver"), False),
        (None, False),
    ],
)
async def test_a_name_without_addresses_is_a_name_error(failure, temporary):
    async def lookup(host):
        if failure is not None:
            raise failure
        return []

    with pytest.raises(FetchNameError) as caught:
        await guard(lookup).resolve("name.test", 80)
    assert caught.value.extra["temporary"] is temporary


async def test_the_system_lookup_gives_numeric_addresses():
    lookup = SystemLookup()
    try:
        assert await lookup("127.0.0.1") == ["127.0.0.1"]
        assert await lookup("0x7f.1") == ["127.0.0.1"]
    finally:
        lookup.close()


class Rebinding:
    """A name server that answers one address first and another ever after."""

    def __init__(self, first, then):
        self.asked = 0
        self._answers = first, then

    async def __call__(self, host):
        self.asked += 1
        return [self._answers[min(self.asked, 2) - 1]]


class Neighbour(Server):
    """Listens on 127.0.0.2, the private address of these tests, on the origin's own port."""

    def __init__(self, port):
        super().__init__("127.0.0.2", port)

    async def serve(self, reader, writer):
        writer.write(answer(b"secret"))


async def test_a_name_that_is_bound_anew_is_dialled_where_it_was_judged(origin, open_fetcher, save):
    lookup = Rebinding("127.0.0.1", "127.0.0.2")
    async with Neighbour(origin.port) as neighbour:
        fetcher = await open_fetcher(lookup)
        url = f"http://name.test:{origin.port}"

        fetched = await fetcher.fetch(f"{url}/until-close", FetchParams(), None, save)
        assert fetched.facts["status"] == 200
        assert lookup.asked == 1
        with pytest.raises(FetchForbidden):
            await fetcher.fetch(f"{url}/ok", FetchParams(), None, save)

    assert lookup.asked == 2
    assert origin.connections == 1
    assert neighbour.connections == 0


async def test_a_redirect_to_a_rebound_name_is_judged_again(origin, open_fetcher, save):
    lookup = Rebinding("127.0.0.1", "127.0.0.2")
    async with Neighbour(origin.port) as neighbour:
        fetcher = await open_fetcher(lookup)
        # The origin names itself by another name, which makes for a second connection.
        url = f"http://name.test:{origin.port}/to-host/other.test"
        with pytest.raises(FetchForbidden):
            await fetcher.fetch(url, FetchParams(), None, save)

    assert origin.paths() == ["/to-host/other.test"]
    assert neighbour.connections == 0


async def test_a_redirect_to_a_private_address_is_not_followed(origin, canary, open_fetcher, save):
    fetcher = await open_fetcher(answers("127.0.0.1"), allow_networks=["127.0.0.1"])
    strict = await open_fetcher(
        answers("8.8.8.8"), allow_networks=["127.0.0.1/32"], ports={canary.port}
    )
    for one in (fetcher, strict):
        for place in ("to-metadata", "to-file", "to-neighbour"):
            with pytest.raises(FetchForbidden):
                await one.fetch(f"{origin.url}/{place}", FetchParams(), None, save)
    assert canary.connections == 0


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_a_proxy_in_the_environment_is_ignored(
    variable, origin, canary, open_fetcher, save, monkeypatch
):
    monkeypatch.setenv(variable, canary.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    fetcher = await open_fetcher()

    fetched = await fetcher.fetch(f"{origin.url}/ok", FetchParams(), None, save)

    assert fetched.facts["status"] == 200
    assert canary.connections == 0


async def test_tls_and_host_keep_the_name(open_fetcher, save):
    class Listener(Server):
        heard = b""

        async def serve(self, reader, writer):
            self.heard += await reader.read(4096)

    async with Listener() as listener:
        fetcher = await open_fetcher(answers("127.0.0.1"))
        for scheme in ("http", "https"):
            url = f"{scheme}://name.test:{listener.port}/"
            with pytest.raises(FetchError):
                await fetcher.fetch(url, FetchParams(retries=0), None, save)

    plain, _, hello = listener.heard.partition(b"\r\n\r\n")
    assert f"host: name.test:{listener.port}".encode() in plain.lower()
    assert b"name.test" in hello


async def test_the_client_itself_refuses_other_schemes_and_follows_nothing(origin):
    judge = guard(allow_networks="127.0.0.1/32")
    async with open_client(judge, SECONDS) as client:
        with pytest.raises(FetchForbidden):
            await client.get("ftp://127.0.0.1/")
        with pytest.raises(FetchUrlInvalid):
            await client.get(httpx.URL(origin.url).copy_with(username="user"))
        assert (await client.get(f"{origin.url}/to-ok")).status_code == 302
        posted = await client.post(f"{origin.url}/echo", content=b"")
        assert posted.status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"allow_networks": "10.0.0.1/8"},
        {"allow_networks": "everything"},
        {"ports": "0"},
        {"ports": "65536"},
        {"allow": "10.0.0.0/8"},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValidationError):
        GuardSettings(**settings)


def test_settings_can_be_written_as_a_list_with_commas():
    settings = GuardSettings(allow_networks="10.0.0.0/8, fd00::/8", ports="80,8443")
    assert [str(network) for network in settings.allow_networks] == ["10.0.0.0/8", "fd00::/8"]
    assert settings.ports == {80, 8443}
