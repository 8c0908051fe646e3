"""PostgreSQL that is killed, and connections that are: all is done, and nothing twice."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.load.world import World
from tests.postgres import Server
from tests.torture.deployment import Deployment
from tests.torture.ledger import Ledger

DISCONNECTS = 8
QUIET_S = 3.0


def wait(world: World, rng: random.Random) -> None:
    """Return in the midst of something: after so many things have happened, and a moment more."""
    world.strike_in(rng.randint(5, 80))
    world.strike.wait(QUIET_S)
    threading.Event().wait(rng.uniform(0, 0.05))


@pytest.mark.timeout(600)
def test_a_database_that_goes_away_under_load(
    postgres: Server,
    s3: str,
    world: World,
    tmp_path: Path,
    rng: random.Random,
    seed: str,
    tell: Callable[[str], None],
) -> None:
    killed = 0
    with Deployment.running(tmp_path, postgres, s3) as nodes:
        ledger = Ledger(nodes, world, seed, writes_fail=True)
        with ledger.at_work():
            for n in range(DISCONNECTS):
                wait(world, rng)
                killed += postgres.disconnect(nodes.database)
                if n == DISCONNECTS // 2:
                    wait(world, rng)
                    postgres.stop("immediate")
                    postgres.start()
            wait(world, rng)
        tell(
            f"{killed} connections killed in {DISCONNECTS} strokes, 1 immediate restart; "
            + ledger.settle()
        )
