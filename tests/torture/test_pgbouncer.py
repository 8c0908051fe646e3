"""PgBouncer in transaction mode between the nodes and PostgreSQL."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.load.world import World
from tests.postgres import Server
from tests.torture import pgbouncer
from tests.torture.deployment import Deployment
from tests.torture.ledger import Ledger

ORDERS = 150
CONNECTIONS = 3
"""To the server, for four nodes with three each."""


@pytest.mark.timeout(600)
def test_nodes_take_turns_on_few_connections(
    postgres: Server,
    s3: str,
    world: World,
    tmp_path: Path,
    seed: str,
    tell: Callable[[str], None],
) -> None:
    nodes = Deployment(tmp_path, postgres, s3, told=lambda _: told)
    told: dict[str, str] = {}
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))  # where another user gets to
    folder.chmod(0o755)
    try:
        with pgbouncer.running(
            folder / "run", postgres, nodes.database, connections=CONNECTIONS
        ) as pool:
            carries = carries_prepared_statements(pool.url)
            told["OFFLOAD_DATABASE_URL"] = pool.url
            nodes.start(*nodes.names)
            ledger = Ledger(nodes, world, seed, writes_fail=True)
            most = 0
            with ledger.at_work(ORDERS):
                killed = False
                while len(ledger.ledger) < ORDERS:
                    world.strike_in(50)
                    world.strike.wait(1)
                    if not killed and len(ledger.ledger) > ORDERS // 2:
                        killed = True
                        pool.kill()
                        pool.start()
                    [[count]] = postgres.execute(
                        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{nodes.database}'"
                    )
                    most = max(most, count)
            assert 1 < most <= 2 * CONNECTIONS  # those of the killed one may linger a moment
            tell(
                f"prepared statements carried: {carries}; at most {most} connections for "
                f"{len(nodes.names)} nodes, killed once; " + ledger.settle()
            )
    finally:
        nodes.close()
        shutil.rmtree(folder)


def carries_prepared_statements(url: str) -> bool:
    """Tell whether what a client has prepared is its own; before PgBouncer 1.21 it never is."""
    with (
        psycopg.connect(url, autocommit=True, prepare_threshold=0) as one,
        psycopg.connect(url, autocommit=True, prepare_threshold=0) as other,
    ):
        found = []
        try:
            for _ in range(5):
                with other.transaction():
                    other.execute("SELECT 1")
                    found += one.execute("SELECT 2").fetchall()
                found += one.execute("SELECT 2").fetchall()
        except psycopg.Error:
            return False
        return found == [(2,)] * len(found)
