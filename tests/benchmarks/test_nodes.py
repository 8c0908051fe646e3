"""What is measured of nodes that share a database: whose CPU it was; the model reads it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from benchmarks.bench import Table
from benchmarks.cases import nodes
from benchmarks.deployment import Deployment
from benchmarks.simulation.demands import Demand, measured

REST = dict.fromkeys(("api", "work", "pool", "PostgreSQL"), 0.0)


class Pretended:
    """A deployment of which 10 pieces of work cost what is known."""

    def __init__(self) -> None:
        self.done = 0

    def cpu_s(self) -> dict[str, float]:
        parts = {"api": 0.05, "work": 0.02, "pool": 0.4, "PostgreSQL": 0.01}
        return {part: 7 + each_s * self.done for part, each_s in parts.items()}

    def stored_bytes(self) -> int:
        return 1_000_000 + 30_720 * self.done

    def work(self) -> int:
        self.done += 1
        return 10


def test_an_item_costs_what_ten_of_them_did(tmp_path: Path) -> None:
    pretended = Pretended()
    running = cast("Deployment", pretended)
    rows = [
        nodes.measured(f"{kind}: {name}", running, lambda _: pretended.work(), REST)
        for kind in ("jobs of 1 KB, 32 in flight", "items of 1 KB, sent with one job")
        for name in ("embedded", "1 + 1 nodes")
    ]
    all_of_it = dict.fromkeys(REST, 1e9)
    idle = nodes.measured("", running, lambda _: pretended.work(), all_of_it)
    assert idle[2:6] == ["0.00"] * 4
    rows.append([f"{nodes.REST}: 1 + 1 nodes", "", "1", "1", "1", "1", ""])
    results = tmp_path / "RESULTS.md"
    older = Table("nodes: several that share a database", nodes.COLUMNS, rows[:2]).markdown()
    newer = Table("nodes: several that share a database", nodes.COLUMNS, rows).markdown()
    results.write_text(f"{older}\n## later\n\n{newer}\n## and another\n\n| x |\n")
    costs = (5.0, 2.0, 40.0, 1.0, 3.0)
    assert measured(results) == [
        Demand("jobs of 1 KB, 32 in flight", *costs),
        Demand("items of 1 KB, sent with one job", *costs, batch=16),
    ]
