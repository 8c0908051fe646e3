"""Who else fetches many URLs into files: started as real processes, measured whole, verified."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

from benchmarks.memory import Peak, tree_pss_bytes
from benchmarks.peers import tools
from benchmarks.peers.tools import Tool
from benchmarks.services import ROOT

CONNECTIONS = 16
"""As Offload's default for one host."""
LIMIT_S = 300

Command = Callable[[Path, Path], Sequence[str]]
"""Given a file of URLs, one a line, and the folder to fetch them into."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What fetching a list took."""

    seconds: float
    cpu_s: float
    """Of all processes of the fetcher."""
    peak_bytes: int
    """Proportional set size of them all, at most."""


@dataclass(frozen=True, slots=True)
class Fetcher:
    """A program that fetches a list of URLs into a folder, and ends."""

    name: str
    """As the tables show it."""
    command: Command
    tool: Tool | None = None
    """Of the command line; None is Python and prints itself what it took."""

    @property
    def installed(self) -> bool:
        """Whether it can be run here."""
        return self.tool is None or self.tool.installed


def _curl(listed: Path, folder: Path) -> Sequence[str]:
    config = listed.with_suffix(".curl")
    pairs = enumerate(listed.read_text().split())
    config.write_text("".join(f'url = "{url}"\noutput = "{folder / str(n)}"\n' for n, url in pairs))
    options = ("--no-progress-meter", "--fail", "--parallel-max", str(CONNECTIONS))
    # Without the user's own configuration, which only a first argument turns off.
    return ("curl", "--disable", "--parallel", *options, "--config", str(config))


def _aria2(listed: Path, folder: Path) -> Sequence[str]:
    config = listed.with_suffix(".aria2")
    pairs = enumerate(listed.read_text().split())
    config.write_text("".join(f"{url}\n  out={n}\n" for n, url in pairs))
    options = ("--no-conf", "--quiet", "--file-allocation=none", "--split=1")
    at_once = f"--max-concurrent-downloads={CONNECTIONS}"
    return ("aria2c", *options, at_once, f"--dir={folder}", f"--input-file={config}")


def _python(way: str, listed: Path, folder: Path) -> Sequence[str]:
    module = "benchmarks.peers.bare_fetch"
    return (sys.executable, "-m", module, way, str(listed), str(folder), str(CONNECTIONS))


CURL = Fetcher("curl --parallel", _curl, tools.CURL)
ARIA2 = Fetcher("aria2c", _aria2, tools.ARIA2)
HTTPX = Fetcher("httpx, gather", partial(_python, "httpx"))
AIOHTTP = Fetcher("aiohttp, gather", partial(_python, "aiohttp"))
TUTORIAL = Fetcher("20 threads, requests.get", partial(_python, "requests"))

ALL = (CURL, ARIA2, HTTPX, AIOHTTP, TUTORIAL)


def fetched(fetcher: Fetcher, folder: Path, urls: Sequence[str], size_bytes: int) -> Spent:
    """Fetch all URLs into files below `folder`, look whether all is there, and remove it.

    A tool of the command line is counted whole, from its start to its end; Python from the first
    request on, but for its memory.

    Raises:
        RuntimeError: it failed, or a file is missing, or is not of the size of all.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="fetched-") as private:
        listed, target = Path(private) / "urls", Path(private) / "files"
        listed.write_text("\n".join(urls))
        target.mkdir()
        command = fetcher.command(listed, target)
        os.sync()  # nobody waits for what another has written
        spent = _spent(fetcher, command, folder / "fetchers.log")
        check_files(fetcher.name, target, len(urls), size_bytes)
    return spent


def check_files(name: str, folder: Path, count: int, size_bytes: int) -> None:
    """Make sure that so many files are there, all of one size; raises `RuntimeError`."""
    sizes = [entry.stat().st_size for entry in os.scandir(folder)]
    whole = sizes.count(size_bytes)
    if len(sizes) != count or whole != count:
        raise RuntimeError(f"{name}: {len(sizes)} files for {count} URLs, {whole} of them whole.")


def _spent(fetcher: Fetcher, command: Sequence[str], log: Path) -> Spent:
    # A proxy of the environment is not meant for loopback.
    env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    with log.open("ab") as errors:
        started = perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # a process group of its own, to be measured whole
        )
    patience = threading.Timer(LIMIT_S, process.kill)
    patience.start()
    try:
        with Peak(partial(tree_pss_bytes, process.pid)) as peak:
            # Neither looked at again and again, as a wait with a limit is, nor asked afterwards.
            _, status, used = os.wait4(process.pid, 0)
            seconds = perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        patience.cancel()
        if process.returncode is None:
            process.kill()
        said, _ = process.communicate()
    if process.returncode:
        told = log.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"{fetcher.name} ended with {process.returncode}:\n{told}")
    if fetcher.tool is not None:
        return Spent(seconds, used.ru_utime + used.ru_stime, peak.bytes)
    taken = json.loads(said)
    return Spent(taken["seconds"], taken["cpu_s"], peak.bytes)
