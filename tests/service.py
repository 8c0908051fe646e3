"""A real service in a process of its own, for tests over real HTTP."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from unittest.mock import patch

import httpx
from click.testing import Result
from typer.testing import CliRunner

from app.cli import cli

START_TIMEOUT_S = 60


class Service:
    """`offload serve` on a free port."""

    def __init__(
        self,
        data_dir: Path,
        env: Mapping[str, str] | None = None,
        files: int | None = None,
        *,
        patience_s: float = START_TIMEOUT_S,
        program: Sequence[str] = ("-m", "app"),
        within: Sequence[str] = (),
        own_group: bool = False,
    ) -> None:
        """Start it, and return once it listens; with `files` as its limit of open ones.

        One that does not listen within `patience_s` is killed: that is an AssertionError. It has
        one child, unless `env` says how many: to start each is half a second of work.
        `program` is what Python is to run, and `within` the command that starts it, such as
        `ip netns exec`. With `own_group` its processes are a group of their own: see `signal_all`.
        """
        self.data_dir = data_dir
        self.log = data_dir.with_suffix(".log")
        own = {key: value for key, value in os.environ.items() if not key.startswith("OFFLOAD_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*within, *_limited(files), sys.executable, *program, "serve"],
                env=own
                | {
                    "OFFLOAD_PORT": "0",
                    "OFFLOAD_DATA_DIR": str(data_dir),
                    "OFFLOAD_POOL_WORKERS": "1",
                    "PYTHONUNBUFFERED": "1",
                }
                | dict(env or {}),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=own_group,
            )
        self.said = ""
        """What it has written to standard output: up to where it listens, then up to its end."""
        self.url = self._announced_url(patience_s)

    @classmethod
    @contextmanager
    def started(
        cls, data_dir: Path, env: Mapping[str, str] | None = None, files: int | None = None
    ) -> Iterator[Self]:
        """Have one for as long as the context is open."""
        running = cls(data_dir, env, files)
        try:
            yield running
        finally:
            running.stop()

    def _announced_url(self, patience_s: float) -> str:
        assert self.process.stdout is not None
        # Reading blocks, so the patience is in another thread.
        patience = threading.Timer(patience_s, self.process.kill)
        patience.start()
        try:
            for line in self.process.stdout:
                self.said += line
                if found := re.search(r"(?:listens on |\"url\": \")(http://[^\s\"]+)", line):
                    return found[1]
        finally:
            patience.cancel()
        self.kill()
        raise AssertionError(f"the service did not start:\n{self.log.read_text()}")

    def workers(self) -> list[int]:
        """Give the process ids of the pool's children."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [
            int(pid)
            for pid in listed.split()
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    def logged(self, words: str) -> str:
        """Give the one line of the log that has these words; it comes after the answer."""
        deadline = time.monotonic() + 20
        while not (found := [line for line in self._log_lines() if words in line]):
            assert time.monotonic() < deadline, self.log.read_text()
            httpx.get(f"{self.url}/livez")
        [line] = found
        return line

    def _log_lines(self) -> list[str]:
        # The last piece is a line that is not written to its end yet.
        return self.log.read_text().split("\n")[:-1]

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to all its processes at once: those of one with a group of its own."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL, as a crash does it."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, as an operator does it; gives the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            if self.process.stdout and not self.process.stdout.closed:
                self.said += self.process.stdout.read()
                self.process.stdout.close()


def served_within(data_dir: Path, env: Mapping[str, str]) -> Result:
    """Have `offload serve` refuse its settings, in this process: a start is a second of work.

    Gives how it ended; one that goes on to start something is an AssertionError.
    """
    own = {key: None for key in os.environ if key.startswith("OFFLOAD_")}
    starts = AssertionError("It starts.")
    with patch("app.server.Server", side_effect=starts), patch("app.cli.bound", side_effect=starts):
        told = CliRunner().invoke(
            cli, ["serve"], env=own | {"OFFLOAD_DATA_DIR": str(data_dir), **env}
        )
    if told.exception and not isinstance(told.exception, SystemExit):
        raise told.exception
    return told


def refused(data_dir: Path, env: Mapping[str, str], *secrets: str) -> str:
    """Start a service that must not start; gives the last line that it says.

    There is no traceback in what it says, and none of these secrets.
    """
    own = {key: value for key, value in os.environ.items() if not key.startswith("OFFLOAD_")}
    ended = subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        env=own | {"OFFLOAD_PORT": "0", "OFFLOAD_DATA_DIR": str(data_dir), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode in (2, 3), said
    assert "Traceback" not in said
    assert not [secret for secret in secrets if secret in said], said
    return ended.stderr.splitlines()[-1]


def _limited(files: int | None) -> list[str]:
    return ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"] if files else []


def wait_until_gone(pids: list[int], timeout_s: float = 10) -> None:
    """Return when none of these processes runs any more; fail after `timeout_s`."""
    for pid in pids:
        try:
            watched = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([watched], [], [], timeout_s)[0], f"process {pid} is still there"
        finally:
            os.close(watched)
