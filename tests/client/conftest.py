"""What the tests of the Python client and of the command line share."""

import json
import os
import socket
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import offload
import pytest
from offload.retrying import Retry

from tests.client.shell import run
from tests.service import Service

PYTHON_CLIENT = Path(__file__).parents[2] / "clients" / "python"
QUICK = Retry(retries=8, first_s=0.01, most_s=0.05)


NOISE = os.urandom(3 << 20)
KEY = "a-key-for-the-tests-of-clients"


@pytest.fixture(scope="session")
def keyed(tmp_path_factory):
    """A service that asks for a key, takes large files, and has an operation of another package."""
    env = {
        "OFFLOAD_API_KEYS": json.dumps({"shop": KEY}),
        "OFFLOAD_UPLOAD_MAX_BYTES": str(128 << 20),
        "PYTHONPATH": str(Path(__file__).parents[1] / "plugin"),
    }
    with Service.started(tmp_path_factory.mktemp("keyed"), env) as running:
        yield running


@pytest.fixture
def folder(tmp_path, monkeypatch, photo, text):
    """Somewhere with a few files, and nothing else."""
    folder = tmp_path / "there"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "photo.jpg").write_bytes(photo)
    (folder / "access.log").write_bytes(text)
    return folder


@pytest.fixture(params=["a service", "right here"])
def offload_(request, service):
    """Runs the command, one way and the other."""
    env = {"OFFLOAD_SERVER": service.url} if request.param == "a service" else {}
    if not env:
        # To start a process for each call is half a second of work; one test does.
        env = {"OFFLOAD_POOL_WORKERS": "1", "OFFLOAD_POOL_EXECUTOR": "thread"}

    def called(*words, given=None, more_env=None):
        return run(*words, given=given, env=env | (more_env or {}))

    called.env = env
    called.remote = request.param == "a service"
    return called


@pytest.fixture
def client(service):
    with offload.Client(service.url, retry=QUICK) as made:
        yield made


@pytest.fixture
def large(client):
    stored = client.files.upload(NOISE, name="noise.bin")
    yield stored
    stored.delete()


def free_port():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


def service_at(port, data_dir, env=None):
    """A service at a port of one's own, which another may take over."""
    return Service(data_dir, {"OFFLOAD_PORT": str(port), **(env or {})})


class Cutting:
    """A proxy on loopback that ends connections after so many bytes of the answer, or request."""

    def __init__(self, url):
        host, port = url.removeprefix("http://").split(":")
        self._there = (host, int(port))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.cut_answers = []
        """Of the connections to come, after how many bytes of its answers each ends."""
        self.cut_requests = []
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            with suppress(OSError):
                self._carried(near, socket.create_connection(self._there))

    def _carried(self, near, far):
        up = self.cut_requests.pop(0) if self.cut_requests else None
        down = self.cut_answers.pop(0) if self.cut_answers else None
        for carried in ((near, far, up), (far, near, down)):
            threading.Thread(target=self._carry, args=carried, daemon=True).start()

    @staticmethod
    def _carry(source, target, most):
        done = 0
        try:
            while piece := source.recv(1 << 16):
                if most is not None and done + len(piece) > most:
                    target.sendall(piece[: most - done])
                    break
                target.sendall(piece)
                done += len(piece)
        except OSError:
            pass
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes who reads from it
            one.close()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@contextmanager
def cutting(url):
    proxy = Cutting(url)
    try:
        yield proxy
    finally:
        proxy.close()
