"""The command where little is as it should be: odd files, full disks, silent pipes, nonsense."""

import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import offload
import pytest
from offload.cli.given import expanded

from tests.client.conftest import QUICK
from tests.client.shell import run

OFFLOAD = Path(sys.executable).with_name("offload")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("OFFLOAD_")}


@pytest.fixture
def nonsense():
    """A server that says one thing, whatever it is asked; the test says which."""

    class Says(BaseHTTPRequestHandler):
        headers_too = ()
        body = b""

        def do_GET(self):
            self.send_response(200)
            for name, value in (*self.headers_too, ("Content-Length", str(len(self.body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(self.body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Says) as server:
        Says.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Says
        server.shutdown()


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'{"jobs": 3}', b"[" * 100_000])
def test_what_is_no_document_is_said_not_to_be(nonsense, body):
    nonsense.body = body
    with offload.Client(nonsense.url, retry=QUICK) as client:
        with pytest.raises(offload.NotOffload):
            list(client.jobs.list())
        with pytest.raises(offload.NotOffload):
            client.operations()


def test_an_answer_that_cannot_be_decoded_is_a_sentence(nonsense):
    nonsense.headers_too, nonsense.body = (("Content-Encoding", "gzip"),), b"no gzip"
    done = run("jobs", "list", "--server", nonsense.url)
    assert done.exit_code == 1
    assert "client.not_offload" in done.stderr


def test_what_cannot_be_looked_at_is_an_input_with_an_error(folder, monkeypatch):
    Path("long").symlink_to("a" * 300)
    real = Path.is_file

    def is_file(path):  # as in a folder that may be listed and no more
        if path.name == "photo.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    assert [one.error for one in expanded(["long"], recursive=False)] == [""]
    found = {Path(one.shown).name: one.error for one in expanded([str(folder)], recursive=True)}
    assert found["photo.jpg"] == "Permission denied."
    assert found["access.log"] == ""


def test_a_device_is_not_replaced_by_a_file(folder):
    os.mkfifo("pipe")
    done = run("compress", "access.log", "-f", "-o", "pipe")
    assert done.exit_code == 2
    assert "-o - > pipe" in done.stderr
    assert Path("pipe").is_fifo()


def test_facts_go_to_a_file_while_somebody_looks(folder, service):
    ours, theirs = os.openpty()
    with Path("facts.json").open("wb") as facts:
        ended = subprocess.run(
            [OFFLOAD, "inspect", "access.log"],
            check=False,
            stdout=facts,
            stderr=theirs,
            env=CLEAN | {"OFFLOAD_SERVER": service.url},
        )
    os.close(theirs)
    os.close(ours)
    assert ended.returncode == 0
    assert b'"inspect"' in Path("facts.json").read_bytes()


def test_a_full_disk_behind_standard_output_is_a_sentence(folder, service):
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [OFFLOAD, "inspect", "access.log"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            env=CLEAN | {"OFFLOAD_SERVER": service.url},
        )
    assert (ended.returncode, ended.stderr) == (
        1,
        b"offload: standard output: No space left on device.\n",
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_silent_pipe_holds_up_nobody_who_has_had_enough(service, number, code):
    running = subprocess.Popen(
        [OFFLOAD, "compress", "-", "--server", service.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=CLEAN,
        bufsize=0,
    )
    with running:
        try:
            # More than a pipe holds: once it is gone, more of it is waited for.
            running.stdin.write(bytes(1 << 20))
            running.send_signal(number)
            assert running.wait(20) == code
            assert running.stderr.read() == b"offload: Interrupted.\n"
        finally:
            running.kill()
