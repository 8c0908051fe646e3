"""What is seen while it runs, and the table at its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.guide.document import Contender, Guide, Measured, Row
from app.guide.sentences import AGREES, noise_told, shown

NAME_WIDTH, FIGURE_WIDTH = 34, 12
"""So that the columns of all cases stand below each other."""
REFRESH_HZ = 2
"""Seldom: what is drawn takes its time from what is measured."""


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
        self._begins = ""

    def begin(self, title: str, seconds: float) -> None:
        """Keep what begins, until something of it runs."""
        self._begins = f"{title} (about {max(1, round(seconds))} s)"

    def now(self, what: str) -> None:
        """Say what has begun, and of its rounds nothing."""
        if self._begins:
            self._console.print(self._begins, markup=False, highlight=False)
            self._begins = ""


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
    with Progress(
        *columns, console=console, transient=True, refresh_per_second=REFRESH_HZ
    ) as progress:
        yield Bar(progress, total_s)


def show(guide: Guide, console: Console) -> None:
    """Print the table, what was not measured, and the advice."""
    for situation in guide.situations:
        _show(situation, console)
    for advice in guide.advice:
        value = f"={advice.value}" if advice.value else f": default, {advice.default}"
        console.print(f"{advice.variable}{value}", style="bold", markup=False, highlight=False)
        console.print(Padding(advice.because, (0, 0, 0, 2)), markup=False, highlight=False)


def _show(situation: Measured, console: Console) -> None:
    title = situation.title + ("" if situation.complete else " (broken off)")
    console.print(title, style="bold", markup=False, highlight=False)
    console.print(f"The guide: {situation.guide_says}", markup=False, highlight=False)
    console.print(f"Why: {situation.explained}", markup=False, highlight=False)
    console.print(noise_told(situation), markup=False, highlight=False)
    for row in situation.rows:
        console.print()
        head = f"{row.title}: {row.figure}, {row.better} is better"
        console.print(Padding(escape(head), (0, 0, 0, 2)), highlight=False)
        console.print(_table(row))
        said = AGREES[row.agrees] if row.brief else ""
        verdict = " ".join(filter(None, (row.sentence, f"({said})" if said else "")))
        console.print(Padding(escape(verdict), (0, 0, 0, 2)), style="italic", highlight=False)
    if situation.missing:
        console.print()
    for one in situation.missing:
        console.print(f"  Not measured: {one.what}: {one.why}.", markup=False, highlight=False)
    console.print()


def _table(row: Row) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(min_width=NAME_WIDTH)
    table.add_column(justify="right", min_width=FIGURE_WIDTH)
    table.add_column()
    for one in row.contenders:
        table.add_row(*map(escape, _cells(one, row)))
    return table


def _cells(one: Contender, row: Row) -> tuple[str, str, str]:
    mark = "*" if one.name in row.leaders else " " if one.judged else "-"
    middle = f"{shown(one.middle)} {row.unit}".strip()
    return f"  {mark} {one.name}", middle, f"{shown(one.least)} to {shown(one.most)}"
