"""Every behaviour of the hostile origin and what it leads to: one table, one row each.

Promise 22: a body is a success if it is whole, as far as HTTP can tell, and nothing else is.
"""

import asyncio

import pytest

from app.errors import CATALOGUE, FetchError
from app.ops.fetch import FetchParams

from .origin import BODY, PAGES, Origin

pytestmark = pytest.mark.anyio

WHOLE, EMPTY = "whole", "empty"
STRICT = FetchParams(retries=0, connect_timeout_s=0.5, read_timeout_s=0.5, timeout_s=3)
"""Far above what the well-behaved need, and short enough for those who stall."""
HASTY = {"connect_timeout_s": 0.1, "read_timeout_s": 0.1, "timeout_s": 0.3}

TABLE = {
    # Bodies that come whole, whatever way they come.
    "/ok": WHOLE,
    "/chunked": WHOLE,
    "/chunk-extension": b"four",
    "/chunk-trailer": WHOLE,
    "/until-close": WHOLE,
    "/http-1.0-with-length": WHOLE,
    "/byte-by-byte": BODY[:100],
    "/identity": WHOLE,
    "/identity-twice": WHOLE,
    "/gzip": WHOLE,
    "/x-gzip": WHOLE,
    "/gzip-chunked": WHOLE,
    "/gzip-two-members": WHOLE,
    "/deflate": WHOLE,
    "/deflate-raw": WHOLE,
    "/long": WHOLE,
    "/set-cookie": WHOLE,
    "/typed": WHOLE,
    "/site.css": b"a {",
    "/page.html": b"<!DOCTYPE html>",
    "/mark.png": b"\x89PNG",
    "/status-without-reason": WHOLE,
    "/header-folded": WHOLE,
    "/header-of-high-bytes": WHOLE,
    "/100-first": WHOLE,
    "/103-first": WHOLE,
    "/203": WHOLE,
    "/cut/well/0": WHOLE,
    "/versioned": WHOLE,
    "/empty": EMPTY,
    "/204": EMPTY,
    "/205": EMPTY,
    "/gzip-empty-members": EMPTY,
    # Bodies that end before their end.
    "/short": "fetch.truncated",
    "/chunk-cut": "fetch.truncated",
    "/chunk-end-cut": "fetch.truncated",
    "/chunks-without-end": "fetch.truncated",
    "/reset_in_body": "fetch.truncated",
    "/cut/well": "fetch.truncated",
    "/length-of-the-decoded": "fetch.truncated",
    "/gzip-cut": "fetch.truncated",
    "/gzip-cut-in-trailer": "fetch.truncated",
    "/gzip-cut-in-second-member": "fetch.truncated",
    "/gzip-of-nothing": "fetch.truncated",
    "/deflate-cut": "fetch.truncated",
    "/deflate-one-byte": "fetch.truncated",
    # Codings that lie, or that nobody asked for.
    "/gzip-trailing": "fetch.encoding",
    "/gzip-bad-checksum": "fetch.encoding",
    "/gzip-not": "fetch.encoding",
    "/gzip-twice": "fetch.encoding",
    "/gzip-and-br": "fetch.encoding",
    "/deflate-trailing": "fetch.encoding",
    "/br": "fetch.encoding",
    "/zstd": "fetch.encoding",
    # Too much of it.
    "/declares-much": "fetch.too_large",
    "/gzip-bomb": "fetch.too_large",
    "/endless": "fetch.too_large",
    # What is no HTTP, or could be understood in two ways.
    "/garbage": "fetch.protocol",
    "/no-status-line": "fetch.protocol",
    "/http-2": "fetch.protocol",
    "/http-9.9": "fetch.protocol",
    "/status-of-four-digits": "fetch.protocol",
    "/status-without-digits": "fetch.protocol",
    "/long-reason": "fetch.protocol",
    "/space-before-colon": "fetch.protocol",
    "/header-without-colon": "fetch.protocol",
    "/header-with-nul": "fetch.protocol",
    "/huge-header": "fetch.protocol",
    "/many-headers": "fetch.protocol",
    "/endless_header": "fetch.protocol",
    "/declares-absurdly": "fetch.protocol",
    "/declares-nonsense": "fetch.protocol",
    "/declares-twice": "fetch.protocol",
    "/length-with-plus": "fetch.protocol",
    "/length-in-hex": "fetch.protocol",
    "/length-empty": "fetch.protocol",
    "/length-twice-the-same": "fetch.protocol",
    "/smuggles": "fetch.protocol",
    "/chunk-size-bad": "fetch.protocol",
    "/chunk-size-huge": "fetch.protocol",
    "/chunk-size-negative": "fetch.protocol",
    "/chunk-size-too-small": "fetch.protocol",
    "/coding-of-transfer-unknown": "fetch.protocol",
    # No answer.
    "/close": "fetch.connect",
    "/reset": "fetch.connect",
    "/header-cut": "fetch.connect",
    # No end.
    "/stall": "fetch.timeout",
    "/stall_in_body": "fetch.timeout",
    "/drip": "fetch.timeout",
    "/drip_headers": "fetch.timeout",
    "/held": "fetch.timeout",
    "/to_tls": "fetch.timeout",
    # Statuses that are no success, or none that was asked for.
    "/101": ("fetch.status", 101),
    "/206": ("fetch.status", 206),
    "/206-multipart": ("fetch.status", 206),
    "/300": ("fetch.status", 300),
    "/304": ("fetch.status", 304),
    "/305": ("fetch.status", 305),
    "/401": ("fetch.status", 401),
    "/404": ("fetch.status", 404),
    "/407": ("fetch.status", 407),
    "/410": ("fetch.status", 410),
    "/416": ("fetch.status", 416),
    "/429": ("fetch.status", 429),
    "/429-for-long": ("fetch.status", 429),
    "/500": ("fetch.status", 500),
    "/fails/1": ("fetch.status", 500),
    "/502": ("fetch.status", 502),
    "/503": ("fetch.status", 503),
    "/504": ("fetch.status", 504),
    "/999": ("fetch.status", 999),
    # Redirects that are followed.
    "/to-ok": WHOLE,
    "/to-ok-307": WHOLE,
    "/to-relative": WHOLE,
    "/to-fragment": WHOLE,
    "/to-dots": WHOLE,
    "/to-versioned": WHOLE,
    "/chain/5": WHOLE,
    "/to-query": b"GET /echo?only HTTP/1.1",
    "/to-spaces": b"GET /echo?a%20b=%C3%A4 HTTP/1.1",
    "/to-crlf": b"GET /echo?%0d%0aX-Injected:%201 HTTP/1.1",
    "/to-404": ("fetch.status", 404),
    # Redirects that lead nowhere.
    "/loop": "fetch.redirects",
    "/slow-loop": "fetch.redirects",
    "/chain/6": "fetch.redirects",
    "/to-nowhere": "fetch.redirects",
    "/to-empty": "fetch.redirects",
    "/to-two-places": "fetch.redirects",
    "/to-userinfo": "fetch.redirects",
    "/to-backslash": "fetch.redirects",
    "/to-nonsense": "fetch.redirects",
    "/to-port-zero": "fetch.redirects",
    "/to-port-too-high": "fetch.redirects",
    "/to-data": "fetch.redirects",
    "/to-javascript": "fetch.redirects",
    # Redirects to where nobody may go, in many spellings.
    "/to-decimal": "fetch.redirects",
    "/to-octal": "fetch.redirects",
    "/to-hex": "fetch.redirects",
    "/to-short": "fetch.redirects",
    "/to-circled-digits": "fetch.redirects",
    "/to-zone": "fetch.redirects",
    "/to-file": "fetch.forbidden",
    "/to-ftp": "fetch.forbidden",
    "/to-metadata": "fetch.forbidden",
    "/to-neighbour": "fetch.forbidden",
    "/to-loopback-v6": "fetch.forbidden",
    "/to-mapped": "fetch.forbidden",
    "/to-nat64": "fetch.forbidden",
    "/to-6to4": "fetch.forbidden",
    "/to-zero": "fetch.forbidden",
    "/to-private": "fetch.forbidden",
    "/to-carrier-nat": "fetch.forbidden",
    "/to-odd-port": "fetch.forbidden",
}
STALLS = {path for path, expected in TABLE.items() if expected == "fetch.timeout"}


