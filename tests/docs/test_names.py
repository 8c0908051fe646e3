"""Every name that a page mentions is one that there is: settings, codes, calls, files, targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.errors import CATALOGUE
from app.main import create_app
from app.model.deliveries import EVENTS
from app.settings import OF_CLIENTS, Settings, variables
from tests.docs.reader import PAGES, ROOT

TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}
TEXTS["CHANGELOG.md"] = (ROOT / "CHANGELOG.md").read_text()
GROUPS = "|".join(sorted({code.partition(".")[0] for code in CATALOGUE}))


def named(pattern: str) -> set[tuple[str, str]]:
    """Give what is found on all pages, each with the page."""
    return {(page, name) for page, text in TEXTS.items() for name in re.findall(pattern, text)}


def test_every_setting() -> None:
    known = variables().keys() | OF_CLIENTS
    found = named(r"\bOFFLOAD_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9_*…])")
    assert len(found) > 150
    assert not {(page, name) for page, name in found if name not in known}


def test_every_group_of_settings() -> None:
    for page, group in named(r"\b(OFFLOAD_[A-Z_]+_)\*"):
        assert [name for name in variables() if name.startswith(group)], f"{page}: {group}*"


def test_every_code() -> None:
    events = {*EVENTS, "webhook.test"}
    found = named(rf"`((?:{GROUPS})\.[a-z_]+)`")
    assert len(found) > 100
    assert not {(page, code) for page, code in found if code not in {*CATALOGUE, *events}}


def test_every_call(tmp_path: Path) -> None:
    routes = [
        re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))
        for path in create_app(Settings(data_dir=tmp_path)).openapi()["paths"]
    ]
    known = re.compile("|".join(routes))
    found = named(r"`(?:GET|POST|PUT|DELETE) (/v1/[\w/{}]+)[?`]")
    assert len(found) > 40
    assert not {(page, path) for page, path in found if not known.fullmatch(path)}


def test_every_target_of_make() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    found = named(r"`make ([a-z-]+)`")
    assert len(found) > 10
    assert not {(page, target) for page, target in found if target not in targets}


@pytest.mark.parametrize("page", TEXTS)
def test_every_file_of_the_repository(page: str) -> None:
    folders = "app|tests|docs|deploy|benchmarks|clients|requirements"
    for path in re.findall(rf"`((?:{folders})/[\w/.-]*\w/?)[`: ]", TEXTS[page]):
        assert (ROOT / path).exists() or path == "deploy/scaled.env", path


def test_every_module_and_every_room_of_the_architecture() -> None:
    text = TEXTS["docs/architecture.md"]
    modules = {path.name for place in ("app", "tests") for path in (ROOT / place).rglob("*.py")}
    assert not set(re.findall(r"\b(\w+\.py)\b", text)) - modules
    [rooms] = re.findall(r"^app/\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for path in (ROOT / "app").iterdir():
        name = path.name + "/" * path.is_dir()
        if not name.startswith(("__", ".")) or name == "__main__.py":
            assert re.search(rf"(^|  ){re.escape(name)}  ", rooms, re.MULTILINE), name


def test_every_sentence_that_troubleshooting_begins_with() -> None:
    table = TEXTS["docs/troubleshooting.md"].partition("| it says |")[2].partition("## ")[0]
    firsts = [row.split("|")[1] for row in table.splitlines()[2:] if row.startswith("|")]
    told = "".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    parts = [
        part.strip()
        for row in firsts
        for said in re.findall("`([^`]+)`", row)
        for part in said.split("…")
        if part.strip()
    ]
    assert len(parts) > 8
    from_elsewhere = {"Permission denied", "malformed"}
    assert not [part for part in parts if part not in told and part not in from_elsewhere]
