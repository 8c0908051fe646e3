"""The names that uploads come under, and what is kept of them."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

from fastapi import Query

from app.api.multipart import parse_disposition
from app.errors import InvalidParameter, MemberPathUnsafe
from app.ops.archives.names import MAX_PATH_BYTES, safe_path, shown

MAX_NAME_CHARACTERS = 255
NAMELESS = "upload"

Paths = Literal["strip", "keep"]
PATHS = "paths"
"""The option's name, in the query and in a form."""

NameQuery = Annotated[
    str | None, Query(max_length=4_000, description="Names a body that is the file itself.")
]
PathsQuery = Annotated[
    Paths | None,
    Query(
        description="Of uploads' names: `strip` their folders (the default), or `keep` them where "
        "they are safe: relative, without `..`. May stand in a form, too."
    ),
]


def name_in(content_disposition: str | None) -> str | None:
    """Give the file name in a Content-Disposition header (RFC 6266), or None."""
    if not content_disposition:
        return None
    _, options = parse_disposition(content_disposition.encode("latin-1", "replace"))
    return options.get(b"filename", b"").decode("utf-8", "replace") or None


def bounded(name: str) -> str:
    """Cut a name that is too long for a path from the front, to wait for what is asked of it."""
    return name[-MAX_PATH_BYTES - 1 :]


def plain_name(name: str) -> str:
    """Keep a client's file name as data: its last part, printable, not too long, never empty."""
    last = PurePosixPath(PureWindowsPath(name).name).name
    printable = "".join(c for c in last if c.isprintable())
    kept = printable[-MAX_NAME_CHARACTERS:].strip()
    return kept if kept.strip(".") else NAMELESS


def kept_name(name: str, paths: Paths | None) -> str:
    """Give the name that an upload has from here on.

    With folders it is what the same path would be in an archive: see `safe_path`.

    Raises:
        InvalidParameter: folders are to be kept, and no safe path can be made of them.
    """
    if paths != "keep":
        return plain_name(name)
    try:
        if len(name) > MAX_PATH_BYTES:
            raise MemberPathUnsafe(f"The path is longer than {MAX_PATH_BYTES} bytes.")
        return safe_path(name) or NAMELESS
    except MemberPathUnsafe as error:
        raise InvalidParameter(
            f"The file name `{shown(name)[:MAX_NAME_CHARACTERS]}` cannot be kept: {error.detail}"
        ) from None
