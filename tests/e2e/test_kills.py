"""kill -9 at random moments under mixed load: nothing lost, doubled or stuck, nothing left over.

`KILLS` says how often: a few for every run of the suite, 200 to be sure. `KILLS_SEED` brings back
one run's orders and moments, as far as threads let it.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from tests.conftest import LOOPBACK
from tests.load.clients import Clients
from tests.load.nodes import APART, TOGETHER, Nodes
from tests.load.world import SECRET, World

KILLS = int(os.environ.get("KILLS", "3"))
SEED = os.environ.get("KILLS_SEED", "10")
KILLS_A_ROUND = 10
"""So often at most before all is looked at and removed."""
ORDERS_A_KILL = 14
STILLBORN = 0.2
"""How often one dies before, while it takes over what the last one left."""
QUIET_S = 3.0
"""Longest wait for a moment that does not come: all that was asked is done."""
ENV = {
    "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
    "OFFLOAD_WEBHOOKS_SECRETS": SECRET,
    "OFFLOAD_DRAIN_TIMEOUT_S": "10",
}
needs_roles = pytest.mark.skipif(
    "roles" not in Settings.model_fields, reason="one process does all of it yet"
)


@pytest.fixture
def world() -> Iterator[World]:
    with World.open() as world:
        yield world


@pytest.fixture(
    params=[
        pytest.param(TOGETHER, id="together"),
        pytest.param(APART, id="apart", marks=needs_roles),
    ]
)
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nodes]:
    served = Nodes(tmp_path / "data", ENV, request.param)
    yield served
    served.close()


@pytest.mark.timeout(240 + 30 * KILLS)
def test_kill_9_loses_doubles_and_leaves_nothing(nodes: Nodes, world: World) -> None:
    rng = random.Random(SEED)
    orders = jobs = 0
    for first in range(0, KILLS, KILLS_A_ROUND):
        clients = Clients(world, f"{SEED}.{first}")
        nodes.start()
        clients.store_files(nodes.url)
        for _ in range(min(KILLS_A_ROUND, KILLS - first)):
            one_life(nodes, world, clients, rng)
        nodes.start()
        clients.check_all(nodes.url)
        orders += len(clients.ledger)
        jobs += sum(order.acknowledged for order in clients.ledger)
        clients.delete_all(nodes.url)
    assert jobs >= KILLS
    nodes.check_nothing_is_left()
    print(f"\n{KILLS} kills, {orders} orders, {jobs} acknowledged, {len(world.bodies)} events")


def one_life(nodes: Nodes, world: World, clients: Clients, rng: random.Random) -> None:
    """Work until some of the nodes are killed."""
    killed = rng.choice([nodes.roles, *((role,) for role in nodes.roles)])
    # Some die early, while they take back what the last ones left; some in the midst of work.
    events, pause_s = rng.randint(1, rng.choice([3, 150])), rng.uniform(0, 0.05)
    if rng.random() < STILLBORN:
        nodes.kill_while_starting(rng.choice(nodes.roles), rng.uniform(0.3, 3))
    world.strike_in(events)
    nodes.start()
    url = nodes.url

    def kill() -> None:
        world.strike.wait(QUIET_S)
        threading.Event().wait(pause_s)  # between two events too
        nodes.kill(killed)
        if nodes.roles[0] not in killed:
            nodes.start()  # clients go on meanwhile, and wait for what it does

    threads = [
        threading.Thread(target=kill),
        threading.Thread(target=clients.follow, args=(lambda: url,)),
    ]
    for thread in threads:
        thread.start()
    clients.run(lambda: url, ORDERS_A_KILL)
    for thread in threads:
        thread.join()
