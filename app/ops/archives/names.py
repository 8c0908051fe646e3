"""Member names: what they become, and which are refused.

A name out of an archive is a stranger's text. What leaves here is a relative path of ordinary
folder and file names that Linux, macOS and Windows can all store, so that a result may be written
anywhere, or packed again, as it is.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Callable
from functools import partial

from app.errors import MemberPathUnsafe

MAX_COMPONENT_BYTES = 255
"""Of UTF-8, as ext4, XFS and APFS have it. NTFS counts 255 UTF-16 units, which is never less."""
MAX_PATH_BYTES = 1024
"""As macOS has it; the shortest of the three."""
MAX_FOLDERS = 64

_DRIVE = re.compile(r"[A-Za-z]:(?:/|$)")
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]')
_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])[ ]*(?:\.|$)",
    re.IGNORECASE,
)
_SUFFIX = re.compile(r"(?:\.tar)?\.[^. ]{1,16}$", re.IGNORECASE)
"""`.tar.gz` is one suffix, and `. 3rd attempt` is none."""


def decode(raw: bytes, *, utf8: bool = False, fallback: str = "cp437") -> str:
    """Give a name as text: UTF-8 where it is valid or promised, else as `fallback` has it.

    macOS writes UTF-8 into zips without saying so, and text in an old code page is hardly ever
    valid UTF-8, so that trying it first is more often right than trusting the flag.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace") if utf8 else raw.decode(fallback)


def shown(name: str) -> str:
    """Give a name fit for a message or a record: printable, and not endless."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in name[: MAX_PATH_BYTES + 1])
    return text if len(text) <= MAX_PATH_BYTES else f"{text[:MAX_PATH_BYTES]}..."


def safe_path(name: str) -> str:
    r"""Give a member's path as it may be handed on.

    `/` and `\` both separate folders; empty parts and `.` are dropped. Then, of each part:
    composed (NFC); control, format and other unprintable characters, and those that Windows has
    no place for (`<>:"|?*`), become `_`; so do the dots and spaces that it would drop at the end;
    its device names (`con`, `aux.txt`) get a `_` in front; what is over 255 bytes is shortened
    and keeps its suffix.

    Returns:
        The path, with `/` between folders; empty for the archive's own root.

    Raises:
        MemberPathUnsafe: absolute, with a `..`, a NUL, too deep or too long.
    """
    if "\0" in name:
        raise MemberPathUnsafe("The name has a NUL in it; what follows it would be hidden.")
    path = name.replace("\\", "/")
    if path.startswith("/") or _DRIVE.match(path):
        raise MemberPathUnsafe("The path is absolute.")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise MemberPathUnsafe("The path climbs out of its folder with `..`.")
    if len(parts) > MAX_FOLDERS:
        raise MemberPathUnsafe(f"The path is more than {MAX_FOLDERS} folders deep.")
    result = "/".join(_tidied(part) for part in parts)
    if len(result.encode()) > MAX_PATH_BYTES:
        raise MemberPathUnsafe(f"The path is longer than {MAX_PATH_BYTES} bytes.")
    return result


def _tidied(part: str) -> str:
    part = unicodedata.normalize("NFC", part.encode("utf-8", "replace").decode())
    part = "".join(c if c.isprintable() else "_" for c in part)
    part = _NOT_ON_WINDOWS.sub("_", part)
    kept = part.rstrip(". ")
    part = kept + "_" * min(len(part) - len(kept), 1)
    if _RESERVED.match(part):
        part = f"_{part}"
    return _shortened(part)


def split_suffix(name: str) -> tuple[str, str]:
    """Split a base name into stem and suffix, the dot with the suffix; `.profile` has none."""
    found = _SUFFIX.search(name)
    return (name[: found.start()], found[0]) if found and found.start() else (name, "")


def _shortened(part: str, addition: str = "") -> str:
    """Put `addition` before the suffix, and shorten the stem so that the whole can be stored."""
    stem, suffix = split_suffix(part)
    room = MAX_COMPONENT_BYTES - len((addition + suffix).encode())
    raw = stem.encode()
    if len(raw) > room:
        stem = raw[:room].decode("utf-8", "ignore").rstrip(". ")
    return f"{stem}{addition}{suffix}"


class Names:
    """The paths given out so far, none twice, and none both a file and a folder.

    Args:
        fold: whether names that differ in case only count as equal, as on Windows and macOS.
    """

    def __init__(self, *, fold: bool) -> None:
        self._fold: Callable[[str], str] = _folded if fold else str
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._moved: dict[str, str] = {}
        """Folders that a file already has the name of, and what they are called instead."""
        self._next: dict[str, int] = {}
        """The number to try next, so that ten thousand equal names are not tried one by one."""

    def free(self, path: str) -> bool:
        """Tell whether `take` would give the path as it is."""
        parts = path.split("/")
        above = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        return not self._taken(path) and not any(self._fold(a) in self._files for a in above)

    def take(self, path: str) -> str:
        """Give the path, or the first of `name (2).txt`, `name (3).txt`, ... that is free."""
        *folders, name = path.split("/")
        place = ""
        for folder in folders:
            place = self._folder(f"{place}{folder}") + "/"
        taken = self._numbered(place, name, self._taken)
        self._files.add(self._fold(taken))
        return taken

    def _folder(self, path: str) -> str:
        key = self._fold(path)
        if key not in self._moved:
            place, slash, name = path.rpartition("/")
            is_file = partial(self._is_in, self._files)
            self._moved[key] = self._numbered(place + slash, name, is_file)
        self._folders.add(self._fold(self._moved[key]))
        return self._moved[key]

    def _numbered(self, place: str, name: str, taken: Callable[[str], bool]) -> str:
        candidate = f"{place}{name}"
        key = self._fold(candidate)
        number = self._next.get(key, 2)
        while taken(candidate):
            candidate = f"{place}{_shortened(name, f' ({number})')}"
            number += 1
            self._next[key] = number
        return candidate

    def _taken(self, path: str) -> bool:
        return self._is_in(self._files, path) or self._is_in(self._folders, path)

    def _is_in(self, known: set[str], path: str) -> bool:
        return self._fold(path) in known


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())


def unicode_extra(extra: bytes, raw_name: bytes) -> str | None:
    """Read the name in Info-ZIP's Unicode Path field (APPNOTE 4.6.9), if it is of `raw_name`."""
    if len(extra) < 5 or extra[0] != 1:
        return None
    if int.from_bytes(extra[1:5], "little") != zlib.crc32(raw_name):
        return None
    try:
        return extra[5:].decode()
    except UnicodeDecodeError:
        return None
