"""Heads, bodies and answers have a time, and a connection that takes longer is cut."""

from __future__ import annotations

import contextlib
import json

import pytest

from tests.api.answers import answer_on, connect, head, problem
from tests.wire.connection import CHUNKED, GET, dripping, ended, fits

SLOW_HEAD = [b"X-Slow: a\r\n"[n : n + 1] for n in range(len(b"X-Slow: a\r\n"))]


def test_a_connection_that_stays_silent_is_closed_without_a_word(tight):
    with connect(tight.url) as connection:
        assert ended(connection) == b""


@pytest.mark.parametrize("before", [b"", GET], ids=["first", "behind another"])
def test_a_head_that_comes_byte_by_byte_is_cut_off(tight, before):
    with connect(tight.url) as connection:
        if before:
            connection.sendall(before)
            assert answer_on(connection).status_code == 200
        connection.sendall(GET[:-2])
        with dripping(connection, SLOW_HEAD, 0.05):
            problem(answer_on(connection), 408, "input.late")
            assert ended(connection) == b""


def test_line_ends_before_a_request_are_no_request(tight):
    with connect(tight.url) as connection, dripping(connection, [b"\r\n"], 0.05):
        assert ended(connection) == b""


def test_a_connection_may_rest_between_requests(tight):
    """Longer than a head may take, which shall not end it."""
    with connect(tight.url) as connection, connect(tight.url) as silent:
        connection.sendall(GET)
        assert answer_on(connection).status_code == 200
        assert ended(silent) == b""
        connection.sendall(GET)
        assert answer_on(connection).status_code == 200


@pytest.mark.parametrize(
    ("begins", "piece"),
    [
        (head("POST", "/v1/compress", "Content-Length: 100000"), b"a"),
        (CHUNKED, b"1\r\na\r\n"),
        (head("POST", "/v1/jobs", "Content-Length: 9999", "Content-Type: application/json"), b" "),
        (head("POST", "/v1/webhooks/test", "Content-Length: 9999"), b" "),
    ],
    ids=["length known", "chunked", "JSON", "a small document"],
)
def test_a_body_that_trickles_is_cut_off(tight, begins, piece):
    with connect(tight.url) as connection:
        connection.sendall(begins)
        with dripping(connection, [piece], 0.02):
            found = problem(answer_on(connection), 408, "input.incomplete")
            assert "1000 bytes a second" in found["detail"]
            assert ended(connection) == b""
    fits(tight)


def test_a_body_that_keeps_its_rate_is_taken_however_long_it_takes(tight):
    size_bytes = 4_000
    sent = head("POST", "/v1/compress?wait=10", f"Content-Length: {size_bytes}")
    with connect(tight.url) as connection, connect(tight.url) as silent:
        connection.sendall(sent)
        with dripping(connection, [bytes(100)], 0.02):
            assert ended(silent) == b""  # one window at least has gone by
            assert answer_on(connection).json()["items"][0]["size_bytes"] == size_bytes


def test_a_client_that_waits_for_our_word_is_not_slow(tight):
    """Nobody is asked for a body before the application wants it."""
    expecting = head("POST", "/v1/compress?wait=10", "Content-Length: 4", "Expect: 100-continue")
    with connect(tight.url) as connection:
        connection.sendall(expecting)
        assert connection.recv(1 << 10).startswith(b"HTTP/1.1 100")
        connection.sendall(b"body")
        assert answer_on(connection).status_code == 200


def test_a_request_that_waits_longer_than_a_head_may_is_answered(tight, held):
    """Also with the beginning of the next request behind it."""
    document = json.dumps({"urls": [f"{held.url}/held"]}).encode()
    asking = head(
        "POST",
        "/v1/fetch?wait=1.5",
        f"Content-Length: {len(document)}",
        "Content-Type: application/json",
    )
    with connect(tight.url) as connection:
        connection.sendall(asking + document + GET[:15])
        came = ended(connection)
    assert came.startswith(b"HTTP/1.1 202")
    assert b"HTTP/1.1 408" in came


def test_a_client_that_does_not_take_its_answer_is_cut_off(tight, tmp_path):
    size_bytes = 64 << 20
    with connect(tight.url) as uploading:
        uploading.sendall(head("POST", "/v1/files", f"Content-Length: {size_bytes}"))
        uploading.sendall(bytes(size_bytes))
        file = answer_on(uploading).json()
    with connect(tight.url) as connection, connect(tight.url) as silent:
        connection.sendall(head("GET", file["href"]))
        assert ended(silent) == b""
        with connect(tight.url) as later:
            assert ended(later) == b""
        came = ended(connection)
        assert 0 < len(came) < size_bytes


def test_a_client_that_sends_on_after_its_answer_is_not_read_without_end(tight):
    with connect(tight.url) as connection:
        connection.sendall(head("POST", "/v1/compress?level=none", f"Content-Length: {1 << 40}"))
        with contextlib.suppress(OSError):
            for _ in range(1 << 10):
                connection.sendall(bytes(1 << 20))
            raise AssertionError("a gigabyte was read for nothing")
    fits(tight)
