"""Whole process groups, from /proc: a service and the workers that it has started."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CPU_FIELDS = slice(11, 15)
"""utime, stime, cutime and cstime in what follows a command's name: ended children count too."""
_OWN_FIELDS = slice(11, 13)
"""The first two: nobody else's."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of CPU that a service, or whoever does the work, has used."""

    first_s: float
    """Of its first process, its ended threads included."""
    threads_s: Mapping[int, float]
    """Of the threads that the first process has, by their ids, its main one first."""
    others_s: float
    """Of all processes that it has started."""

    def since(self, before: Cpu) -> Cpu:
        """Give what was used between two looks."""
        threads_s = {
            thread: used_s - before.threads_s.get(thread, 0.0)
            for thread, used_s in self.threads_s.items()
        }
        others_s = max(0.0, self.others_s - before.others_s)  # a sum of fractions is not exact
        return Cpu(self.first_s - before.first_s, threads_s, others_s)


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
    return sum(_used_s(pid, _CPU_FIELDS) for pid in members(group))


def cpu(group: int) -> Cpu:
    """Give what a service has used, by process and by thread; it is named by its group."""
    threads = [int(entry.name) for entry in os.scandir(f"/proc/{group}/task")]
    # Ids begin anew at their end, so that the main thread's is not always the least.
    threads.sort(key=lambda thread: (thread != group, thread))
    threads_s = {thread: _used_s(f"{group}/task/{thread}", _OWN_FIELDS) for thread in threads}
    first_s = _used_s(group, _OWN_FIELDS)
    return Cpu(first_s, threads_s, cpu_s(group) - first_s)


def tree_s(pid: int) -> float:
    """Give the seconds of CPU that a process and its children have used, ended ones too."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return _used_s(pid, _CPU_FIELDS) + sum(_used_s(int(one), _OWN_FIELDS) for one in children)


def cpu_of_children() -> Cpu:
    """Give what was used by what this process has started in its own group, ended or not.

    Services have groups of their own, and so do not count while they run.
    """
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    mine = os.getpid()
    running_s = sum(
        _used_s(pid, _CPU_FIELDS) for pid in members(os.getpgrp()) if _parent(pid) == mine
    )
    return Cpu(0.0, {}, ended.ru_utime + ended.ru_stime + running_s)


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(_stat(pid)[1])
    return 0


def _used_s(process: int | str, fields: slice) -> float:
    """Give nothing for what has ended since."""
    with suppress(OSError):
        return sum(map(int, _stat(process)[fields])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _stat(process: int | str) -> list[str]:
    """Give what follows the command's name, which may have spaces and brackets of its own."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
