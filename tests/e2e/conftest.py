"""What the tests of whole services share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of its own, of the module's `DISK_BYTES`. Only root can mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = f"size={request.module.DISK_BYTES}"
    mounting = ["mount", "-t", "tmpfs", "-o", size, "none", str(folder)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
