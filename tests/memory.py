"""How much memory the calling process has had at most."""

from __future__ import annotations

from pathlib import Path


def peak_kib() -> int:
    """Give the peak resident size, by the kernel's own count for this process.

    Not `ru_maxrss`: a child begins with its parent's, and a growth below that does not show.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
