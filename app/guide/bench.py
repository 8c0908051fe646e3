"""What a situation is measured with, in the process that measures it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from app.guide.race import Case, Result, race

SHORT_S = 8
"""A situation with less time leaves out what takes longest."""
TINY_S = 0.2
"""One with less does as little as shows that all of it works."""
TOO_SHORT = "it takes more time than was given"
PYTHON = (sys.executable, "-P", "-W", "ignore")
"""The folder that this is run in may have an `app` of its own; and multiprocessing warns of what
it tidies up behind a process that was killed, as servers here are."""
RESERVE_BYTES = 64 << 20
"""Left free beside what a piece of work is known to take."""


class Bench:
    """The time, the folder and the ear of one situation."""

    def __init__(
        self, folder: Path, seconds: float, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        """Measure for about so many seconds from now; `tell` takes what was found, as JSON."""
        self.folder = folder
        self.seconds = seconds
        self._end_s = time.monotonic() + seconds
        self._tell = tell
        self._skipped = set[str]()

    @property
    def left_s(self) -> float:
        """Seconds that are left; never none at all."""
        return max(0.01, self._end_s - time.monotonic())

    @property
    def short(self) -> bool:
        """Whether there is little time."""
        return self.seconds < SHORT_S

    @property
    def tiny(self) -> bool:
        """Whether there is none."""
        return self.seconds < TINY_S

    def say(self, what: str) -> None:
        """Tell what runs now."""
        self._tell({"now": what})

    def skip(self, what: str, why: str) -> None:
        """Tell what is not measured, and why; once, however many cases lack it."""
        if what not in self._skipped:
            self._skipped.add(what)
            self._tell({"missing": {"what": what, "why": why}})

    def race(self, case: Case, share: float = 1.0) -> Result:
        """Race a case in this share of what time is left, and tell how it went."""
        case = replace(case, fewest=1 if self.tiny else case.fewest)
        result = race(case, self.left_s * share, self.say)
        for name, why in result.failed.items():
            self.skip(f"{case.title}: {name}", f"this machine refused it: {why}")
        if result.samples:
            self._tell({"case": _told(case, result)})
        return result

    def room_for(self, size_bytes: int, what: str) -> bool:
        """Tell whether memory is free for what is known to take this much; say so if not."""
        free = free_bytes() - RESERVE_BYTES
        if free >= size_bytes:
            return True
        self.skip(what, f"it takes {size_bytes >> 20} MiB of memory, {max(0, free) >> 20} are free")
        return False

    @contextmanager
    def server(self, kind: str, workers: int = 0) -> Iterator[int]:
        """Run a server of `servers.py` in a process of its own; gives its port.

        Raises `OSError` if it does not start.
        """
        with python("app.guide.servers", kind, str(os.getpid()), str(workers)) as process:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            line = process.stdout.readline()
            if not line:
                raise OSError("a server on loopback did not start")
            yield int(line)


@contextmanager
def python(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module of this project in a process of its own, and end it with the context."""
    with subprocess.Popen(  # noqa: S603 - our own module
        [*PYTHON, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _told(case: Case, result: Result) -> dict[str, Any]:
    return {
        "key": case.key,
        "title": case.title,
        "work": case.work,
        "figures": [asdict(figure) for figure in case.figures],
        "judged": [one.name for one in case.contenders if one.judged],
        "recommended": [name for name in case.recommended if name in result.samples],
        "samples": {name: list(of) for name, of in result.samples.items()},
    }


def free_bytes() -> int:
    """Give how much memory this process could still use.

    The least of what the machine has available, what its control group leaves, and RLIMIT_AS.
    """
    free = [_meminfo("MemAvailable")]
    group = Path("/sys/fs/cgroup")
    most, used = _number(group / "memory.max"), _number(group / "memory.current")
    if most is not None and used is not None:
        free.append(most - used)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        free.append(limit - pages * resource.getpagesize())
    return max(0, min(free))


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return 0


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such group, or no limit: "max"
        return None
