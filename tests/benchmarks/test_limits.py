"""What fills the tables for a measurement leaves what services would; what figures are held to."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import psycopg
import pytest

from app.stores.postgres_schema import bring_up_to_date
from benchmarks.bench import Bench
from benchmarks.cases import full_tables, nodes
from benchmarks.deployment import Deployment
from tests import postgres


@pytest.mark.parametrize(
    ("after_ms", "said"), [("1.30", "- met: PostgreSQL"), ("1.40", "- **NOT met**: PostgreSQL")]
)
def test_a_job_among_many_items_may_cost_so_much_more(after_ms: str, said: str) -> None:
    empty = ["", "100", "1", "1", "1", "1.00", "5"]
    full = ["", "100", "1", "1", "1.8", after_ms, "5"]
    of_postgres, of_nodes = full_tables._verdicts(empty, full)
    assert of_postgres.startswith(said)
    assert of_nodes.startswith("- met: nodes together")
    assert "3.80 ms for 3.00, 1.27 times" in of_nodes


def test_what_warms_up_is_no_part_of_what_is_measured() -> None:
    class Pretended:
        def cpu_s(self) -> dict[str, float]:
            return {"api": 1.0}

        def stored_bytes(self) -> int:
            return 0

    done: list[str] = []

    def work(_: Deployment) -> int:
        done.append("work")
        return 1

    def warm_up(_: Deployment) -> int:
        done.append("warm-up")
        return 5

    running = cast("Deployment", Pretended())
    nodes.measured("", running, work, {"api": 0.0}, warm_up)
    nodes.measured("", running, work, {"api": 0.0})
    assert done == ["warm-up", "work", "work", "work"]


def test_filled_tables_are_as_services_leave_them(tmp_path: Path) -> None:
    with postgres.running() as server:
        name = server.new_database()
        with psycopg.connect(server.url(name), autocommit=True) as db:
            bring_up_to_date(db)
            db.execute(
                "INSERT INTO jobs (id, client, status, seq, steps, metadata, queued, retention_ms,"
                " created_ms) VALUES ('job_1', 'somebody', 'queued', 1, '[]', '{}', 1, 1, 1)"
            )
            running = Deployment((), (), server, name)
            full_tables.filled(Bench(tmp_path, 1, quick=True), running, 3_000)
            for question, answer in {
                "SELECT count(*) FROM items": 3_000,
                "SELECT count(*) FROM files": 300,
                "SELECT count(*) FROM jobs WHERE client = 'somebody' AND finished_ms > 0": 3,
                # Each job counts its items, each file is of an item of its job and has its bytes.
                "SELECT count(*) FROM jobs WHERE succeeded = (SELECT count(*) FROM items WHERE"
                " job_pk = jobs.pk AND items.status = 'succeeded' AND finished_ms IS NOT NULL)"
                " AND finished_ms IS NOT NULL": 3,
                "SELECT count(*) FROM files JOIN items ON items.pk = item_pk AND"
                " items.job_pk = files.job_pk JOIN small ON key = files.blob"
                " WHERE length(bytes) = files.size_bytes": 300,
            }.items():
                assert db.execute(question.encode()).fetchone() == (answer,), question


def test_only_postgresql_is_filled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PostgreSQL"):
        full_tables.filled(Bench(tmp_path, 1, quick=True), Deployment((), (), None), 1_000)
