"""What a node says of itself to whoever looks at the deployment: its machine's disk and memory."""

from __future__ import annotations

import os
from pathlib import Path

from app import __version__

_PROC, _GROUP = Path("/proc"), Path("/sys/fs/cgroup")
MOST_CHARS = 8192


def told(data_dir: Path) -> dict[str, str | int | None]:
    """Give version, disk and memory as a JSON object; what cannot be known is null.

    The disk is that of `data_dir`. The memory is what the process's container may use, or else the
    machine's. Reads a few lines of the kernel's; takes some 50 us.
    """
    total, free = _disk(data_dir)
    limit, left = _memory()
    return {
        "version": __version__,
        "disk_total_bytes": total,
        "disk_free_bytes": free,
        "memory_total_bytes": limit,
        "memory_available_bytes": left,
        "process_memory_bytes": _values(_PROC / "self/status").get("VmRSS"),
    }


def _disk(folder: Path) -> tuple[int | None, int | None]:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None, None
    return disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize


def _memory() -> tuple[int | None, int | None]:
    limit, used = _text(_GROUP / "memory.max").strip(), _text(_GROUP / "memory.current").strip()
    if limit.isdigit() and used.isdigit():
        return int(limit), max(0, int(limit) - int(used))
    machine = _values(_PROC / "meminfo")
    return machine.get("MemTotal"), machine.get("MemAvailable")


def _values(path: Path) -> dict[str, int]:
    """Read lines such as `VmRSS:  1234 kB`, in bytes."""
    found = {}
    for line in _text(path).splitlines():
        name, _, said = line.partition(":")
        if said.endswith(" kB"):
            found[name] = int(said.removesuffix(" kB")) * 1024
    return found


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_CHARS).decode("ascii", "replace")
    except OSError:
        return ""
