"""deploy/nginx.conf, in front of two nodes: in turns, past one that is away, and never twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from tests.nginx import started
from tests.s3 import free_ports

CONF = (Path(__file__).parents[2] / "deploy" / "nginx.conf").read_text()


class Node(ThreadingHTTPServer):
    """Says its name, and hangs up without an answer where it is asked to die."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.name = name
        self.asked: list[str] = []


class Asked(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Node

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append(f"{self.command} {self.path}")
        if self.path == "/die":
            self.close_connection = True
            return
        said = f"{self.server.name} {self.headers['x-forwarded-host']}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def served(node: Node) -> Iterator[Node]:
    thread = threading.Thread(target=node.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield node
    finally:
        node.shutdown()
        node.server_close()
        thread.join()


def conf(nodes: list[Node], port: int, folder: Path) -> str:
    found = CONF.replace("listen 8080;", f"listen 127.0.0.1:{port};").replace("/tmp/", f"{folder}/")
    for nth, node in enumerate(nodes, 1):
        found = found.replace(f"api{nth}:8000", f"127.0.0.1:{node.server_address[1]}")
    # One process that takes the turns, and that ends with the test.
    return found.replace("worker_processes auto;", "daemon off; master_process off;")


def test_requests_go_to_nodes_in_turns_and_never_twice(tmp_path: Path) -> None:
    first, second = Node("first"), Node("second")
    with ExitStack() as stack:
        stack.enter_context(served(second))
        with served(first):
            [port] = free_ports(1)
            site = conf([first, second], port, tmp_path)
            url = stack.enter_context(started(tmp_path, site, port))
            http = stack.enter_context(httpx.Client(base_url=url, timeout=30))
            forged = {"X-Forwarded-Host": "evil.example"}
            names = [http.get("/", headers=forged).text for _ in range(4)]
            assert sorted(names) == ["first None"] * 2 + ["second None"] * 2
            assert names[0] != names[1]
            # What was begun may have been done: who sent it is told, and decides.
            assert http.post("/die", content=b"x").status_code == 502
            assert first.asked.count("POST /die") + second.asked.count("POST /die") == 1
        later = [http.post("/", content=b"x") for _ in range(4)]
    assert {(answer.status_code, answer.text) for answer in later} == {(200, "second None")}
