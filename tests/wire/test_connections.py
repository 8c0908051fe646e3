"""Silent connections shut nobody out, and there is always a descriptor left to say 503 with."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack

import pytest

from app.wire.crowd import LINGERING, Crowd
from tests.api.answers import answer_on, connect, head, problem
from tests.service import Service
from tests.wire.connection import GET, fits

FILES = 400


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A service that may have 400 files open."""
    folder = tmp_path_factory.mktemp("narrow")
    with Service.started(folder, {"OFFLOAD_HTTP_HEAD_TIMEOUT_S": "60"}, files=FILES) as running:
        yield running


def test_450_silent_connections_shut_nobody_out(narrow):
    with ExitStack() as stack:
        for _ in range(450):
            stack.enter_context(connect(narrow.url))
        for _ in range(3):
            fits(narrow)


def test_450_connections_that_have_begun_a_head_shut_nobody_out(narrow):
    with ExitStack() as stack:
        for _ in range(450):
            stack.enter_context(connect(narrow.url)).sendall(GET[:-2])
        for _ in range(3):
            fits(narrow)


def test_450_connections_between_requests_shut_nobody_out(narrow):
    with ExitStack() as stack:
        for _ in range(450):
            connection = stack.enter_context(connect(narrow.url))
            connection.sendall(GET)
            assert answer_on(connection).status_code == 200


def test_connections_at_work_are_not_given_up_and_new_ones_are_told_503(tmp_path):
    env = {"OFFLOAD_HTTP_MAX_CONNECTIONS": "3"}
    with Service.started(tmp_path / "data", env) as service, ExitStack() as stack:
        sending = [stack.enter_context(connect(service.url)) for _ in range(3)]
        for connection in sending:
            connection.sendall(head("POST", "/v1/compress?wait=10", "Content-Length: 2") + b"a")
        for _ in range(2 * LINGERING):
            refused = stack.enter_context(connect(service.url))
            answer = answer_on(refused)
            found = problem(answer, 503, "limit.connections")
            assert found["retryable"]
            assert answer.headers["retry-after"] == "1"
        for connection in sending:
            connection.sendall(b"b")
            assert answer_on(connection).status_code == 200
        fits(service)


ROOM = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 400))
from app.wire.crowd import room
print(*room(0, 100), *room(7, 100), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


class Member:
    def __init__(self, crowd):
        self.dropped = False
        self.entered = crowd.enter(self)

    def drop(self):
        self.dropped = True


def test_those_that_asked_for_nothing_make_room_before_those_that_did():
    crowd = Crowd(3)
    asked, silent, late = (Member(crowd) for _ in range(3))
    crowd.busy(asked)
    crowd.idle(asked)
    assert Member(crowd).entered
    assert (silent.dropped, late.dropped, asked.dropped) == (True, False, False)


def test_those_at_work_make_no_room():
    crowd = Crowd(1)
    crowd.busy(Member(crowd))
    assert not Member(crowd).entered


def test_connections_files_and_the_queue_before_them_fit_into_the_descriptors():
    """In a process of its own, because it raises its limit."""
    told = subprocess.run(
        [sys.executable, "-c", ROOM], capture_output=True, text=True, check=True
    ).stdout.split()
    most, backlog, asked, _, soft = map(int, told)
    assert 2 * most + backlog + LINGERING + 100 <= 400
    assert most >= 64
    assert (asked, soft) == (7, 400)
