"""Who had the processors meanwhile: this process, others, or whoever owns the machine."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

STAT, GROUP = Path("/proc/stat"), Path("/sys/fs/cgroup/cpu.stat")
BUSY, STOLEN = (0, 1, 2, 5, 6), 7
"""Columns of a processor's line in /proc/stat: user, nice, system, irq, softirq; steal."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Of what the processors that this process may use could have done in some time."""

    others: float
    """Taken by other processes."""
    stolen: float
    """Taken by the hypervisor, for other machines."""
    held_up: float
    """Lost because this control group had used up its quota."""


@dataclass(frozen=True, slots=True)
class Processors:
    """What the kernel has counted until a moment, in seconds."""

    at_s: float
    own_s: float
    busy_s: float
    stolen_s: float
    held_up_s: float
    count: int

    @classmethod
    def now(cls) -> Self:
        """Read it; what the kernel does not tell is 0."""
        cores = os.sched_getaffinity(0)
        lines = [line.split() for line in _lines(STAT)]
        ticks = [
            [int(value) for value in line[1:]]
            for line in lines
            if line[0].startswith("cpu") and line[0][3:].isdigit() and int(line[0][3:]) in cores
        ]
        hz = os.sysconf("SC_CLK_TCK")
        held_up_us = [int(line.split()[1]) for line in _lines(GROUP) if "throttled_usec" in line]
        return cls(
            at_s=time.monotonic(),
            own_s=time.process_time(),
            busy_s=sum(of_one[at] for of_one in ticks for at in BUSY) / hz,
            stolen_s=sum(of_one[STOLEN] for of_one in ticks) / hz,
            held_up_s=sum(held_up_us) / 1e6,
            count=len(cores),
        )

    def since(self, before: Processors) -> Shares:
        """Give the shares since an earlier moment, in which this process started no other."""
        all_s = self.count * max(1e-9, self.at_s - before.at_s)
        own_s = self.own_s - before.own_s
        return Shares(
            others=_share(self.busy_s - before.busy_s - own_s, all_s),
            stolen=_share(self.stolen_s - before.stolen_s, all_s),
            held_up=_share(self.held_up_s - before.held_up_s, all_s),
        )


def _share(part_s: float, all_s: float) -> float:
    return round(min(1.0, max(0.0, part_s / all_s)), 4)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
