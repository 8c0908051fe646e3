"""What is given to work on: files by path, bytes or stream, URLs, and files that are stored."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

from offload.errors import CannotRepeat, InputChanged
from offload.records import FileData

NAMELESS = "upload"
_URL = re.compile(r"(?:https?|s3)://", re.IGNORECASE)

Source: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]"
"""A file's path, its content, or a binary stream that is read from where it stands."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to send, where its name or type is not to be that of its path."""

    source: Source
    """As text it is a path, whatever it looks like."""
    name: str | None = None
    """What the service calls it. With `paths="keep"` it may have folders."""
    media_type: str | None = None
    """What a text is, such as `text/css`; all else is told by content."""

    @property
    def shown_name(self) -> str:
        """The name that it is sent with: its own, or the last part of its path."""
        if self.name is not None:
            return self.name
        path = self.source
        if isinstance(path, bytes | bytearray | memoryview):
            return NAMELESS
        if not isinstance(path, str | os.PathLike):
            path = getattr(path, "name", None) or NAMELESS
            if not isinstance(path, str | os.PathLike):
                return NAMELESS  # a file descriptor's is a number
        return Path(path).name or NAMELESS


@dataclass(frozen=True, slots=True)
class Url:
    """A URL that the service fetches, with what belongs to it alone."""

    url: str
    headers: Mapping[str, str] | None = None
    filename: str | None = None
    digest: str | None = None
    """The sha256 that its content must have."""
    max_bytes: int | None = None
    store: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """Give it as an item of a job's document."""
        names = ("url", "headers", "filename", "digest", "max_bytes", "store")
        said = {name: getattr(self, name) for name in names}
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that the service has, by its id."""

    file_id: str


Input: TypeAlias = "Source | Upload | Url | Stored | FileData"
"""What an operation takes. Text that begins with http://, https:// or s3:// is a URL, all other
text is a path; `Upload` and `Url` leave nothing to be guessed."""
UrlInput: TypeAlias = "str | Url"


def understood(given: Any) -> Upload | Url | Stored:
    """Tell what an input is. Raises `TypeError` for what cannot be one."""
    if isinstance(given, Upload | Url | Stored):
        return given
    if isinstance(given, FileData):
        return Stored(given.id)
    if isinstance(given, str) and _URL.match(given):
        return Url(given)
    binary = isinstance(given, str | os.PathLike | bytes | bytearray | memoryview)
    if binary or callable(getattr(given, "read", None)):
        return Upload(given)
    raise TypeError(
        f"A {type(given).__name__} is no input: give a path, bytes, a binary stream, a URL, or a "
        "file of the service."
    )


class Reading:
    """An upload being read: from its beginning, as often as it is sent."""

    def __init__(self, upload: Upload) -> None:
        """Open it.

        Raises:
            OSError: the path cannot be opened.
            TypeError: the stream gives text.
        """
        self.name = upload.shown_name
        self.media_type = upload.media_type
        source = upload.source
        self._own = isinstance(source, str | os.PathLike)
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            if path.is_dir():
                raise IsADirectoryError(21, "It is a folder", str(path))
            self._file: IO[bytes] = path.open("rb")
        elif isinstance(source, bytes | bytearray | memoryview):
            self._file = io.BytesIO(source)
        else:
            if isinstance(cast("object", source), io.TextIOBase):
                raise TypeError("The stream gives text; open it with mode 'rb'.")
            self._file = source
        self._start = self._place()
        self.size_bytes = self._rest()
        """How much there is to send; None of a stream that does not say."""
        self._used = False

    def _place(self) -> int | None:
        try:
            return self._file.tell() if self._file.seekable() else None
        except (AttributeError, OSError, ValueError):
            return None

    def _rest(self) -> int | None:
        if self._start is None:
            return None
        end = self._file.seek(0, os.SEEK_END)
        self._file.seek(self._start)
        return end - self._start

    def rewind(self) -> None:
        """Go to the beginning. Raises `CannotRepeat` of a stream that has been read."""
        if self._start is not None:
            self._file.seek(self._start)
        elif self._used:
            raise CannotRepeat(
                f"{self.name} comes from a stream that cannot be read a second time; a file or a "
                "seekable stream could be sent again."
            )
        self._used = True

    def read(self, most: int, sent_bytes: int) -> bytes:
        """Give the next piece, behind so many bytes of it; empty at the end.

        Raises:
            InputChanged: it ends before or goes on behind its announced length.
            OSError: it cannot be read.
        """
        piece = self._file.read(most) or b""
        after = sent_bytes + len(piece)
        known = self.size_bytes
        if known is not None and (after > known or (not piece and after < known)):
            how = "longer" if after > known else "shorter"
            raise InputChanged(f"{self.name} got {how} while it was read.")
        return piece

    def close(self) -> None:
        """Close what was opened here; a stream of the caller's stays open."""
        if self._own:
            self._file.close()
