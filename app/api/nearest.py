"""What somebody may have meant who wrote a name or a path that does not exist."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches

MAX_NAME_CHARACTERS = 64
"""Longer ones are compared with nothing, and shown cut: comparing takes time that grows with them,
and an answer is for people."""
MAX_PATH_CHARACTERS = 256
NAMES_TOLD = 40
"""Lists of names up to this length are told whole."""

_ALIKE = 0.66


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Give the known name that is most like `name`; None if none is like it."""
    if len(name) > MAX_NAME_CHARACTERS:
        return None
    by_look = {_plain(one): one for one in known}
    found = get_close_matches(_plain(name), by_look, n=1, cutoff=_ALIKE)
    return by_look[found[0]] if found else None


def hint(name: str, known: Iterable[str]) -> str:
    """Give the half sentence that goes behind "… is not known here": what is."""
    names = sorted(known)
    if found := nearest(name, names):
        return f"; did you mean `{found}`?"
    if not names:
        return "; there are none."
    if len(names) > NAMES_TOLD:
        return "."
    verb = "there is" if len(names) == 1 else "there are"
    return f"; {verb} {', '.join(f'`{one}`' for one in names)}."


def shown(text: str, characters: int = MAX_NAME_CHARACTERS) -> str:
    """Give what a client wrote as a message may repeat it: cut, if it is long."""
    return text if len(text) <= characters else text[:characters] + "…"


def nearest_path(path: str, templates: Iterable[str]) -> str | None:
    """Give the path that `path` was to be, its ids kept; None if it is like none.

    `templates` are the paths that there are, with `{name}` for what may be anything.
    """
    if len(path) > MAX_PATH_CHARACTERS:
        return None
    given = [part for part in path.split("/") if part]
    best, found = _ALIKE, None
    for template in templates:
        wanted = [part for part in template.split("/") if part]
        # As it is, with the version put first, and without a name at the end.
        for parts, weight in ((given, 1.0), ([*wanted[:1], *given], 1.0), (given[:-1], 0.9)):
            alike = weight * _alikeness(parts, wanted)
            if alike > best:
                best, found = alike, _filled(parts, wanted)
    return found


def _alikeness(given: Sequence[str], wanted: Sequence[str]) -> float:
    """How like a path is to a template, from 0 to 1; 0 as soon as one part is like nothing."""
    if len(given) != len(wanted) or not wanted:
        return 0.0
    fixed = [
        _ratio(ours.lower(), theirs)
        for ours, theirs in zip(given, wanted, strict=True)
        if not theirs.startswith("{")
    ]
    return sum(fixed) / len(fixed) if fixed and min(fixed) >= _ALIKE else 0.0


def _ratio(given: str, wanted: str) -> float:
    compared = SequenceMatcher(None, wanted, given)
    # Most pairs are told apart by their lengths, or their letters, in a fraction of the time.
    if compared.real_quick_ratio() < _ALIKE or compared.quick_ratio() < _ALIKE:
        return 0.0
    return compared.ratio()


def _filled(given: Sequence[str], wanted: Sequence[str]) -> str:
    parts = (
        ours if theirs.startswith("{") else theirs
        for ours, theirs in zip(given, wanted, strict=True)
    )
    return "/" + "/".join(parts)


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
