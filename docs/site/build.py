"""Puts together what the site is made of, and makes it: `make site`.

README.md and docs/ are copied below build/pages/ as they lie in the repository, with those other
files that they link to, so that every relative link is right there as it is on the forge. Then
Zensical makes build/site/ out of it, strictly: a link or an anchor that leads nowhere ends it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "build" / "pages"
LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)\s]*)?\)")


class Broken(Exception):
    """A page links to what is not there."""


def linked(path: Path) -> set[Path]:
    """Give the files of the repository to which a page links. Raises `Broken`."""
    found = set()
    for link in LINK.findall(path.read_text("utf-8")):
        target = (path.parent / link).resolve()
        if not target.exists() or not target.is_relative_to(ROOT):
            raise Broken(f"{path.relative_to(ROOT)} links to {link}, which is not there.")
        found |= {target} if target.is_file() else {f for f in target.rglob("*") if f.is_file()}
    return found


def collected() -> set[Path]:
    """Give every file of the site: pages, and what they and the pages that they link to show."""
    found = {ROOT / "docs" / "site" / "site.css"}
    left = {ROOT / "README.md", *(ROOT / "docs").rglob("*.md")}
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left |= linked(path) if path.suffix == ".md" else set()
    return found


def main() -> int:
    """Make it; gives the exit code."""
    try:
        files = collected()
    except Broken as broken:
        sys.stderr.write(f"{broken}\n")
        return 1
    shutil.rmtree(PAGES, ignore_errors=True)
    for path in files:
        copy = PAGES / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    zensical = Path(sys.executable).with_name("zensical")
    return subprocess.run(
        [zensical, "build", "--clean", "--strict"], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
