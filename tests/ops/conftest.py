import importlib
import sys
from pathlib import Path

import pytest

from app.ops.base import Limits, Source, Work
from app.ops.registry import load_operations


@pytest.fixture
def make_work(tmp_path):
    """Build the `Work` for a file of the given content, in a folder of its own."""
    made = 0

    def make(content: bytes, name: str = "file", limits: Limits | None = None) -> Work:
        nonlocal made
        made += 1
        base = tmp_path / f"work{made}"
        folder = base / "folder"
        folder.mkdir(parents=True)
        path = base / "source"
        path.write_bytes(content)
        source = Source(path, name, "application/octet-stream", len(content))
        return Work((source,), folder, limits or Limits())

    return make


@pytest.fixture
def install_plugin(tmp_path, monkeypatch):
    """Install a distribution with entry points, as pip would leave it on `sys.path`."""
    modules = []

    def install(module: str, code: str, entry_points: dict[str, str]) -> Path:
        site = tmp_path / f"site-{module}"
        info = site / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[offload.operations]", *lines, ""]))
        (site / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        load_operations.cache_clear()
        modules.append(module)
        return site

    yield install
    monkeypatch.undo()
    load_operations.cache_clear()
    for module in modules:
        sys.modules.pop(module, None)
