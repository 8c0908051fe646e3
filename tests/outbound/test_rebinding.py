"""Names that change their minds: a real name server, a real origin, and one nobody may reach.

127.0.0.1 stands for the public internet, 127.0.0.2 for the operator's private network. Both listen
on the same port, so that only the address decides where a connection goes.
"""

import contextlib

import pytest

from app.errors import FetchForbidden, FetchNameError, FetchTimeout
from app.ops.fetch import FetchParams

from .dns import NXDOMAIN, SERVFAIL, SILENCE, NameServer
from .origin import BODY, Canary, Origin

pytestmark = pytest.mark.anyio

PUBLIC, PRIVATE = "127.0.0.1", "127.0.0.2"
DEFAULTS = FetchParams()
ONCE = FetchParams(retries=0)


@pytest.fixture
async def origin(anyio_backend):
    async with Origin() as server:
        yield server


@pytest.fixture
async def inside(origin):
    async with Canary(PRIVATE, origin.port) as canary:
        yield canary
        assert canary.connections == 0


@pytest.fixture
async def world(origin, inside, open_fetcher, save):
    """Give a function that opens a fetcher in a world where names resolve as scripted."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**scripts):
            names = await stack.enter_async_context(
                NameServer({f"{name}.test": script for name, script in scripts.items()})
            )
            fetcher = await open_fetcher(names.lookup(), connect_timeout_s=0.5)

            async def fetch(url, params=DEFAULTS):
                url = url.replace(".test/", f".test:{origin.port}/", 1)
                return await fetcher.fetch(url, params, None, save)

            fetch.names = names
            return fetch

        yield make


async def test_one_fetch_asks_once_and_goes_where_it_was_judged(world):
    fetch = await world(rebind=[[PUBLIC], [PRIVATE]])
    assert (await fetch("http://rebind.test/ok")).body == BODY
    assert fetch.names.asked == ["rebind.test"]


@pytest.mark.parametrize(
    "answer",
    [
        [PRIVATE],
        [PUBLIC, PRIVATE],
        [PRIVATE, PUBLIC],
        [PUBLIC, "::1"],
        [PUBLIC, "::ffff:127.0.0.2"],
        [PUBLIC, "64:ff9b::7f00:2"],
        ["alias.elsewhere", PRIVATE],
        ["0.0.0.0"],
        ["169.254.169.254"],
        ["fd00::1"],
    ],
)
async def test_an_answer_with_a_private_address_leads_to_no_connection(answer, world, origin):
    fetch = await world(evil=[answer])
    with pytest.raises(FetchForbidden) as caught:
        await fetch("http://evil.test/ok")
    assert caught.value.extra["tries"] == 1
    assert origin.connections == 0


async def test_an_alias_of_a_public_address_is_followed(world):
    fetch = await world(alias=[["origin.elsewhere", PUBLIC]])
    assert (await fetch("http://alias.test/ok")).body == BODY


async def test_the_next_fetch_is_judged_anew(world):
    fetch = await world(rebind=[[PUBLIC], [PRIVATE]])
    await fetch("http://rebind.test/until-close")
    with pytest.raises(FetchForbidden):
        await fetch("http://rebind.test/ok")
    assert len(fetch.names.asked) == 2


@pytest.mark.parametrize("path", ["close", "short", "reset"])
async def test_a_second_try_is_judged_anew(path, world, origin):
    fetch = await world(rebind=[[PUBLIC], [PRIVATE]])
    with pytest.raises(FetchForbidden) as caught:
        await fetch(f"http://rebind.test/{path}")
    assert (caught.value.extra["tries"], origin.connections) == (2, 1)


async def test_the_rest_of_a_cut_body_is_asked_for_where_it_may_be(world, origin, save):
    fetch = await world(rebind=[[PUBLIC], [PRIVATE]])
    with pytest.raises(FetchForbidden):
        await fetch("http://rebind.test/cut/well")
    assert (origin.connections, save.kept) == (1, [])


@pytest.mark.parametrize("hops", [1, 2, 5])
async def test_every_hop_is_judged(hops, world, origin):
    scripts = {f"hop{n}": [[PUBLIC]] for n in range(hops)} | {f"hop{hops}": [[PRIVATE]]}
    fetch = await world(**scripts)
    path = "".join(f"to-named/hop{n}.test/" for n in range(1, hops + 1))
    with pytest.raises(FetchForbidden):
        await fetch(f"http://hop0.test/{path}ok")
    assert len(origin.requests) == hops
    assert fetch.names.asked == [f"hop{n}.test" for n in range(hops + 1)]


async def test_a_redirect_back_to_the_same_name_is_judged_too(world, origin):
    fetch = await world(rebind=[[PUBLIC], [PRIVATE]])
    with pytest.raises(FetchForbidden):
        await fetch("http://rebind.test/to-named-and-close/rebind.test/ok")
    assert len(origin.requests) == 1


@pytest.mark.parametrize(("answer", "tries"), [(NXDOMAIN, 1), ([], 1), (SERVFAIL, 3)])
async def test_a_name_without_an_address_is_asked_for_again_if_that_may_help(answer, tries, world):
    fetch = await world(gone=[answer])
    with pytest.raises(FetchNameError) as caught:
        await fetch("http://gone.test/ok")
    assert caught.value.extra["tries"] == len(fetch.names.asked) == tries


async def test_a_name_server_that_recovers_is_good_enough(world):
    fetch = await world(ill=[SERVFAIL, [PUBLIC]])
    assert (await fetch("http://ill.test/ok")).facts["tries"] == 2


async def test_a_name_server_that_is_silent_meets_the_connect_timeout(world):
    fetch = await world(silent=[SILENCE])
    with pytest.raises(FetchTimeout) as caught:
        await fetch("http://silent.test/ok", ONCE)
    assert caught.value.extra["phase"] == "connect"
