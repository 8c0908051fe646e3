"""Writes the smallest package with an operation in it: what a team begins its own with."""

from __future__ import annotations

import keyword
import re
import shutil
from importlib.resources import files
from pathlib import Path
from string import Template

from app.ops.registry import load_offered

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
MAX_NAME_CHARACTERS = 40
_RESERVED = frozenset({"files", "jobs", "limits", "operations", "service", "webhooks"})
"""What is below /v1 already, where an operation's door would be."""
_PLACES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "operation.py.txt": "{module}/__init__.py",
    "test_operation.py.txt": "tests/test_{name}.py",
}


class NotWritten(Exception):
    """No package was written; says why in a sentence."""


def write_package(name: str, where: Path) -> Path:
    """Write a package for an operation of this name, into a folder of its own inside `where`.

    Returns:
        The folder.

    Raises:
        NotWritten: the name cannot be an operation's, the folder is there already, or nothing can
            be written there; nothing is left of it.
    """
    _check_name(name)
    module = f"offload_{name}"
    folder = where / module.replace("_", "-")
    words = {
        "name": name,
        "module": module,
        "distribution": folder.name,
        "camel": "".join(word.capitalize() for word in name.split("_")),
    }
    texts = {
        place.format(**words): Template(_template(source)).substitute(words)
        for source, place in _PLACES.items()
    }
    try:
        folder.mkdir()
    except FileExistsError:
        raise NotWritten(f"There is something at {folder} already.") from None
    except OSError as error:
        raise NotWritten(f"{folder} cannot be made: {error.strerror}.") from None
    try:
        for place, text in texts.items():
            (folder / place).parent.mkdir(exist_ok=True)
            (folder / place).write_text(text, "utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NotWritten(f"{folder} cannot be written to: {error.strerror}.") from None
    return folder


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME_CHARACTERS or not NAME.fullmatch(name):
        raise NotWritten(
            f"{name[:60]!r} cannot be an operation's name: take a word such as thumb_sheet, of "
            f"{MAX_NAME_CHARACTERS} characters at most: lower-case letters, digits and single `_`."
        )
    if keyword.iskeyword(name):
        raise NotWritten(f"{name!r} is a word of Python itself; take another name.")
    doors = {operation.door for operation in load_offered().values()}
    if name in load_offered() or name in doors or name in _RESERVED:
        raise NotWritten(f"There is a /v1/{name} already; take another name.")


def _template(name: str) -> str:
    return (files(__package__) / "package" / name).read_text("utf-8")
