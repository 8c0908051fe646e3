"""What is believed of `X-Forwarded-*`, hop by hop."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from app.api.forwarded import Forwarded

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("::1/128")]
pytestmark = pytest.mark.anyio


async def seen(client="10.0.0.1", root_path="", path="/x", **headers):
    """Give what the application sees of a request with these headers."""
    got = {}

    async def app(scope, receive, send):
        got.update(scope)

    told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "client": (client, 1234),
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "headers": [(b"host", b"inner:8000"), *told],
    }
    await Forwarded(app, root_path, TRUSTED)(scope, None, None)
    return got


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
        ("10.2.2.2, 10.1.1.1", "10.2.2.2"),
        ("[2001:db8::1]:443, ::1", "2001:db8::1"),
        ("203.0.113.9:50000", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, unknown", "10.0.0.1"),
        ("6.6.6.6, unknown, 10.1.1.1", "10.1.1.1"),
        ("", "10.0.0.1"),
    ],
)
async def test_the_client_is_the_last_that_no_trusted_proxy_is(hops, client):
    assert (await seen(x_forwarded_for=hops))["client"][0] == client


async def test_scheme_and_host_are_those_that_the_client_used():
    got = await seen(x_forwarded_proto="https", x_forwarded_host="files.example.com")
    assert got["scheme"] == "https"
    assert dict(got["headers"])[b"host"] == b"files.example.com"


async def test_a_host_that_is_none_is_ignored():
    got = await seen(x_forwarded_proto="gopher", x_forwarded_host="a b/../c")
    assert got["scheme"] == "http"
    assert dict(got["headers"])[b"host"] == b"inner:8000"


async def test_strangers_are_not_believed():
    got = await seen(
        client="192.0.2.1",
        x_forwarded_for="10.9.9.9",
        x_forwarded_proto="https",
        x_forwarded_host="evil.test",
        x_forwarded_prefix="/evil",
    )
    assert (got["client"][0], got["scheme"], got["path"]) == ("192.0.2.1", "http", "/x")
    assert dict(got["headers"])[b"host"] == b"inner:8000"
    assert not got.get("root_path")


@pytest.mark.parametrize(
    ("path", "placed"),
    [("/x", "/r/x"), ("/r/x", "/r/x"), ("/r", "/r/"), ("/rx", "/r/rx"), ("/", "/r/")],
)
async def test_a_request_is_placed_below_the_root(path, placed):
    got = await seen(root_path="/r", path=path)
    assert (got["path"], got["root_path"]) == (placed, "/r")
