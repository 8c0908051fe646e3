"""Where results go: beside their input, where `-o` says, or to standard output."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from offload.cli.given import STDIN, Given
from offload.cli.outcome import Result
from offload.cli.settings import Usage
from offload.saving import safe_parts


class Placing:
    """Knows where the results of each input go; no two to one place."""

    def __init__(self, output: str | None, op: str, *, single: bool, force: bool) -> None:
        """Understand `-o`.

        Args:
            output: as it was typed.
            op: the operation's name.
            single: whether one thing comes of all that is given.
            force: whether files may be replaced.

        Raises:
            Usage: one file for several inputs, or a device for a file.
        """
        self._op, self.force = op, force
        self._taken: set[Path] = set()
        self._file: Path | None = None
        self._folder: Path | None = None
        self._stdout = output == STDIN
        if output is None or self._stdout:
            if self._stdout and not single:
                raise Usage("Standard output takes one result; give a folder with -o.")
        elif output.endswith(os.sep) or Path(output).is_dir():
            self._folder = Path(output)
        elif os.path.exists(output) and not os.path.isfile(output):  # noqa: PTH110, PTH113
            raise Usage(f"{output} is no file, and is not replaced by one: write -o - > {output}")
        elif single:
            self._file = Path(output)
        else:
            raise Usage(f"{output} is no folder; for several results write -o {output}/")

    def to_stdout(self, given: Given) -> bool:
        """Tell whether what comes of an input goes to standard output."""
        nowhere = self._file is None and self._folder is None
        return self._stdout or (given.is_stdin and nowhere)

    def folder_for(self, given: Given) -> Path:
        """Give the folder in which, or below which, the results of an input go."""
        if self._file is not None:
            return self._file.parent
        if self._folder is not None:
            return self._folder / given.below
        return given.path.parent if given.path is not None else Path()

    def check(self, given: Given) -> None:
        """Refuse early what cannot be saved. Raises `FileExistsError`."""
        if self._file is not None and not self.force and os.path.lexists(self._file):
            raise FileExistsError(17, "There is a file of that name", str(self._file))

    def targets(self, given: Given, results: Sequence[Result]) -> list[Path]:
        """Give where each result goes: one by itself, several in a folder of the input's name.

        Raises:
            FileExistsError: another result of this run goes there.
        """
        if self._file is not None and len(results) == 1:
            return [self._taking(self._file)]
        folder = self.folder_for(given) if self._file is None else self._file
        if len(results) == 1:
            return [self._taking(folder / self._beside(given, results[0]))]
        if self._file is None:
            folder /= _stem(given)
        return [self._taking(folder.joinpath(*safe_parts(one.name))) for one in results]

    def _beside(self, given: Given, result: Result) -> str:
        """Give the name of a single result: not that of the input, which it would replace."""
        name = safe_parts(result.name)[-1]
        own = given.path is not None and given.path.name == name
        if own and self._folder is None:
            path = PurePath(name)
            return f"{path.stem}-{self._op}{path.suffix}"
        return name

    def _taking(self, path: Path) -> Path:
        if path in self._taken:
            raise FileExistsError(17, "Another result of this run is called so", str(path))
        self._taken.add(path)
        return path


def _stem(given: Given) -> str:
    """Give the name of an input without its suffix, and without `.tar` before that."""
    name = given.path.name if given.path else safe_parts(given.url or "result")[-1]
    stem = PurePath(name).stem
    stem = stem.removesuffix(".tar") or stem
    return stem if stem != name else f"{name}-results"
