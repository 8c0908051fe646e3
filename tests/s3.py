"""Real S3 servers, of SeaweedFS and of moto, from wheels, started where a test needs one."""

from __future__ import annotations

import atexit
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import httpx
import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store, from_url

from app.blobs.base import StorageSettings

PARTS = ("master", "volume", "filer", "s3")
START_S = 30.0
KEY, SECRET = "tests", "a-secret-of-the-tests"
IDENTITY = {
    "name": "tests",
    "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
    "actions": ["Admin", "Read", "Write", "List"],
}
READER = {
    "name": "reader",
    "credentials": [{"accessKey": "reader", "secretKey": SECRET}],
    "actions": ["Read", "List"],
}
"""May not write, and make no bucket either."""
MOTO = Path(__file__).parents[1] / ".venv-moto" / "bin" / "python"
"""In an environment of its own, which `make test` makes."""
WEED = Path(sys.executable).parent / "weed"


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


ANYBODY = IDENTITY | {"name": "anonymous", "credentials": []}


@contextmanager
def s3_server(folder: Path, *others: object) -> Iterator[str]:
    """Give the URL of an S3 server that keeps its buckets in a folder; `others` may use it too."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = free_ports(2 * len(PARTS))
    arguments = [
        "-ip=127.0.0.1",
        f"-dir={folder}",
        "-s3",
        "-master.telemetry=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    for part, port, rpc in zip(PARTS, ports[: len(PARTS)], ports[len(PARTS) :], strict=True):
        arguments += [f"-{part}.port={port}", f"-{part}.port.grpc={rpc}"]
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [IDENTITY, READER, *others]}))
    arguments += [f"-s3.config={config}", "-volume.max=50", "-master.volumeSizeLimitMB=128"]
    with (folder / "log").open("wb") as log:
        served = subprocess.Popen([WEED, "server", *arguments], stdout=log, stderr=log, cwd=folder)
    url = f"http://127.0.0.1:{ports[len(PARTS) - 1]}"
    try:
        _wait(served, url, folder / "log")
        yield url
    finally:
        served.kill()
        served.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def moto_server(folder: Path) -> Iterator[str]:
    """Give the URL of a server of another make, which is strict where SeaweedFS is generous.

    It has a bucket `tests`, and knows no other that was not made: what is put there is refused.
    """
    [port] = free_ports(1)
    command = [str(MOTO), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    url = f"http://127.0.0.1:{port}"
    with (folder / "moto.log").open("wb") as log:
        served = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        give_up_at = time.monotonic() + START_S
        while not _made(f"{url}/tests"):
            assert served.poll() is None, (folder / "moto.log").read_text()
            assert time.monotonic() < give_up_at, (folder / "moto.log").read_text()
            time.sleep(0.1)
        yield url
    finally:
        served.kill()
        served.wait()


def _made(url: str) -> bool:
    try:
        return httpx.put(url).is_success
    except httpx.TransportError:
        return False


def _wait(served: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return once it takes what is put into a bucket, which that makes."""
    bucket = bucket_of(storage(url))
    give_up_at = time.monotonic() + START_S
    while True:
        try:
            obstore.put(bucket, "started", b"")
        except BaseError:
            assert served.poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, log.read_text()
            time.sleep(0.1)
        else:
            obstore.delete(bucket, "started")
            return


def storage(url: str, bucket: str = "s3://tests/blobs", **more: object) -> StorageSettings:
    """Give the settings for a bucket of such a server."""
    options = {"endpoint": url, "access_key_id": KEY, "secret_access_key": SECRET}
    return StorageSettings.model_validate(
        {"url": bucket, "options": options | {"region": "us-east-1"}, **more}
    )


def bucket_of(wanted: StorageSettings) -> S3Store:
    found = from_url(
        wanted.url,
        config=wanted.options,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    assert isinstance(found, S3Store)
    return found


_shared = ExitStack()


@cache
def shared_s3() -> str:
    """Give the URL of a server that is there until the process ends."""
    atexit.register(_shared.close)
    return _shared.enter_context(s3_server(Path(tempfile.mkdtemp(prefix="s3-"))))
