"""`offload guide`, kept: every figure, every verdict, and the settings that follow."""

from __future__ import annotations

from app.guide.command import QUICK_S, USUAL_S
from app.guide.document import Advice, Measured, Row
from app.guide.run import run as measure
from app.guide.sentences import AGREES, noise_told, shown
from app.guide.situations import SITUATIONS
from benchmarks.bench import Bench, Table

COLUMNS = ("work", "contender", "median", "least to most", "verdict")


class Watching:
    """Tells the benchmarks' own ear what begins."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def begin(self, title: str, seconds: float) -> None:
        """Say so."""
        self._bench.say(f"{title}, about {seconds:.0f} s")

    def now(self, what: str) -> None:
        """Nothing: rounds are many."""


def run(bench: Bench) -> list[Table]:
    """Measure every situation, as `offload guide` does."""
    found = measure(SITUATIONS, bench.size(USUAL_S, QUICK_S), Watching(bench))
    if not found.complete:
        raise KeyboardInterrupt
    return [*map(_table, found.situations), _settings(found.advice)]


def _table(of: Measured) -> Table:
    notes = [f"The guide: {of.guide_says} {noise_told(of)}"]
    notes += [f"Not measured: {one.what}: {one.why}." for one in of.missing]
    rows = [line for row in of.rows for line in _lines(row)]
    return Table(f"guide: {of.title}", COLUMNS, rows, notes)


def _lines(row: Row) -> list[list[str]]:
    said = AGREES[row.agrees] if row.brief else ""
    heads = [f"{row.title}: {row.figure}", f"{row.sentence} {said}".strip()]
    lines = []
    for one in row.contenders:
        spread = f"{shown(one.least)} to {shown(one.most)}"
        middle = f"{shown(one.middle)} {row.unit}".strip()
        lines.append([heads[0], one.name, middle, spread, heads[1]])
        heads = ["", ""]
    return lines


def _settings(given: tuple[Advice, ...]) -> Table:
    rows = [[f"`{one.variable}`", one.value or one.default, one.because] for one in given]
    return Table("guide: the settings that follow", ("setting", "value", "measured"), rows)
