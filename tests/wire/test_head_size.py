"""Request heads are bounded while they arrive, wherever on a connection they stand."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import HeadTooLarge
from app.wire.bites import LINES_PER_MINUTE
from app.wire.head import Head
from app.wire.settings import HttpSettings
from tests.api.answers import answer_on, connect, head, problem
from tests.service import Service
from tests.wire.connection import CHUNKED, GET, Pipe, ended, fits

LINE, HEAD, HEADERS = 1024, 4096, 20
ENDLESS = 64 << 20
"""More than the buffers of two kernels take: sending it all would need somebody who reads it."""


def header(size_bytes):
    return b"X: " + b"v" * (size_bytes - len(b"X: \r\n")) + b"\r\n"


def url(size_bytes):
    return b"GET /" + b"a" * (size_bytes - 1) + b" HTTP/1.1\r\nHost: x\r\n\r\n"


LAST_CHUNK = CHUNKED + b"1\r\na\r\n0\r\n"
TOO_MUCH = {
    "a URL": url(LINE + 1),
    "a URL that does not end": b"GET /" + b"a" * (64 << 10),
    "a method that does not end": b"\r\n" * 20_000,
    "a header": GET[:-2] + header(LINE + 1) + b"\r\n",
    "a header that does not end": GET[:-2] + b"X: " + b"v" * (64 << 10),
    "a header's name that does not end": GET[:-2] + b"X" * (64 << 10),
    "spaces before a value": GET[:-2] + b"X:" + b" " * (64 << 10),
    "all headers together": GET[:-2] + header(LINE) * 4 + b"\r\n",
    "the number of headers": GET[:-2] + b"a: b\r\n" * HEADERS + b"\r\n",
    "a trailer": LAST_CHUNK + header(LINE + 1) + b"\r\n",
    "a trailer that does not end": LAST_CHUNK + b"X: " + b"v" * (64 << 10),
    "all trailers together": LAST_CHUNK + header(LINE) * 5 + b"\r\n",
    "the number of trailers": LAST_CHUNK + b"a: b\r\n" * HEADERS + b"\r\n",
    "a chunk extension": CHUNKED + b"1;" + b"e" * (64 << 10) + b"\r\na\r\n",
    "many chunk extensions": CHUNKED + (b"1;" + b"e" * 900 + b"\r\na\r\n") * 50,
}
BEFORE = {"the first request": b"", "behind another on the same connection": GET}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("sent", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_head_that_is_too_large_is_refused(tight, sent, before):
    with connect(tight.url) as connection:
        if before:
            connection.sendall(before)
            assert answer_on(connection).status_code == 200
        with contextlib.suppress(OSError):
            connection.sendall(sent)
        answer = answer_on(connection)
        problem(answer, 431, "limit.head")
        assert answer.headers["connection"] == "close"
        assert ended(connection) == b""
    fits(tight)


FITS = {
    "a URL": url(LINE),
    "a header": GET[:-2] + header(LINE) + b"\r\n",
    "all headers together": GET[:-2] + header(LINE) * 3 + header(1000) + b"\r\n",
    "the number of headers": GET[:-2] + b"a: b\r\n" * (HEADERS - 1) + b"\r\n",
}


@pytest.mark.parametrize("sent", FITS.values(), ids=FITS)
def test_a_head_as_large_as_allowed_is_taken_however_it_arrives(tight, sent):
    for step in (len(sent), 7):
        with connect(tight.url) as connection:
            for at in range(0, len(sent), step):
                connection.sendall(sent[at : at + step])
            assert answer_on(connection).status_code == (200 if GET[:-2] in sent else 404)


@pytest.mark.parametrize(
    "begins",
    [GET[:-2] + b"X: ", CHUNKED + b"1;a=", LAST_CHUNK + b"X: "],
    ids=["header", "chunk extension", "trailer"],
)
def test_a_client_that_sends_without_end_is_answered_and_not_read_for_long(tight, begins):
    with connect(tight.url) as connection:
        connection.sendall(begins)
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 4 * ENDLESS:
                sent += connection.send(b"v" * (1 << 20))
        assert sent < 4 * ENDLESS
    fits(tight)


def test_the_bodies_of_small_chunks_are_no_framing(tight, text):
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, text[n : n + 1]) for n in range(20_000))
    with connect(tight.url) as connection:
        connection.sendall(
            head("POST", "/v1/compress?wait=10", "Transfer-Encoding: chunked") + chunks
        )
        connection.sendall(b"0\r\nX: a trailer\r\n\r\n")
        answer = answer_on(connection)
    assert answer.json()["items"][0]["size_bytes"] == 20_000


def test_what_is_not_http_is_told_so(tight):
    for sent in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"):
        with connect(tight.url) as connection:
            connection.sendall(sent)
            problem(answer_on(connection), 400, "input.http")
            assert ended(connection) == b""


def test_a_tunnel_is_refused(tight):
    with connect(tight.url) as connection:
        connection.sendall(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n")
        problem(answer_on(connection), 405, "input.method")


def test_answers_before_a_bad_head_still_come(tight):
    with connect(tight.url) as connection:
        connection.sendall(GET + GET[:-2] + header(LINE + 1) + b"\r\n")
        answers = Pipe(connection)
        assert answer_on(answers).status_code == 200
        problem(answer_on(answers), 431, "limit.head")
        assert ended(connection) == b""


def test_pipelined_requests_are_answered_in_order_and_wait_outside(service):
    """More of them than the service takes in at once: the others are left in the pipe."""
    many = 2_000
    paths = [f"/v1/files/file_{n:032x}" for n in range(many)]
    with connect(service.url) as connection:
        connection.sendall(b"".join(head("GET", path) for path in paths) + GET)
        answers = Pipe(connection)
        seen = [answer_on(answers).text for _ in range(many)]
        assert [path for path, told in zip(paths, seen, strict=True) if path[10:] not in told] == []
        assert answer_on(answers).status_code == 200


@pytest.mark.parametrize("whole", [True, False], ids=["at once", "byte by byte"])
def test_a_wish_for_another_protocol_is_ignored_and_the_body_is_not(tight, whole):
    """Java's HttpClient asks for h2c with every request, those with a body too."""
    wish = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA")
    sent = head("POST", "/v1/compress?wait=10", "Content-Length: 5", *wish) + b"hello" + GET
    with connect(tight.url) as connection:
        for at in range(0, len(sent), len(sent) if whole else 1):
            connection.sendall(sent[at : at + (len(sent) if whole else 1)])
        answers = Pipe(connection)
        assert answer_on(answers).json()["items"][0]["size_bytes"] == 5
        assert answer_on(answers).status_code == 200