@pytest.mark.parametrize("path", TABLE)
async def test_a_behaviour_has_its_outcome(path, fetch, save):
    params = STRICT.model_copy(update=HASTY) if path in STALLS else STRICT
    expected = TABLE[path]
    if isinstance(expected, bytes) or expected in (WHOLE, EMPTY):
        fetched = await fetch(path, params)
        begins = {WHOLE: BODY, EMPTY: b""}.get(expected, expected)
        assert fetched.body[: len(begins) or None] == begins
        assert expected not in (WHOLE, EMPTY) or fetched.body == begins
        assert save.kept == [fetched.body]
        assert (fetched.facts["size_bytes"], fetched.facts["tries"]) == (len(fetched.body), 1)
        return
    code, *status = (expected,) if isinstance(expected, str) else expected
    with pytest.raises(FetchError) as caught:
        await fetch(path, params)
    assert type(caught.value) is CATALOGUE[code]
    assert [caught.value.extra["http_status"]] == status if status else True
    assert caught.value.extra["tries"] == 1
    assert (save.kept, save.cleaned) == ([], save.calls)


async def test_after_every_behaviour_the_next_fetch_is_well(fetch, origin, save):
    """Nothing that an origin does to one connection may reach the next request."""
    origin.hold.set()
    paths = [path for path in TABLE if path not in STALLS and path != "/endless"]
    for start in range(0, len(paths), 10):
        some = (fetch(path, STRICT) for path in paths[start : start + 10])
        await asyncio.gather(*some, return_exceptions=True)
        assert (await fetch("/ok")).body == BODY


def test_the_table_is_complete_and_long_enough():
    """A behaviour without an expected outcome proves nothing."""
    methods = {name.removeprefix("do_").replace("_", "-") for name in dir(Origin) if "do_" in name}
    told = {path.strip("/").partition("/")[0].replace("_", "-") for path in TABLE}
    elsewhere = {
        "to-port",
        "to-host",
        "to-named",
        "to-named-and-close",
        "dies-if-reused",
        "flaky",
        "echo",
        *("size", "gzip-of", "stops-at"),  # test_small.py
        "bucket/moved",  # test_remotes.py
    }
    assert ({path.strip("/") for path in PAGES} | methods) - elsewhere <= told
    assert len(TABLE) >= 60
