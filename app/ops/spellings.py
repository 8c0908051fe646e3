"""Values of parameters as people write them, and as queries and forms spell them: all text.

Other spellings of a format's name that can mean one thing only are taken; what is documented,
recorded and told back is the one name. A name that belongs to another operation is refused with the
way there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import WithJsonSchema

from app.ops.codecs.kinds import CODECS, TAR_FORMATS
from app.ops.jsontext import value_of

_CODECS = {
    "gz": "gzip",
    "x-gzip": "gzip",
    "zst": "zstd",
    "zstandard": "zstd",
    "brotli": "br",
    "bzip2": "bz2",
    "raw-deflate": "deflate-raw",
    "deflate_raw": "deflate-raw",
}
_ARCHIVES = {
    "tgz": "tar.gz",
    "tar.gzip": "tar.gz",
    "tzst": "tar.zst",
    "tar.zstd": "tar.zst",
    "txz": "tar.xz",
    "tbz": "tar.bz2",
    "tbz2": "tar.bz2",
    "tar.bzip2": "tar.bz2",
}
_PICTURES = {"jpg": "jpeg", "jpe": "jpeg", "jfif": "jpeg", "tif": "tiff"}

_MANY: dict[str, str] = {codec: tar for codec, tar in TAR_FORMATS.items()}  # noqa: C416 - of wider keys
_PACKED = ("zip", "tar", *_ARCHIVES, *TAR_FORMATS.values())
_EITHER = {"deflate": "deflate can be zlib (as in HTTP) or deflate-raw: say which"}


def _of_one_file(name: str) -> str:
    many = _MANY.get(_CODECS.get(name, name))
    return f"for {name} use /v1/compress" + (f"; for many files there is {many}" if many else "")


def _taking(spellings: Mapping[str, str], elsewhere: Mapping[str, str]) -> Callable[[Any], Any]:
    def take(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        name = value.strip().lower().removeprefix(".")
        if why := elsewhere.get(name):
            raise ValueError(why)
        return spellings.get(name, name)

    return take


compression = _taking(_CODECS, {**{n: f"for {n} use /v1/archive" for n in _PACKED}, **_EITHER})
"""Gives the codec's own name for one to write; raises `ValueError` for that of an archive."""
compressed = _taking(_CODECS, {**{n: f"for {n} use /v1/extract" for n in _PACKED}, **_EITHER})
"""The same for one to read."""
archive = _taking(_ARCHIVES, {name: _of_one_file(name) for name in (*CODECS, *_CODECS)})
"""Gives the archive format's own name; raises `ValueError` for that of a codec alone."""
picture = _taking(_PICTURES, {})
"""Gives the picture format's own name."""


LevelNumber = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 22})]
"""What `level` lets through; each codec has its own range inside."""


def listed(value: Any) -> Any:
    """Take `a, b` for a list of two, and the JSON text `["a", "b"]` too."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return value_of(value)
        except ValueError:
            pass  # a glob may begin so as well
    return [part.strip() for part in value.split(",") if part.strip()]


def level(value: Any) -> Any:
    """Take the text "9" for 9; raises `ValueError` that says once, and whole, what is valid."""
    if isinstance(value, str):
        if value in ("balanced", "fast", "best"):
            return value
        if re.fullmatch(r"[+-]?[0-9]{1,6}", value.strip(), re.ASCII):
            return int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("must be fast, balanced, best or a whole number")
