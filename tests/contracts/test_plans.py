"""The hot statements on PostgreSQL: indexes can answer each, whatever the tables hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from app.queues import pgqueuer
from app.stores import statements
from app.stores.postgres_schema import bring_up_to_date
from app.stores.postgres_tx import STATEMENTS
from tests.postgres import Server

HOT = [name for name, found in statements.load("sqlite").items() if found.indexes]
BOUNDED = {
    "waiting_by_client", "under_way", "deliveries_waiting", "deliveries_sent_now",
    "deliveries_given_up", "latest_dead",
}  # fmt: skip
SMALL = {"clients", "nodes", "bites", "given", "input"}
"""Tables that have a row for each client or node."""


@pytest.fixture(scope="module")
def db(postgres: Server) -> Iterator[psycopg.Connection[Any]]:
    url = postgres.url(postgres.new_database())
    with psycopg.connect(url, autocommit=True) as made:
        bring_up_to_date(made, pgqueuer.install)
        # What can be done without reading a whole table is then done so, also on empty ones.
        made.execute("SET enable_seqscan = off")
        yield made


def numbered(text: str) -> str:
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    return re.sub(r"%\((\w+)\)s", lambda m: f"${names.index(m[1]) + 1}", text).replace("%%", "%")


def scanned(plan: Any) -> Iterator[str]:
    """Give the tables that a plan reads whole."""
    if isinstance(plan, dict):
        if plan.get("Node Type") == "Seq Scan":
            yield plan["Relation Name"]
        for part in plan.values():
            yield from scanned(part)
    elif isinstance(plan, list):
        for part in plan:
            yield from scanned(part)


@pytest.mark.parametrize("name", sorted((set(HOT) | BOUNDED) & set(STATEMENTS)))
def test_a_hot_statement_reads_no_table_whole(db: psycopg.Connection[Any], name: str) -> None:
    explain = f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {numbered(STATEMENTS[name])}"
    done = db.pgconn.exec_(explain.encode())
    assert done.status == psycopg.pq.ExecStatus.TUPLES_OK, done.error_message
    [plan] = json.loads(done.get_value(0, 0) or b"[]")
    assert set(scanned(plan)) <= SMALL


def test_a_statement_without_an_index_would_be_seen(db: psycopg.Connection[Any]) -> None:
    [[found]] = db.execute("EXPLAIN (FORMAT JSON) SELECT * FROM items WHERE name = 'x'").fetchall()
    assert set(scanned(found)) == {"items"}
