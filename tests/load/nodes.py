"""The service on one folder: one process, or one for each of its roles."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

import httpx

from tests.service import Service

TOGETHER = ("api,work",)
APART = ("api", "work")
DAY_S = 86_400
MAY_STAY = {"idempotency_keys", "versions", "tally", "sqlite_sequence"}
"""Tables whose rows outlive the jobs that they came with: docs/operating.md."""
RUNNING = {"nodes", "chores"}
"""Tables that have rows while a node runs."""


class Nodes:
    """The processes that serve one data folder. Killed ones are there again after `start`."""

    def __init__(
        self,
        data_dir: Path,
        env: Mapping[str, str],
        roles: tuple[str, ...] = TOGETHER,
        *,
        program: Sequence[str] = ("-m", "app"),
    ) -> None:
        """Start nothing yet. `roles` is `TOGETHER` or `APART`; `program` what Python runs."""
        self.data_dir = data_dir
        self.roles = roles
        self._env = dict(env)
        self._program = program
        self._running: dict[str, Service] = {}

    @property
    def url(self) -> str:
        """Where the API listens."""
        return self._running[self.roles[0]].url

    def running(self, role: str) -> Service:
        """Give the process that has a role."""
        return self._running[role]

    def start(self) -> None:
        """Start those that do not run, and return once they listen."""
        for role in self.roles:
            running = self._running.get(role)
            if running is None or running.process.poll() is not None:
                self._running[role] = Service(
                    self.data_dir, self._told(role), program=self._program
                )

    def kill_while_starting(self, role: str, patience_s: float) -> None:
        """Start one, and SIGKILL it after a while: before it listens, or then."""
        with suppress(AssertionError):
            Service(self.data_dir, self._told(role), patience_s=patience_s).kill()

    def _told(self, role: str) -> dict[str, str]:
        return self._env | ({"OFFLOAD_ROLES": role} if self.roles != TOGETHER else {})

    def kill(self, roles: tuple[str, ...]) -> None:
        """SIGKILL some, as a crash does it."""
        for role in roles:
            self._running[role].process.kill()
        for role in roles:
            self._running[role].kill()

    def stop(self) -> None:
        """SIGTERM all of them."""
        for running in self._running.values():
            assert running.stop() == 0, running.log.read_text()[-3000:]

    def close(self) -> None:
        """Leave none behind, whatever happened."""
        for running in self._running.values():
            running.kill()

    def wait_until(
        self,
        condition: Callable[[], bool],
        told: Callable[[], object] = lambda: None,
        timeout_s: float = 60,
    ) -> None:
        """Return once something is so that the service does by and by; `told` says what is not."""
        deadline = time.monotonic() + timeout_s
        with httpx.Client(base_url=self.url) as http:
            while not condition():
                assert time.monotonic() < deadline, told()
                http.get("/livez")

    # -- what is on the disk, while none of them runs ----------------------------------------

    def check_nothing_is_left(self) -> None:
        """See that no row and no byte stays of jobs that were deleted; stops the nodes."""
        self.stop()
        self.start()  # chores are done at a start, and some seconds later again
        self.wait_until(lambda: self.rows().keys() <= RUNNING, self.rows)
        self.stop()
        # What was never recorded stays for its grace: all of it is over now.
        self.age_files()
        self.start()
        self.wait_until(lambda: not self.files(), self.files)
        self.stop()
        assert self.rows() == {}

    def rows(self) -> dict[str, int]:
        """Count the rows of each table that has some, but for those of `MAY_STAY`."""
        with closing(sqlite3.connect(self.data_dir / "offload.db")) as db:
            tables = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            counts = {name: _count(db, name) for (name,) in tables if name not in MAY_STAY}
        return {name: count for name, count in counts.items() if count}

    def files(self) -> list[Path]:
        """Give the files in which bytes are, or were to be."""
        found = (self.data_dir / "blobs").rglob("*")
        return [path for path in found if path.is_file() and path.suffix != ".lock"]

    def age_files(self) -> None:
        """Let a day pass for the files: whatever no record names has had its grace."""
        then = time.time() - DAY_S
        for path in self.files():
            os.utime(path, (then, then))


def _count(db: sqlite3.Connection, table: str) -> int:
    # Of a client there is a row once it has come; it must have nothing unfinished.
    some = " WHERE unfinished <> 0" if table == "clients" else ""
    [[count]] = db.execute(f'SELECT count(*) FROM "{table}"{some}').fetchall()
    return int(count)
