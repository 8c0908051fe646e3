"""A real PgBouncer in front of a PostgreSQL server, where there is one on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import NOBODY, Server
from tests.s3 import free_ports

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
CONFIG = """
[databases]
* = host={socket} dbname={{}} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 200
server_idle_timeout = 5
logfile = {folder}/log
pidfile = {folder}/pid
"""


class PgBouncer:
    """In transaction mode, with few connections to the server, which all take in turns."""

    def __init__(self, folder: Path, server: Server, database: str, connections: int) -> None:
        if PROGRAM is None:
            pytest.skip("pgbouncer is not installed")
        [self._port] = free_ports(1)
        self._folder = folder
        folder.mkdir()
        os.chmod(folder, 0o777)  # noqa: PTH101 - it runs as another user
        told = CONFIG.format(
            socket=server.folder, port=self._port, connections=connections, folder=folder
        )
        (folder / "ini").write_text(told.replace("* =", f"{database} =").replace("{}", database))
        self.url = f"postgresql://postgres@127.0.0.1:{self._port}/{database}"
        self.start()

    def start(self) -> None:
        # It does not run as root.
        other: dict[str, Any] = {}
        if os.geteuid() == 0:
            other = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        self._process = subprocess.Popen(
            [str(PROGRAM), "-q", str(self._folder / "ini")], cwd="/", **other
        )
        give_up_at = time.monotonic() + 20
        with socket.socket() as knocking:
            while knocking.connect_ex(("127.0.0.1", self._port)):
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < give_up_at

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@contextmanager
def running(
    folder: Path, server: Server, database: str, *, connections: int
) -> Iterator[PgBouncer]:
    """Have one while the context is open."""
    made = PgBouncer(folder, server, database, connections)
    try:
        yield made
    finally:
        made.kill()
