"""SIGTERM while clients wait: each gets what there is, nobody a 500, and the log no traceback."""

from __future__ import annotations

import json
import signal
import time
from contextlib import ExitStack, contextmanager

import pytest

from tests.api.answers import answer_on, connect, head, problem
from tests.api.conftest import HeldOrigin
from tests.conftest import LOOPBACK
from tests.service import Service

IDLE_S, BUSY_S = 1.0, 6.0
SLACK = 3
"""For a machine that does other things too; what is promised is measured apart from the tests."""


@pytest.fixture
def held():
    origin = HeldOrigin()
    yield origin
    origin.close()


@pytest.fixture
def service(tmp_path):
    env = {"OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK}
    with Service.started(tmp_path / "data", env) as running:
        yield running


@contextmanager
def ending(service, within_s):
    """Send SIGTERM; at the end, the service has to have ended by itself, and cleanly."""
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    yield
    assert service.process.wait(30) == 0
    assert time.monotonic() - began < SLACK * within_s
    log = service.log.read_text()
    assert "Traceback" not in log
    assert "status=500" not in log


def fetching(held, path):
    """Give a request for a job that will not end."""
    document = json.dumps({"urls": [f"{held.url}/held"]}).encode()
    return (
        head(
            "POST",
            path,
            "Content-Type: application/json",
            f"Content-Length: {len(document)}",
        )
        + document
    )


def test_an_idle_service_ends_at_once(service):
    with connect(service.url) as kept:
        kept.sendall(head("GET", "/livez"))
        assert answer_on(kept).status_code == 200
        with ending(service, IDLE_S):
            pass


def test_those_who_wait_get_their_job_as_it_stands(service, held):
    with ExitStack() as stack:
        asked = [stack.enter_context(connect(service.url)) for _ in range(4)]
        first, *others = asked
        first.sendall(fetching(held, "/v1/fetch"))
        job = answer_on(first).json()
        path = f"/v1/jobs/{job['id']}"
        posting, polling, downloading = others
        posting.sendall(fetching(held, "/v1/fetch?wait=60"))
        downloading.sendall(fetching(held, "/v1/fetch?wait=60&download=true"))
        polling.sendall(head("GET", f"{path}?wait=60"))
        held.wait_for(requests=3)
        first.sendall(head("GET", path, 'If-None-Match: "0"'))
        answer_on(first)  # by now the others wait
        with ending(service, BUSY_S):
            for connection in (posting, downloading):
                answer = answer_on(connection)
                assert answer.status_code == 202
                assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
                assert answer.headers["retry-after"]
                assert not answer.json()["done"]
            polled = answer_on(polling)
            assert polled.status_code == 200
            assert polled.headers["retry-after"]
            assert polled.json()["id"] == job["id"]


def test_an_event_stream_ends_and_says_when_to_come_back(service, held):
    with connect(service.url) as connection:
        connection.sendall(fetching(held, "/v1/fetch"))
        job = answer_on(connection).json()
        held.wait_for(requests=1)
        connection.sendall(head("GET", f"/v1/jobs/{job['id']}/events"))
        with ending(service, BUSY_S):
            told = answer_on(connection)  # whole: a stream that is cut raises
            assert told.text.rstrip().endswith("retry: 2000")


def test_transfers_get_a_while_and_are_told(service):
    size_bytes = 64 << 20
    with ExitStack() as stack:
        uploading, halted, downloading = (
            stack.enter_context(connect(service.url)) for _ in range(3)
        )
        uploading.sendall(head("POST", "/v1/files", f"Content-Length: {size_bytes}"))
        uploading.sendall(bytes(size_bytes))
        file = answer_on(uploading).json()
        sending = head("POST", "/v1/files", f"Content-Length: {size_bytes}", "Expect: 100-continue")
        for connection in (uploading, halted):
            connection.sendall(sending)
            assert connection.recv(1 << 10).startswith(b"HTTP/1.1 100")
        downloading.sendall(head("GET", file["href"]))
        assert downloading.recv(1)
        with ending(service, BUSY_S):
            uploading.sendall(bytes(size_bytes))
            assert answer_on(uploading).status_code == 201
            assert problem(answer_on(halted), 503, "internal.stopping")["retryable"]
            while downloading.recv(1 << 20):
                pass
