"""docs/api.md has every call of the OpenAPI document; test_snippets.py runs its examples."""

from __future__ import annotations

import runpy

from app.errors import CATALOGUE
from app.main import create_app
from app.settings import Settings
from tests.docs.reader import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text()


def test_the_page_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "site" / "api.py"))["page"]()
    assert made == PAGE, "run `make docs`"


def test_every_call_has_its_place_and_every_code_is_listed() -> None:
    document = create_app(Settings()).openapi()
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in PAGE
    assert all(f"`{code}`" in PAGE for code in CATALOGUE)
