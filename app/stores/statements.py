"""The statements of the records: each stands once, in a `.sql` file, under a name of its own.

A file holds `-- name: x`, what it is for as a comment, and the statement. `-- index: a, b` names
the indexes that a hot statement leans on; a test holds its query plan to them. `:x` is a value,
`IN :x[]` a list of them, which each dialect spells in its own way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

SQL = resources.files("app.stores.sql")
_HEAD = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_INDEX = re.compile(r"^-- index: (.+)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement as its file has it."""

    text: str
    indexes: tuple[str, ...]
    """Those that its plan must use; none where it is not hot."""


def load(dialect: str) -> dict[str, Statement]:
    """Read what all databases share, and what is the dialect's own.

    Raises:
        ValueError: two statements have one name.
    """
    found: dict[str, Statement] = {}
    for folder in ("common", dialect):
        for file in sql_files(SQL / folder):
            for name, statement in _parsed(file.read_text("utf-8")):
                if name in found:
                    raise ValueError(f"Two statements are called {name!r}; one is in {file.name}.")
                found[name] = statement
    return found


def sql_files(folder: Traversable) -> Iterable[Traversable]:
    """Give a folder's statement files; those with a number are migrations."""
    files = (file for file in folder.iterdir() if file.name.endswith(".sql"))
    return (file for file in files if not file.name[0].isdigit())


def migrations(dialect: str) -> Mapping[int, Traversable]:
    """Give the numbered files of a dialect, by number."""
    files = sorted((SQL / dialect).iterdir(), key=lambda file: file.name)
    return {int(file.name[:4]): file for file in files if re.match(r"\d{4}_", file.name)}


def _parsed(text: str) -> Iterable[tuple[str, Statement]]:
    parts = _HEAD.split(text)
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        named = _INDEX.search(body)
        indexes = tuple(part.strip() for part in named[1].split(",")) if named else ()
        yield name, Statement(_INDEX.sub("", body).strip(), indexes)
