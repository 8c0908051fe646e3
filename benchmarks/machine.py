"""On what a run was made: without it, figures say nothing."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.bench import ROOT, Bench

PACKAGES = (
    *("fastapi", "uvicorn", "uvloop", "httptools", "python-multipart"),
    *(
        "deflate",
        "isal",
        "zlib-ng",
        "backports.zstd",
        "brotli",
        "lz4",
        "pyvips",
        "pyvips-binary",
        "pillow",
    ),
    *("aiohttp", "httpx", "requests"),
)


def described(bench: Bench) -> list[str]:
    """Give the lines that stand above the tables."""
    now = datetime.now(UTC)
    memory_kib = int(_field("/proc/meminfo", "MemTotal").split()[0])
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    model, cores = _field("/proc/cpuinfo", "model name"), len(os.sched_getaffinity(0))
    memory = f"{memory_kib / (1 << 20):.0f} GiB"
    system = f"Linux {platform.release()}, {' '.join(platform.libc_ver())}"
    disk = f"fsync of 4 KiB {_fsync_ms(bench.folder):.2f} ms (median of 100)"
    return [
        f"- Date: {now:%Y-%m-%d %H:%M} UTC; commit {_commits(bench.app)}",
        f"- Machine: {model}, {cores} cores, {memory}, {system}",
        f"- Disk: {disk}; load average at the start: {os.getloadavg()[0]:.2f}",
        f"- Python {platform.python_version()}; {versions}",
    ]


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _commits(app: Path) -> str:
    benchmarks, service = _commit(ROOT), _commit(app)
    return service if app == ROOT else f"{service}, measured by the benchmarks of {benchmarks}"


def _commit(checkout: Path) -> str:
    command = ("git", "describe", "--always", "--dirty")
    asked = subprocess.run(command, cwd=checkout, capture_output=True, check=False, text=True)
    return asked.stdout.strip() or "unknown"


def _fsync_ms(folder: Path) -> float:
    taken_ms = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(100):
            file.write(bytes(4096))
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            taken_ms.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken_ms)
