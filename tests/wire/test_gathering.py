"""A short answer comes in one piece, a long one whole, and both before the connection ends."""

from __future__ import annotations

import os

import httpx
import pytest

from app.wire.gathering import GATHERED_BYTES
from tests.api.answers import connect, head
from tests.wire.connection import GET


def test_head_and_body_are_one_segment(service):
    with connect(service.url) as connection:
        for _ in range(5):
            connection.sendall(GET)
            came_first = connection.recv(1 << 16)
            assert came_first.startswith(b"HTTP/1.1 200 OK\r\n")
            assert came_first.endswith(b'{"status":"alive"}')


@pytest.mark.parametrize("size_bytes", [1, GATHERED_BYTES - 1, GATHERED_BYTES, 3 << 20])
def test_bodies_of_any_size_arrive_whole(service, size_bytes):
    content = os.urandom(size_bytes)
    with httpx.Client(base_url=service.url) as http:
        file = http.post("/v1/files", content=content).json()
        assert http.get(f"/v1/files/{file['id']}/content").content == content
        ended = http.get(f"/v1/files/{file['id']}/content", headers={"Connection": "close"})
        assert ended.content == content


def test_who_leaves_before_the_answer_harms_nobody(service):
    for _ in range(50):
        with connect(service.url) as connection:
            connection.sendall(GET * 3)
    with connect(service.url) as connection:
        connection.sendall(head("GET", "/livez", "Connection: close"))
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        assert answer.endswith(b'{"status":"alive"}')
    assert "Traceback" not in service.log.read_text()
