"""A service that another command starts for itself: the demonstration, the guide."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15
"""More than the service gives open responses and work under way together."""


class NotServed(RuntimeError):
    """The service did not start, or did not end as it should; the text says which."""


@dataclass(slots=True)
class Served:
    """A service that runs."""

    url: str
    _process: asyncio.subprocess.Process
    killed: bool = False

    async def kill(self) -> None:
        """End it with SIGKILL, as a crash does; its workers die with it."""
        self.killed = True
        self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def service(
    data_dir: Path, log_path: Path, more: Mapping[str, str] | None = None
) -> AsyncIterator[Served]:
    """Run a service on a free port of loopback, and end it whatever happens.

    Its settings are the defaults, and `more`. Raises `NotServed` if it does not start, or does not
    end as it should.
    """
    ours = {
        "OFFLOAD_PORT": "0",
        "OFFLOAD_DATA_DIR": os.fspath(data_dir),
        # A few megabytes are all it takes, and a small /tmp has them.
        "OFFLOAD_BLOBS_MIN_FREE_BYTES": "0",
        "OFFLOAD_FETCH_ALLOW_NETWORKS": '["127.0.0.1/32"]',
    }
    others = {name: value for name, value in os.environ.items() if not name.startswith("OFFLOAD_")}
    with await asyncio.to_thread(log_path.open, "ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the folder that this is run in may have an `app` of its own
            "-m",
            "app",
            "serve",
            env=others | ours | dict(more or {}),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    served = None
    try:
        served = Served(await _announced(process), process)
        yield served
    finally:
        ended = await _stopped(process)
    # uvicorn ends by the signal that it was ended by.
    if not served.killed and ended not in (0, -signal.SIGTERM):
        raise NotServed(f"the service ended with {ended}")


async def _announced(process: asyncio.subprocess.Process) -> str:
    """Wait until the service says where it listens."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while line := (await process.stdout.readline()).decode():
                _, found, rest = line.partition(" listens on ")
                if found:
                    return rest.split()[0]
    except TimeoutError:
        raise NotServed(f"the service did not start within {START_TIMEOUT_S} s") from None
    raise NotServed("the service did not start")


async def _stopped(process: asyncio.subprocess.Process) -> int:
    """End the service: SIGTERM, and SIGKILL if that is not enough; gives its exit status."""
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()


def tail(log_path: Path, lines: int = 20) -> str:
    """Give the end of the service's log, if there is one."""
    if not log_path.exists():
        return ""
    return "\n".join(log_path.read_text(errors="replace").splitlines()[-lines:])
