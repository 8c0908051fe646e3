"""Whole process groups, from /proc: a service and the workers that it has started."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_CPU_FIELDS = slice(11, 15)
"""utime, stime, cutime and cstime in what follows a command's name: ended children count too."""


def members(group: int) -> list[int]:
    """Give the processes of a group that run; one that ended and waits for its parent does not."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            # A process may end between any two of these lines.
            with suppress(OSError):
                pid = int(entry.name)
                if os.getpgid(pid) == group and _stat(pid)[0] != "Z":
                    found.append(pid)
    return found


def cpu_s(group: int) -> float:
    """Give the seconds of CPU that a group has used, those of its ended children included."""
    ticks = 0
    for pid in members(group):
        with suppress(OSError):
            ticks += sum(map(int, _stat(pid)[_CPU_FIELDS]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """Give what follows the command's name, which may have spaces and brackets of its own."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
