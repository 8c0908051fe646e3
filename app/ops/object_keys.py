"""How results are named in a bucket: the template, and what it gives for one of them."""

from __future__ import annotations

import re

from app.ops.archives.names import split_suffix

MAX_CHARACTERS = 500
MAX_BYTES = 1024
"""Of an object's whole name: what S3 and its like take."""
DEFAULT = "{job}/{index}/{path}"
FIELDS = ("job", "index", "result", "path", "name", "stem", "ext")
TELLS_ITEMS_APART = frozenset({"index", "path", "name", "stem"})

MEANING = (
    "`{job}`: the job's id. `{index}`: the item's, as the job shows it. `{result}`: the result's "
    "place among those of its item, from 0. `{path}`: its name, with the folders that `extract` "
    "found; `{name}`: the last part of that; `{stem}` and `{ext}`: that without its suffix, and "
    "the suffix with its dot, or nothing. `{index:06}` fills up with zeros."
)

_FIELD = re.compile(r"\{(\w+)(?::0([1-9]))?\}")
_COUNTED = ("index", "result")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def checked_key(key: str) -> str:
    """Give an object's name, if it is one that leads where it says.

    Raises:
        ValueError: it is empty or too long, has a part that is empty, `.` or `..`, or a control
            character.
    """
    if not key or len(key.encode("utf-8", "replace")) > MAX_BYTES:
        raise ValueError(f"an object's name has 1 to {MAX_BYTES} bytes")
    if _CONTROL.search(key) or any(part in ("", ".", "..") for part in key.split("/")):
        raise ValueError("an object's name has no control characters and no empty, . or .. parts")
    return key


def checked(template: str) -> str:
    """Refuse, with `ValueError`, a template that could not name an object."""
    if not 0 < len(template) <= MAX_CHARACTERS:
        raise ValueError(f"must have 1 to {MAX_CHARACTERS} characters")
    for field, width in _FIELD.findall(template):
        if field not in FIELDS:
            known = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise ValueError(f"must not have {{{field}}}; the fields are: {known}")
        if width and field not in _COUNTED:
            raise ValueError("must not fill up but {index} and {result}")
    if re.search("[{}]", _FIELD.sub("", template)):
        raise ValueError("must not have braces but those around a field")
    try:
        checked_key(rendered(template, job="job", index=0, result=0, name="file.txt"))
    except ValueError as error:
        raise ValueError(f"must give a name that an object may have: {error}") from None
    return template


def tells_items_apart(template: str) -> bool:
    """Tell whether a template can give two items' results two names."""
    return any(field in TELLS_ITEMS_APART for field, _ in _FIELD.findall(template))


def rendered(template: str, *, job: str, index: int, result: int, name: str) -> str:
    """Fill a template in for one result.

    Args:
        template: one that is `checked`, which another part may stand before.
        job: the job's id.
        index: the item's.
        result: its place among its item's results, from 0.
        name: its own, `/` between folders; what climbs or is absolute in it is dropped.
    """
    parts = [_CONTROL.sub("_", part) for part in re.split(r"[/\\]", name)]
    parts = [part for part in parts if part not in ("", ".", "..")] or ["file"]
    stem, suffix = split_suffix(parts[-1])
    values = {"job": job, "index": str(index), "result": str(result), "path": "/".join(parts)}
    values |= {"name": parts[-1], "stem": stem, "ext": suffix}
    return _FIELD.sub(lambda found: values[found[1]].zfill(int(found[2] or 0)), template)
