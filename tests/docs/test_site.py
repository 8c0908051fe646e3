"""`make site`: all links lead somewhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import need
from tests.docs.reader import PAGES, ROOT

BUILD = ROOT / "docs" / "site" / "build.py"
LOADED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']?(https?:|//)[^>]*>")


def test_it_is_made_strictly_and_loads_nothing_from_elsewhere() -> None:
    python = need(ROOT / ".venv-site" / "bin" / "python", "`make .venv-site/.done`")
    made = subprocess.run([python, BUILD], capture_output=True, text=True, timeout=100, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    pages = {path.relative_to(ROOT) for path in PAGES if "clients" not in path.parts}
    for page in pages:
        name = "index.html" if page.name == "README.md" else f"{page.stem}.html"
        html = (ROOT / "build" / "site" / page.with_name(name)).read_text()
        assert not LOADED.search(html), page


def test_every_page_has_its_place_in_the_navigation() -> None:
    navigation = (ROOT / "zensical.toml").read_text()
    for path in PAGES:
        page = path.relative_to(ROOT).as_posix()
        assert f'"{page}"' in navigation or page.startswith("clients/"), page


def test_a_link_that_leads_nowhere_ends_it(tmp_path: Path) -> None:
    names = runpy.run_path(str(BUILD))
    page = tmp_path / "page.md"
    page.write_text("[there](page.md#top) and [elsewhere](https://example.com/x.md)")
    linked = names["linked"]
    linked.__globals__["ROOT"] = tmp_path
    assert linked(page) == {page}
    page.write_text("[away](gone.md)")
    with pytest.raises(names["Broken"], match=r"page\.md links to gone\.md"):
        linked(page)


def test_every_page_says_where_to_go_next() -> None:
    written = {"api.md", "guide.md", "operations.md", "scaling.md"}  # links are at their beginning
    for path in PAGES:
        if path.is_relative_to(ROOT / "docs") and path.name not in written:
            assert "\n## Where next\n" in path.read_text(), path
