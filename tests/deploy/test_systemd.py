"""deploy/offload.service: what systemd says of it, and what is in it of ours."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from app.server import CUT_S, GRACEFUL_S
from app.settings import Settings, variables
from tests.clients.conftest import need

ROOT = Path(__file__).parents[2]
UNIT = (ROOT / "deploy" / "offload.service").read_text()


def test_systemd_takes_it(tmp_path: Path) -> None:
    analyze = need(shutil.which("systemd-analyze"), "systemd")
    here = str(Path(sys.executable).with_name("offload"))
    unit = tmp_path / "offload.service"
    unit.write_text(UNIT.replace("/opt/offload/.venv/bin/offload", here))
    looked = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", unit],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in looked.stderr.splitlines() if "offload.service" in line]
    assert not said, said


def test_what_is_in_it_of_ours_is_right() -> None:
    named = set(re.findall(r"\bOFFLOAD_[A-Z_]+\b", UNIT))
    assert named <= variables().keys()
    [grace_s] = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert int(grace_s) > max(GRACEFUL_S + 2 * CUT_S, Settings().drain_timeout_s + 1) + 5
    for one in re.findall(r"MALLOC_\w+=\d+", (ROOT / "Makefile").read_text()):
        assert one in UNIT