def test_a_limit_that_bites_is_told_sparingly(tmp_path):
    with Service.started(tmp_path / "data", {"OFFLOAD_LOG_FORMAT": "json"}) as service:
        for _ in range(20):
            with connect(service.url) as connection:
                connection.sendall(GET[:-2] + header(17 << 10) + b"\r\n")
                problem(answer_on(connection), 431, "limit.head")
        told = [line for line in service.log.read_text().splitlines() if "limit_bit" in line]
    assert len(told) == LINES_PER_MINUTE
    assert '"max_line_bytes"' in told[0]
    assert '"127.0.0.1"' in told[0]


# -- the count alone ---------------------------------------------------------------------------

LIMITS = HttpSettings(max_line_bytes=1024, max_head_bytes=4096, max_headers=20)


@given(st.integers(1, 3000), st.integers(1, 4096), st.integers(0, 4095))
def test_a_line_under_way_is_refused_only_if_it_is_too_long(size_bytes, step, before):
    """However it is cut, and whatever stood before it in the first piece."""
    count = Head(LIMITS)
    count.fed(before + min(step, size_bytes))
    count.complete()  # the parser told of what stood before
    fed = min(step, size_bytes)
    refused = False
    while fed < size_bytes and not refused:
        piece = min(step, size_bytes - fed)
        count.fed(piece)
        fed += piece
        try:
            count.judge()
        except HeadTooLarge:
            refused = True
            assert fed > LIMITS.max_line_bytes
    assert refused or fed <= LIMITS.max_line_bytes + step
