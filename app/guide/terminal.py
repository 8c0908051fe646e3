"""What is seen while it runs, and the table at its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.guide.document import Contender, Guide, Measured, Row
from app.guide.sentences import AGREES, shown


class Watcher(Protocol):
    """Told how far it is."""

    def begin(self, title: str, seconds: float) -> None:
        """Take note that a situation begins, and of about how long it takes."""

    def now(self, what: str) -> None:
        """Take note of what runs now."""


class Plain:
    """Lines for where nothing can be drawn: one for each situation."""

    def __init__(self, console: Console) -> None:
        """Write to a console."""
        self._console = console

    def begin(self, title: str, seconds: float) -> None:
        """Say what begins."""
        self._console.print(f"{title} (about {max(1, round(seconds))} s)", markup=False)

    def now(self, what: str) -> None:
        """Say nothing: there is one of these for each round."""


class Bar:
    """A bar that fills with the time that was asked for, and what runs beside it."""

    def __init__(self, progress: Progress, total_s: float) -> None:
        """Draw with `progress`."""
        self._progress = progress
        self._task = progress.add_task("", total=total_s)
        self._before_s = self._seconds = 0.0
        self._began_s = time.monotonic()

    def begin(self, title: str, seconds: float) -> None:
        """Begin a situation: what is left of the one before is over."""
        self._before_s += self._seconds
        self._seconds, self._began_s = seconds, time.monotonic()
        self.now(title)

    def now(self, what: str) -> None:
        """Show what runs now."""
        taken_s = min(time.monotonic() - self._began_s, self._seconds)
        done_s = self._before_s + taken_s
        self._progress.update(self._task, completed=done_s, description=escape(what))


@contextmanager
def watcher(console: Console, total_s: float) -> Iterator[Watcher]:
    """Give what shows how far it is, on a terminal as a bar and elsewhere in lines."""
    if not console.is_terminal:
        yield Plain(console)
        return
    columns = (
        SpinnerColumn(),
        BarColumn(24),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress, total_s)


def show(guide: Guide, console: Console) -> None:
    """Print the table, what was not measured, and the advice."""
    for situation in guide.situations:
        console.print(_table(situation))
        for one in situation.missing:
            console.print(f"  not measured: {one.what}: {one.why}.", markup=False)
        console.print()
    for advice in guide.advice:
        value = advice.value or f"default ({advice.default})"
        console.print(
            f"{advice.variable}={value}" if advice.value else f"{advice.variable}: {value}"
        )
        console.print(f"  {advice.because}", markup=False, highlight=False)


def _table(situation: Measured) -> Table:
    title = f"{situation.title} (noise {situation.noise_percent:.0f} %)"
    caption = f"The guide: {situation.guide_says} Why: {situation.explained}"
    broken = "" if situation.complete else ", not measured to its end"
    table = Table(
        title=escape(title + broken),
        caption=escape(caption),
        title_justify="left",
        caption_justify="left",
        expand=False,
    )
    table.add_column("what", overflow="fold", max_width=34)
    table.add_column("median (least to most)", overflow="fold")
    table.add_column("verdict", overflow="fold", max_width=44)
    for row in situation.rows:
        said = "\n".join(filter(None, (row.sentence, AGREES[row.agrees])))
        figures = "\n".join(_line(one, row) for one in row.contenders)
        what = f"{row.title}\n{row.figure}, {row.better} is better"
        table.add_row(escape(what), escape(figures), escape(said))
    return table


def _line(one: Contender, row: Row) -> str:
    mark = "*" if one.name in row.leaders else " "
    spread = f"({shown(one.least)} to {shown(one.most)})"
    return f"{mark} {one.name}: {shown(one.middle)} {row.unit} {spread}"
