"""What people see while it goes on: a line for each file at work and one for all of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from offload.cli.given import Given
from offload.cli.outcome import Outcome

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

NAME_CHARACTERS = 30


def complain(sentence: str) -> None:
    """Say to standard error, plainly, whatever it is."""
    print(f"offload: {plain(sentence)}", file=sys.stderr)


def plain(text: str) -> str:
    """Leave nothing in a text that a terminal obeys, or that cannot be written: names are data."""
    return "".join(c if c.isprintable() else "?" for c in text)


class Silent:
    """A `Watch` that shows nothing."""

    def phase(self, name: str, total_bytes: int | None = None) -> None:
        """See `Watch`."""

    def add(self, count: int) -> None:
        """See `Watch`."""

    def set(self, done: int, total: int) -> None:
        """See `Watch`."""


class Row:
    """A `Watch` that is a line of the display."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        """Know which line it is."""
        self._progress, self._task = progress, task

    def phase(self, name: str, total_bytes: int | None = None) -> None:
        """See `Watch`."""
        total = total_bytes or None
        self._progress.reset(self._task, total=total, phase=name, counts_bytes=bool(total))

    def add(self, count: int) -> None:
        """See `Watch`."""
        self._progress.advance(self._task, count)

    def set(self, done: int, total: int) -> None:
        """See `Watch`."""
        self._progress.update(
            self._task, completed=done, total=total, phase="working", counts_bytes=False
        )


class Show:
    """Tells how it goes and how it went, to people or to programs."""

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        """Know for whom."""
        self._json = as_json
        self._lively = not (as_json or quiet) and sys.stderr.isatty()
        self._progress: Progress | None = None
        self._all: TaskID | None = None

    @contextmanager
    def shown(self, units: int) -> Iterator[None]:
        """Have a display for so many units of work, where somebody looks."""
        if not self._lively:
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[phase]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            _bytes_column(),
        )
        # Facts go to standard output, which may well be a file while somebody looks at the rest.
        with Progress(
            *columns,
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        ) as progress:
            self._progress = progress
            if units > 1:
                self._all = progress.add_task(
                    "all", total=units, phase="", counts_bytes=False, start=True
                )
            yield

    @contextmanager
    def watching(self, given: Given) -> Iterator[Row | Silent]:
        """Have a line for what is at work."""
        if self._progress is None:
            yield Silent()
            return
        name = plain(given.shown)
        short = name if len(name) <= NAME_CHARACTERS else f"…{name[1 - NAME_CHARACTERS :]}"
        task = self._progress.add_task(short, total=None, phase="", counts_bytes=False)
        try:
            yield Row(self._progress, task)
        finally:
            self._progress.remove_task(task)
            if self._all is not None:
                self._progress.advance(self._all)

    def tell(self, outcome: Outcome) -> None:
        """Say how it went with one input."""
        if self._json:
            print(json.dumps(outcome.document()), flush=True)
        elif outcome.failed:
            before = f"{outcome.given.shown}: "
            said = outcome.detail.removeprefix(before)
            complain(f"{before}{said} [{outcome.code}]")
        else:
            for part in outcome.refused:
                complain(
                    f"{outcome.given.shown}: {part['name']}: {part['detail']} [{part['code']}]"
                )
            if not outcome.results:
                print(json.dumps(outcome.facts, indent=2, ensure_ascii=False), flush=True)
            elif self._progress is not None:
                self._progress.console.print(summary(outcome), markup=False, highlight=False)


def summary(outcome: Outcome) -> str:
    """Say in a line what came of an input, and how large it is."""
    made = sum(one.size_bytes for one in outcome.results)
    where = [str(path) for path in outcome.saved]
    shown = where[0] if len(where) == 1 else f"{len(where)} files"
    had = outcome.given.size_bytes
    change = f", {made / had:.0%} of {size(had)}" if had else ""
    return plain(f"{outcome.given.shown} -> {shown}: {size(made)}{change}")


def size(count: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _bytes_column() -> ProgressColumn:
    from rich.progress import DownloadColumn, Task
    from rich.text import Text

    class Bytes(DownloadColumn):
        """How many bytes, where it is bytes that are counted."""

        def render(self, task: Task) -> Text:
            return super().render(task) if task.fields["counts_bytes"] else Text("")

    return Bytes()
