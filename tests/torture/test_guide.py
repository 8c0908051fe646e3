"""What the guide says of background tasks: with a real service and a real application, killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.guide.document import Guide

OFFLOAD = Path(sys.executable).with_name("offload")


@pytest.mark.timeout(300)
def test_of_50_tasks_only_jobs_survive_kill_9(tmp_path: Path, tell: Callable[[str], None]) -> None:
    ended = subprocess.run(
        [OFFLOAD, "guide", "--only", "background", "--seconds", "9", "--json"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=290,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    [situation] = Guide.model_validate_json(ended.stdout).situations
    assert (situation.complete, situation.missing) == (True, ())
    pays, killed = situation.rows
    left = {one.name: one.least for one in killed.contenders}
    tell(f"left of 50: {left}")
    assert left.pop("a durable job of this service") == 50
    assert max(left.values()) < 50
    assert (killed.verdict, killed.agrees) == ("winner", "yes")
    assert len(pays.contenders) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"guide.html", "guide.json"}
