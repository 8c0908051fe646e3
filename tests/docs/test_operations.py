"""docs/operations.md is what the models say, and says something about every option."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from app.ops.registry import load_operations

DOCS = Path(__file__).parents[2] / "docs"
OURS = {n: o for n, o in load_operations().items() if o.params.__module__.startswith("app.")}


def test_the_page_is_up_to_date():
    written = (DOCS / "operations.md").read_text("utf-8")
    assert written == runpy.run_path(str(DOCS / "generate.py"))["page"](), "run `make docs`"


@pytest.mark.parametrize("name", OURS)
def test_every_option_is_described(name):
    schema = OURS[name].params.model_json_schema()
    models = [schema, *schema.get("$defs", {}).values()]
    fields = [f for model in models for f in model.get("properties", {}).items()]
    assert [field for field, said in fields if not said.get("description")] == []
