"""The model against what is known of queues: a formula for each station, and two laws."""

from __future__ import annotations

from math import factorial, isclose
from pathlib import Path

import pytest

from benchmarks.simulation import __main__ as program
from benchmarks.simulation.demands import TITLE, Demand, measured
from benchmarks.simulation.model import Deployment, simulate
from benchmarks.simulation.plan import BUSY, busiest, most_per_second, planned

ROOT = Path(__file__).parents[2]
ITEMS = 8_000
ONE_OF_EACH = Deployment(api=1, work=1, pool=1, database=1, flush_ms=0, slots=1)


def mean_of_mmc_ms(servers: int, service_ms: float, per_second: float) -> float:
    """Give the mean time in an M/M/c queue: Erlang's C, and the service."""
    offered = per_second * service_ms / 1000
    full = offered**servers / factorial(servers) * servers / (servers - offered)
    waits = full / (sum(offered**n / factorial(n) for n in range(servers)) + full)
    return service_ms + waits * service_ms / (servers - offered)


@pytest.mark.parametrize(
    ("deployment", "demand", "servers"),
    [
        (Deployment(1, 1, 4, 1, flush_ms=0, slots=3), Demand("pool", 0, 0, 10, 0), 4),
        (Deployment(1, 1, 1, 1, flush_ms=0, slots=3), Demand("api", 10, 0, 0, 0), 1),
        (Deployment(1, 2, 4, 1, flush_ms=0, slots=1), Demand("slots", 0, 0, 10, 0), 8),
    ],
    ids=["the processes of a pool", "an API node", "the pools of two nodes"],
)
@pytest.mark.parametrize("busy", [0.5, 0.75])
def test_a_station_by_itself_is_as_erlang_says(
    deployment: Deployment, demand: Demand, servers: int, busy: float
) -> None:
    per_second = busy * servers * 100
    found = simulate(deployment, demand, per_second, ITEMS)
    assert found.mean_ms == pytest.approx(mean_of_mmc_ms(servers, 10, per_second), rel=0.1)
    assert max(found.busy.values()) == pytest.approx(busy, rel=0.05)


def test_each_part_works_for_as_long_as_it_is_asked_to() -> None:
    deployment = Deployment(api=2, work=3, pool=2, database=4)
    demand = Demand("all", 2, 1, 6, 4, batch=4)
    found = simulate(deployment, demand, 400, ITEMS)
    wanted = {"api": 0.4, "work": 0.4 / 3, "pool": 0.4, "database": 0.4}
    assert found.busy == {part: pytest.approx(share, rel=0.1) for part, share in wanted.items()}
    assert found.per_second == pytest.approx(400, rel=0.05)


@pytest.mark.parametrize(
    ("demand", "full"),
    [
        (Demand("api", 9, 1, 1, 1), "API nodes"),
        (Demand("pool", 1, 1, 30, 1), "pools"),
        (Demand("database", 1, 1, 1, 40), "PostgreSQL"),
        (Demand("writer", 0.1, 0.1, 1, 0.1), "API nodes' writers"),
    ],
)
def test_no_more_is_done_than_the_part_that_is_full_can(demand: Demand, full: str) -> None:
    deployment = Deployment(api=4, work=4, pool=1, database=2, flush_ms=5, slots=4)
    most, part = most_per_second(demand, deployment)
    assert part == full
    found = simulate(deployment, demand, 2 * most, 4_000)
    assert found.per_second == pytest.approx(most, rel=0.1)


def test_a_seed_is_a_run() -> None:
    demand = Demand("all", 1, 1, 1, 1)
    once, again, other = (simulate(ONE_OF_EACH, demand, 100, 500, seed) for seed in (1, 1, 2))
    assert once == again != other


def test_a_plan_is_enough_and_no_part_too_many() -> None:
    demand = Demand("all", 4, 3, 20, 3)
    plan = planned(demand, 1_000)
    most, _ = most_per_second(demand, plan.of_one())
    assert most * BUSY >= 1_000
    assert plan.databases == 1
    assert 1_000 * demand.postgres_ms / 1000 / plan.database_cores > BUSY - 0.1
    assert isclose(plan.node_hours * 3600 * BUSY, 27_000)  # of a million, at 27 ms
    assert planned(demand, 100_000).databases > 1


def test_the_busiest_of_several_databases_has_more_than_its_share() -> None:
    assert busiest(1, 100, 1.0) == 1
    assert 1 / 8 < busiest(8, 10_000, 0.5) < busiest(8, 100, 1.0) < 1
    assert busiest(8, 1_000, 0.0) == pytest.approx(1 / 8, rel=0.2)


def test_what_was_measured_is_what_stands_in_the_results() -> None:
    demands = measured()
    assert {demand.batch for demand in demands} == {1, 16}
    assert all(demand.nodes_ms > demand.postgres_ms > 0 for demand in demands)
    with pytest.raises(ValueError, match="--only nodes"):
        measured(ROOT / "README.md")
    assert TITLE in (ROOT / "benchmarks" / "RESULTS.md").read_text()


def test_the_page_has_the_tables_of_these_figures() -> None:
    """Those that are arithmetic; the others take half a minute."""
    page = (ROOT / "docs" / "scaling.md").read_text()
    demands = measured()
    assert program.needed(demands, program.NODE_HOUR, program.DATABASE_HOUR).markdown() in page
    assert program.sharded().markdown() in page
    for demand in demands:
        for size in program.SIZES:
            deployment = Deployment(size, size, program.POOL, program.CORES, program.FLUSH_MS)
            most, part = most_per_second(demand, deployment)
            assert f"| {demand.name} | {size} + {size} | {most:.0f} | {part} |" in page


def test_what_the_page_concludes_is_in_the_figures() -> None:
    page = " ".join((ROOT / "docs" / "scaling.md").read_text().split())
    job, item, picture = measured()
    large = Deployment(100, 100, program.POOL, program.CORES, program.FLUSH_MS)
    for demand, said in (
        (job, "2,600 jobs/s"),
        (item, "28,000 items/s"),
        (picture, "1,000 pictures/s"),
    ):
        most, part = most_per_second(demand, large)
        assert part == "PostgreSQL"
        assert f"{float(f'{most:.2g}'):,.0f} {said.split()[1]}" == said
        assert said in page
    plan = planned(item, program.A_BILLION_A_DAY)
    assert f"{plan.api} nodes that take requests, {plan.work} that work, " in page
    assert f"{plan.database_cores} cores of PostgreSQL, and 3.6 TB of records" in page
    assert f"{item.kept_kb:.1f}" == "3.6"
    plan = planned(job, program.A_BILLION_A_DAY)
    assert f"As a job each: {plan.api} nodes, {plan.work}, and two databases of " in page
    assert (plan.databases, f"of {plan.database_cores} cores" in page) == (2, True)


def test_every_table_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    print(program.tables(items=200))
    assert capsys.readouterr().out.count("### ") == 4
    mark = "<!-- simulation: -->\nold\n<!-- /simulation -->"
    assert "old" not in program.filled(mark, "new")
    with pytest.raises(SystemExit):
        program.filled("", "new")
