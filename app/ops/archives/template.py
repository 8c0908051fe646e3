"""The `path` template: how the files of an archive are named in it."""

from __future__ import annotations

import re
from string import Formatter

from app.errors import MemberPathUnsafe
from app.ops.archives.names import safe_path, split_suffix

MAX_CHARACTERS = 500

FIELDS = ("path", "folder", "name", "stem", "ext", "index")

MEANING = (
    "`{path}`: the file's whole path, as `extract` left it, or its name. `{folder}`: the folders "
    "of that path with a `/` at the end, or nothing. `{name}`: its last part; `{stem}` and "
    "`{ext}`: that without its suffix, and the suffix with its dot (`.tar.gz` whole), or nothing. "
    "`{index}`: the file's place, from 1; `{index:03}` fills up with zeros. `{{` is a brace."
)

_PADDING = re.compile(r"0?[1-9]")


def checked(template: str) -> str:
    """Refuse, with `ValueError`, a template that could not name a file."""
    if not 0 < len(template) <= MAX_CHARACTERS:
        raise ValueError(f"must have 1 to {MAX_CHARACTERS} characters")
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"must not have a brace without its other half ({error})") from None
    for _, field, padding, conversion in parts:
        if field is None:
            continue
        if field not in FIELDS or conversion:
            raise ValueError(
                f"must not have {{{field}}}; the fields are: "
                + ", ".join(f"{{{known}}}" for known in FIELDS)
            )
        if padding and not (field == "index" and _PADDING.fullmatch(padding)):
            raise ValueError("must not fill up but {index}, to 1 to 9 digits, as in {index:03}")
    example = _filled(template, "folder/file.txt", 1)
    try:
        path = safe_path(example)
    except MemberPathUnsafe as error:
        raise ValueError(f"must give a path that can be used. {error.detail}") from None
    if not path or example.endswith(("/", "\\")):
        raise ValueError("must give a file, and gives a folder")
    return template


def rendered(template: str, name: str, index: int) -> str:
    """Fill the template in for one file.

    Args:
        template: one that is `checked`.
        name: the file's own, `/` between folders; what climbs or is absolute in it is dropped.
        index: its place among the files, from 1.
    """
    # Without a drive's colon and a NUL, which would be refused in a path.
    parts = [re.sub(r"[:\0]", "_", part) for part in re.split(r"[/\\]", name)]
    parts = [part for part in parts if part not in ("", ".", "..")] or ["file"]
    path = _filled(template, "/".join(parts), index)
    # `{ext}` alone gives nothing for a file without one.
    return path + parts[-1] if not path or path.endswith("/") else path


def _filled(template: str, name: str, index: int) -> str:
    folders, slash, base = name.rpartition("/")
    stem, suffix = split_suffix(base)
    return template.format(
        path=name, folder=folders + slash, name=base, stem=stem, ext=suffix, index=index
    )
