"""What one item takes of each part: what benchmarks/RESULTS.md has of the last run of `nodes`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import ROOT
from benchmarks.cases.nodes import REST

RESULTS = ROOT / "benchmarks" / "RESULTS.md"
TITLE = "### nodes: several that share a database"
MEASURED_ON = "1 + 1 nodes"
BATCHES = {"items of 1 KB, sent with one job": 16}
"""Items that are recorded by one transaction (`MOST_ITEMS` of app/records/cutting.py)."""


@dataclass(frozen=True, slots=True)
class Demand:
    """CPU of one item, by part, and what its records take."""

    name: str
    api_ms: float
    work_ms: float
    """Of the node that runs it, without the processes of its pool."""
    pool_ms: float
    postgres_ms: float
    kept_kb: float = 0.0
    batch: int = 1
    """Items that go through all parts together."""

    @property
    def nodes_ms(self) -> float:
        """CPU of all nodes together."""
        return self.api_ms + self.work_ms + self.pool_ms


def measured(results: Path = RESULTS) -> list[Demand]:
    """Read the newest table.

    Raises:
        ValueError: there is none.
    """
    text = results.read_text("utf-8")
    if TITLE not in text:
        raise ValueError(f"{results} has no table of `--only nodes`")
    table = text.rpartition(TITLE)[2].strip().partition("\n\n")[0]
    rows = re.findall(rf"^\| (.+): {re.escape(MEASURED_ON)} \|(.+)\|$", table, re.MULTILINE)
    return [
        _demand(name, [float(cell) for cell in cells.split("|")])
        for name, cells in rows
        if name != REST
    ]


def _demand(name: str, figures: list[float]) -> Demand:
    _rate, api_ms, work_ms, pool_ms, postgres_ms, kept_kb = figures
    batch = BATCHES.get(name, 1)
    return Demand(name, api_ms, work_ms, pool_ms, postgres_ms, kept_kb, batch)
