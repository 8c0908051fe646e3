"""Memory of running processes, from /proc, and its peak while something runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from benchmarks import processes

MIB = 1 << 20
EVERY_S = 0.05


def rss_bytes(pid: int) -> int:
    """Give the resident memory of one process."""
    resident_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return resident_pages * os.sysconf("SC_PAGE_SIZE")


def tree_pss_bytes(group: int) -> int:
    """Give the memory of a process group, each shared page divided among those who share it."""
    total = 0
    for pid in processes.members(group):
        with suppress(OSError):  # it has ended since
            total += pss_bytes(pid)
    return total


def children(pid: int) -> list[int]:
    """Give the processes that one has started itself and that still run."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (thread / "children").read_text().split())
    return found


def forget_peak(pid: int) -> None:
    """Let a process's peak count from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_rss_bytes(pid: int) -> int:
    """Give the most memory that was resident at once, mapped files included, as the kernel saw."""
    return _status_bytes(pid, "VmHWM")


def anonymous_bytes(pid: int) -> int:
    """Give the resident memory that is nobody's file: what a mapped input is not part of."""
    return _status_bytes(pid, "RssAnon")


def _status_bytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) << 10
    raise RuntimeError(f"/proc does not tell the {field} of process {pid}.")


def pss_bytes(pid: int) -> int:
    """Give the memory of one process, each shared page divided among those who share it."""
    with open(f"/proc/{pid}/smaps_rollup") as lines:  # noqa: PTH123 - the same, and shorter
        for line in lines:
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


class Looking:
    """Looks at once, and then again and again in a thread, for as long as the context is open."""

    def __init__(self, look: Callable[[], object], every_s: float) -> None:
        self._look = look
        self._every_s = every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(self._every_s):
            self._look()


class Peak(Looking):
    """The highest of what `read` gives, looked at many times a second."""

    def __init__(self, read: Callable[[], int]) -> None:
        super().__init__(self._note, EVERY_S)
        self._read = read
        self.before_bytes = 0
        self.bytes = 0

    def __enter__(self) -> Self:
        self.before_bytes = self._read()
        return super().__enter__()

    def _note(self) -> None:
        self.bytes = max(self.bytes, self._read())
