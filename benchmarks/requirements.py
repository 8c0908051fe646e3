"""What is required of figures, and the table that says whether it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.bench import Table
from benchmarks.contest import OURS, Contest

COLUMNS = ("what", "required", "beyond", "measured", "API CPU ms", "")
TIMES, EACH_S, MS, MB = "{:.2f}x", "{:.0f}/s", "{:.2f} ms", "{:.0f} MB"
"""How figures are shown."""

Contests = Mapping[str, Contest]
"""By their work."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A figure that must reach a bound, and another one that is hoped for."""

    what: str
    work: str
    """The contest that tells."""
    required: float
    beyond: float | None
    figure: Callable[[Contest], float]
    """Raises `KeyError` if who is needed failed or is missing."""
    shown: str = TIMES
    at_most: bool = False

    def row(self, contests: Contests) -> list[str]:
        """Give the line of the table; what could not be measured is never met."""
        bound = "at most " if self.at_most else "at least "
        beyond = "" if self.beyond is None else self.shown.format(self.beyond)
        cells = [self.what, bound + self.shown.format(self.required), beyond]
        contest = contests.get(self.work)
        try:
            if contest is None:
                return [*cells, "", "", "**not measured**"]
            measured, api_ms = self.figure(contest), contest.first_ms(OURS)
        except KeyError as missing:
            return [*cells, "", "", f"**not measured**: {missing.args[0]} failed or is missing"]
        return [*cells, self.shown.format(measured), f"{api_ms:.2f}", self._verdict(measured)]

    def _verdict(self, measured: float) -> str:
        if self.beyond is not None and self._reaches(measured, self.beyond):
            return "met, and beyond"
        return "met" if self._reaches(measured, self.required) else "**NOT met**"

    def _reaches(self, measured: float, bound: float) -> bool:
        return measured <= bound if self.at_most else measured >= bound


def table(title: str, requirements: Sequence[Requirement], contests: Contests) -> Table:
    """Say of each requirement whether it holds."""
    return Table(title, COLUMNS, [each.row(contests) for each in requirements])
