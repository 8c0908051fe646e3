"""A reader, who types what a page of the documentation shows, all of it in one shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.clients.conftest import need

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "clients/python/README.md", *(ROOT / "docs").rglob("*.md")]
)
LANGUAGES = {"sh", "bash", "shell", "console", "python", "py", "js", "javascript", "ts", "html"}
"""Those that can be executed; all other blocks (json, yaml, nginx, plain) are data."""
FENCE = re.compile(
    r"^ *(?P<fence>`{3,}|~{3,}) *(?P<language>[\w+-]*)[^\n]*\n(?P<text>.*?)^ *(?P=fence) *$",
    re.DOTALL | re.MULTILINE,
)
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^\n]+) -->\n+\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    """Path from the repository's root."""
    line: int
    language: str
    text: str
    not_run: str | None
    """Why nobody runs it, if the page says so in a comment right above it."""


def blocks(path: Path) -> list[Block]:
    """Give those blocks of a page that could be executed, in order."""
    page = path.read_text("utf-8")
    found = []
    for fence in FENCE.finditer(page):
        if (language := fence["language"].lower()) not in LANGUAGES:
            continue
        before = NOT_RUN.search(page[: fence.start()])
        name, line = path.relative_to(ROOT).as_posix(), page.count("\n", 0, fence.start()) + 1
        found.append(Block(name, line, language, fence["text"], before and before["reason"]))
    return found


def read(page: list[Block], folder: Path, addresses: Mapping[str, str]) -> None:
    """Execute blocks in this folder, with these addresses in place of those that the page has.

    What a console shows has to be printed, in this order; `…` and ends of lines stand for anything.
    """
    script, expected = ["exec 2>&1", f'export PATH="{Path(sys.executable).parent}:$PATH"'], ""
    for number, block in enumerate(page):
        text = block.text
        for told, real in addresses.items():
            text = text.replace(told, real)
        if block.language == "console":
            for line in text.replace("\\\n", "").splitlines():  # a command may have several lines
                if line.startswith("$ "):
                    script += [line[2:], "echo"]
                else:
                    expected += line + "\n"
        elif block.language == "python":
            (folder / f"block-{number}.py").write_text(text)
            script.append(f"python block-{number}.py")
        elif block.language == "js":
            need(shutil.which("node"), "Node")
            (folder / f"block-{number}.mjs").write_text(text)
            script.append(f"node block-{number}.mjs")
        else:
            script.append(text)
    shell = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        env={k: v for k, v in os.environ.items() if not k.startswith("OFFLOAD_")},
        check=False,
    )
    assert shell.returncode == 0, shell.stdout
    position = 0
    for told, real in addresses.items():
        expected = expected.replace(told, real)
    for part in re.split(r"…|\n", expected):
        assert part in shell.stdout[position:], f"{part!r} is not in:\n{shell.stdout[position:]}"
        position = shell.stdout.index(part, position) + len(part)
