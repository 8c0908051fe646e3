"""docs/own-operations.md: what it names is there, and its figures are the code's."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from app.cpu.line import TRIP_MS, TRIP_TASKS
from app.ops.base import Operation
from app.settings import variables
from app.work.items import THREADS

PAGE = (Path(__file__).parents[2] / "docs" / "own-operations.md").read_text()


def test_what_it_names_is_there() -> None:
    assert set(re.findall(r"OFFLOAD_[A-Z_]+[A-Z]", PAGE)) <= variables().keys()
    [table] = re.findall(r"^\| of `Operation` .*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    named = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert len(named) == 6
    assert {*named} <= {field.name for field in fields(Operation)}
    for path in re.findall(r"`((?:tests|app)/[\w/.]+)`", PAGE):
        assert (Path(__file__).parents[2] / path).exists(), path


def test_its_figures_are_the_codes() -> None:
    assert f"Up to {TRIP_TASKS} inputs of {TRIP_MS:g} ms together" in PAGE
    assert THREADS == 8
    assert "up to eight at once" in PAGE
