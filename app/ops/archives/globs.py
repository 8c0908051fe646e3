"""Globs over member paths: what `include` and `exclude` say."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

MAX_PATTERNS = 100
MAX_PATTERN_CHARACTERS = 500

MEANING = (
    "`*` stands for any characters but `/`, `?` for one, `[a-z]` for one of a set, and `**` as a "
    "whole part for any number of folders, none included. A pattern without `/` is held against "
    "the last part of the path, whatever folder it is in; one with `/` against the whole path; "
    "one that ends in `/` takes all that is in that folder. Upper and lower case differ. A list, "
    "or one string with commas between."
)

_ANY_DEPTH = "**"


def checked(patterns: list[str]) -> list[str]:
    """Refuse, with `ValueError`, what can match nothing or is too much to match with."""
    if len(patterns) > MAX_PATTERNS:
        raise ValueError(f"at most {MAX_PATTERNS} patterns, and there are {len(patterns)}")
    for pattern in patterns:
        if len(pattern) > MAX_PATTERN_CHARACTERS:
            raise ValueError(f"a pattern is longer than {MAX_PATTERN_CHARACTERS} characters")
        parts = pattern.removesuffix("/").split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise ValueError(
                f"{pattern!r} matches no path: they are relative, without empty parts, . and .."
            )
        if any(_ANY_DEPTH in part and part != _ANY_DEPTH for part in parts):
            raise ValueError(f"in {pattern!r}, ** must be a whole part, as in **/*.txt")
    return patterns


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Tell whether one of the patterns takes this path."""
    parts = path.split("/")
    return any(_matches(parts, pattern) for pattern in patterns)


def _matches(parts: list[str], pattern: str) -> bool:
    """Walk the path once, keeping every place in the pattern that it may have come to.

    So the time is bounded by the product of both lengths, whatever the pattern.
    """
    steps = _compiled(pattern)
    places = _with_skipped({0}, steps)
    for part in parts:
        moved: set[int] = set()
        for place in places:
            if place == len(steps):
                continue
            step = steps[place]
            if step is None:
                moved.add(place)
            elif step.match(part):
                moved.add(place + 1)
        places = _with_skipped(moved, steps)
    return len(steps) in places


def _with_skipped(places: set[int], steps: Sequence[re.Pattern[str] | None]) -> set[int]:
    """Add the places behind a `**`, which need not take anything."""
    reached = set(places)
    for place in sorted(places):
        following = place
        while following < len(steps) and steps[following] is None:
            following += 1
            reached.add(following)
    return reached


@lru_cache(maxsize=4 * MAX_PATTERNS)
def _compiled(pattern: str) -> tuple[re.Pattern[str] | None, ...]:
    """Give one expression for each part, None for `**`."""
    whole_folder = pattern.endswith("/")
    parts = pattern.removesuffix("/").split("/")
    if len(parts) == 1 and not whole_folder:
        parts = [_ANY_DEPTH, *parts]
    if whole_folder:
        parts = [*parts, _ANY_DEPTH]
    if parts[-1] == _ANY_DEPTH:
        # All that is in a folder, but not a file of the folder's name.
        parts = [*parts, "*"]
    # `translate` writes expressions that do not backtrack over what a star has taken.
    return tuple(
        None if part == _ANY_DEPTH else re.compile(fnmatch.translate(part)) for part in parts
    )
