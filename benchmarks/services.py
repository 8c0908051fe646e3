"""The measured services as real processes on free loopback ports, ended with the block."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import ROOT, Bench
from benchmarks.exchanges import WAIT_S

PYTHON = (sys.executable, "-m")
START_S = 60
STOP_S = 20

MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_TOP_PAD_": "67108864",
}
"""As `make run` starts Offload."""

BOUNDS = {
    # Widened so that a slow machine measures slowly and does not fail; none changes the work.
    "OFFLOAD_JOBS_WAIT_MAX_S": str(WAIT_S),
    "OFFLOAD_ITEM_TIMEOUT_S": str(WAIT_S),
    "OFFLOAD_UPLOAD_STALL_TIMEOUT_S": str(WAIT_S),
}


@dataclass(frozen=True, slots=True)
class Service:
    """A running service."""

    pid: int
    """Of its first process, and so of its process group."""
    port: int


@contextmanager
def naive(folder: Path) -> Iterator[Service]:
    """Run the tutorial's design by plain uvicorn; only its access log is spared it."""
    port = free_port()
    options = ("--port", str(port), "--no-access-log", "--log-level", "warning")
    command = (*PYTHON, "uvicorn", "benchmarks.naive:app", *options)
    with running(folder, "naive", command, {}, port) as service:
        yield service


@contextmanager
def offload(bench: Bench, settings: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Run Offload as `make run` does, on a data folder of its own that is removed afterwards."""
    with (
        tempfile.TemporaryDirectory(dir=bench.folder, prefix="data-") as data,
        offload_on(bench, Path(data), free_port(), settings) as service,
    ):
        yield service


@contextmanager
def offload_on(
    bench: Bench, data: Path, port: int, settings: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """Run Offload on a data folder and a port that may have been another's before."""
    env = MALLOC | BOUNDS | {"OFFLOAD_PORT": str(port), "OFFLOAD_DATA_DIR": str(data)}
    env |= settings or {}
    command = (interpreter(bench.app), "-m", "app", "serve")
    with running(bench.folder, "offload", command, env, port, cwd=bench.app) as service:
        yield service


def interpreter(app: Path) -> str:
    """Give the Python of a checkout's own environment; of one that has none, ours."""
    own = app / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


@contextmanager
def origin(folder: Path) -> Iterator[Service]:
    """Run the loopback origin of the fetch cases."""
    port = free_port()
    command = (*PYTHON, "benchmarks.origin", str(port))
    with running(folder, "origin", command, {}, port) as service:
        yield service


def free_port() -> int:
    """Find a loopback port that nobody listens on."""
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return int(candidate.getsockname()[1])


@contextmanager
def running(
    folder: Path,
    name: str,
    command: Sequence[str],
    env: Mapping[str, str],
    port: int,
    cwd: Path = ROOT,
) -> Iterator[Service]:
    """Run a command that listens on a loopback port; its log is in `folder`, by its name."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OFFLOAD_", "MALLOC_"))
    }
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=inherited | dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group of its own, to be measured and ended whole
        )
    try:
        _wait_until_listening(process, port, log)
        yield Service(process.pid, port)
    finally:
        _stop(process)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + START_S
    while time.monotonic() < give_up_at:
        if process.poll() is not None:
            break
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"A service did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a service: politely, and then whatever it left (the naive one leaves its workers)."""
    with suppress(ProcessLookupError):
        process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_S)
