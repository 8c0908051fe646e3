"""On what it is measured: without it, figures say nothing."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from app.guide.bench import free_bytes
from app.guide.document import Machine
from app.guide.pools import cores
from app.guide.situations.data import free_threaded

LIBRARIES = ("httpx", "uvloop", "fastapi", "uvicorn", "pillow", "numpy", "zlib-ng", "joblib")


def machine() -> Machine:
    """Describe this machine, now."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(
        system=f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}".strip(),
        processor=_processor(),
        cores=cores(),
        memory_bytes=pages * page_bytes,
        free_bytes=free_bytes(),
        load=round(os.getloadavg()[0], 2),
        python=platform.python_version(),
        free_threaded=free_threaded(),
        libraries=dict(filter(None, map(_version, LIBRARIES))),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _version(library: str) -> tuple[str, str] | None:
    try:
        return library, metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
