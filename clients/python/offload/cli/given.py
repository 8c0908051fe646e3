"""What is to be worked on: files, globs, folders, standard input and URLs, as they were typed."""

from __future__ import annotations

import glob
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

STDIN = "-"
_URL = re.compile(r"(?:https?|s3)://", re.IGNORECASE)
_MAX_LINE = 16 << 10


@dataclass(frozen=True, slots=True)
class Given:
    """One input."""

    shown: str
    """As people know it: its path, or its URL."""
    path: Path | None = None
    url: str | None = None
    below: Path = Path()
    """Its folder below the one that was named, with `-r`."""
    error: str = ""
    """Why it cannot be worked on."""

    @property
    def is_stdin(self) -> bool:
        """Whether it is standard input."""
        return self.shown == STDIN

    @property
    def name(self) -> str:
        """What the service is to call it."""
        return (self.below / self.path.name).as_posix() if self.path else "stdin"

    @property
    def size_bytes(self) -> int:
        """Of a file, as it is now; 0 where nobody knows."""
        try:
            found = self.path.stat() if self.path else None
        except OSError:
            return 0
        return found.st_size if found and stat.S_ISREG(found.st_mode) else 0


@dataclass(frozen=True, slots=True)
class Unit:
    """What is worked on as one job."""

    shown: Given
    """As which people know it: the only one, or what stands for all."""
    givens: list[Given]


def expanded(words: Iterable[str], *, recursive: bool) -> Iterator[Given]:
    """Give all inputs that were typed, in order; what is not there is one with an error."""
    for word in words:
        if word == STDIN:
            yield Given(STDIN)
        elif _URL.match(word):
            yield Given(word, url=word)
        elif os.path.lexists(word):
            yield from _there(Path(word), recursive=recursive)
        elif glob.has_magic(word):
            found = sorted(glob.glob(word, recursive=True))  # noqa: PTH207 - from anywhere
            for one in found:
                yield from _there(Path(one), recursive=recursive)
            if not found:
                yield Given(word, error=f"Nothing is called {word}.")
        else:
            yield Given(word, error=f"There is no file {word}.")


def _there(path: Path, *, recursive: bool) -> Iterator[Given]:
    if not os.path.isdir(path):  # noqa: PTH112 - Path's raises where it may not look
        yield Given(str(path), path)
    elif recursive:
        yield from _inside(path)
    else:
        yield Given(str(path), error=f"{path} is a folder: -r takes the files in it.")


def _inside(folder: Path) -> Iterator[Given]:
    refused: list[OSError] = []
    for place, inner, files in os.walk(folder, onerror=refused.append):
        inner.sort()
        for name in sorted(files):
            path = Path(place, name)
            try:
                # A device or a socket would hold up the rest for ever.
                if path.is_file():
                    top = Path(folder.resolve().name)
                    yield Given(str(path), path, below=top / Path(place).relative_to(folder))
            except OSError as hidden:  # a folder that may be listed, and no more
                yield Given(str(path), error=f"{hidden.strerror}.")
        while refused:
            error = refused.pop()
            yield Given(str(error.filename), error=f"{error.strerror}.")
    for error in refused:
        yield Given(str(error.filename), error=f"{error.strerror}.")


def listed_urls(givens: Iterable[Given]) -> Iterator[Given]:
    """Give URLs: those typed, and those in files and standard input, one a line."""
    for one in givens:
        if one.url is not None or one.error:
            yield one
            continue
        try:
            lines = sys.stdin if one.path is None else one.path.open(errors="replace")
            with lines:
                for line in lines:
                    if url := line.strip():
                        fits = len(url) <= _MAX_LINE and _URL.match(url)
                        wrong = "" if fits else f"{one.shown}: {url[:100]} is no URL."
                        yield Given(url[:200], url=None if wrong else url, error=wrong)
        except OSError as error:
            yield Given(one.shown, error=f"{error.strerror}.")
