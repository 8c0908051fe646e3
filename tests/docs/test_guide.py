"""docs/guide.md says what `offload guide` measures, and what guide.json has."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from app.guide.advice import advice
from app.guide.situations import BY_KEY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guide.md").read_text()


def test_the_fields_are_those_of_the_models() -> None:
    written = runpy.run_path(str(ROOT / "docs" / "generate.py"))["guide"](PAGE)
    assert written == PAGE, "run `make docs`"


def test_what_explains_a_situation_is_a_heading_of_the_page_that_is_named() -> None:
    for about in BY_KEY.values():
        page, _, anchor = about.explained.partition("#")
        headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
        assert anchor in [heading.lower().replace(" ", "-") for heading in headings]


def test_every_situation_and_every_setting_has_its_row() -> None:
    assert set(
        re.findall(r"^\| `([a-z]+)` \|", PAGE.partition("How a verdict")[0], re.MULTILINE)
    ) == set(BY_KEY)
    assert set(re.findall(r"^\| `(OFFLOAD_\w+)` \|", PAGE, re.MULTILINE)) == {
        one.variable for one in advice([])
    }
