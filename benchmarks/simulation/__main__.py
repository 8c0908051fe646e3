"""Print what the model says of larger deployments: `python -m benchmarks.simulation --help`."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path

from benchmarks.bench import Table
from benchmarks.simulation.demands import Demand, measured
from benchmarks.simulation.model import Deployment, simulate
from benchmarks.simulation.plan import (
    BUSY,
    DATABASE_CORES,
    FLUSH_MS,
    POOL,
    busiest,
    most_per_second,
    planned,
)

DAY_S = 86_400
A_BILLION_A_DAY = 1e9 / DAY_S
RATES = (100, 1_000, 5_000, A_BILLION_A_DAY)
SIZES = (1, 2, 4, 8, 16, 32)
CORES = 8
"""Of the database that the growing deployments share."""
NODE_HOUR, DATABASE_HOUR = 0.04, 0.12
"""What an hour of a core costs, where nobody says otherwise."""
ITEMS = 10_000
NEEDED_NOTE = (
    f"{A_BILLION_A_DAY:.0f}/s is a billion a day, evenly. A database has up to {DATABASE_CORES} "
    "cores; records stay a day, by default. The cost is that of CPU alone, at {:.2f} for an hour "
    "of a node's core and {:.2f} for one of a database's: put in your own prices by "
    "`--node-hour` and `--database-hour`."
)
SHARDED_NOTE = (
    "The n-th largest client has 1 / n^skew of the largest one's items. The busiest database is "
    "full first; one client is never on two."
)
MARK = re.compile(r"(<!-- simulation: [^>]*-->\n).*?(<!-- /simulation -->)", re.DOTALL)


def tables(items: int = ITEMS, prices: tuple[float, float] = (NODE_HOUR, DATABASE_HOUR)) -> str:
    """Write all tables as Markdown; `items` is how many each simulation has."""
    demands = measured()
    made = (growing(demands, items), needed(demands, *prices), sharded(), far(demands, items))
    return "\n".join(table.markdown() for table in made)


def growing(demands: list[Demand], items: int) -> Table:
    """Nodes against items/s, on one database."""
    rows = []
    for demand in demands:
        for size in SIZES:
            deployment = Deployment(size, size, POOL, CORES, FLUSH_MS)
            most, part = most_per_second(demand, deployment)
            found = simulate(deployment, demand, BUSY * most, items)
            times = [f"{ms:.0f}" for ms in (found.p50_ms, found.p99_ms)]
            rows.append([demand.name, f"{size} + {size}", f"{most:.0f}", part, *times])
    return Table(
        f"Nodes (api + work, {POOL} processes each) on one PostgreSQL of {CORES} cores",
        ("work", "nodes", "items/s at most", "what is full then", "p50 ms", "p99 ms"),
        rows,
        (f"Times are from submission to result, at {BUSY:.0%} of the most.",),
    )


def needed(demands: list[Demand], node_hour: float, database_hour: float) -> Table:
    """What a rate takes and costs."""
    rows = [_needed(demand, rate, node_hour, database_hour) for demand in demands for rate in RATES]
    return Table(
        f"What a rate takes, with every part {BUSY:.0%} busy",
        (
            *("work", "items/s", "api", "work nodes", "databases x cores"),
            *("records GB a day", "cost a million"),
        ),
        rows,
        (NEEDED_NOTE.format(node_hour, database_hour),),
    )


def _needed(demand: Demand, rate: float, node_hour: float, database_hour: float) -> list[str]:
    plan = planned(demand, rate)
    cost = plan.node_hours * node_hour + plan.database_hours * database_hour
    kept_gb = rate * DAY_S * demand.kept_kb / 1e6
    databases = f"{plan.databases} x {plan.database_cores}"
    figures = (f"{rate:.0f}", f"{plan.api}", f"{plan.work}", databases)
    return [demand.name, *figures, f"{kept_gb:.0f}", f"{cost:.3f}"]


def sharded() -> Table:
    """How evenly clients fall on several databases."""
    rows = [
        [
            f"{count:,}",
            f"{skew:.1f}",
            *(f"{1 / busiest(n, count, skew):.1f}" for n in (2, 4, 8, 16)),
        ]
        for count in (100, 10_000)
        for skew in (0.5, 1.0)
    ]
    return Table(
        "Several databases, clients put to them by a hash of their names: worth so many",
        ("clients", "skew", "2", "4", "8", "16"),
        rows,
        (SHARDED_NOTE,),
    )


def far(demands: list[Demand], items: int) -> Table:
    """Results that are a way off."""
    rows = []
    for demand in demands:
        for far_ms in (0, 10, 80, 200):
            deployment = Deployment(4, 4, POOL, CORES, FLUSH_MS, far_ms)
            most, part = most_per_second(demand, deployment)
            near, _ = most_per_second(demand, replace(deployment, far_ms=0))
            found = simulate(deployment, demand, BUSY * min(most, near), items)
            figures = (
                f"{far_ms}",
                f"{most:.0f}",
                part,
                f"{found.p50_ms:.0f}",
                f"{found.p99_ms:.0f}",
            )
            rows.append([demand.name, *figures])
    return Table(
        "A bucket in another region: 4 + 4 nodes, each trip waits so long",
        ("work", "wait ms", "items/s at most", "what is full then", "p50 ms", "p99 ms"),
        rows,
        ("The node waits with a slot in hand, not with a process: it has six for each.",),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--items", type=int, default=ITEMS, help="of each simulation")
    parser.add_argument("--node-hour", type=float, default=NODE_HOUR, help="price of a core's hour")
    parser.add_argument("--database-hour", type=float, default=DATABASE_HOUR)
    parser.add_argument("--write", type=Path, help="put the tables between the marks of this page")
    asked = parser.parse_args()
    told = tables(asked.items, (asked.node_hour, asked.database_hour))
    print(told)
    if asked.write is not None:
        asked.write.write_text(filled(asked.write.read_text("utf-8"), told), "utf-8")


def filled(page: str, told: str) -> str:
    """Put the tables into a page."""
    new, count = MARK.subn(lambda found: f"{found[1]}\n{told}\n{found[2]}", page)
    if count != 1:
        raise SystemExit("The page has no place for the tables of the simulation.")
    return new


if __name__ == "__main__":
    main()
