"""Writes that fail, one or many, at any call: what was acknowledged holds, and work goes on behind.

`FAULTS` says how often; some for every run of the suite, 1,000 to be sure. `FAULTS_SEED` brings
back one run's faults, as far as threads let it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import httpx
import pytest

from tests.conftest import LOOPBACK
from tests.load.clients import Clients
from tests.load.faults import ERRORS, KINDS, Faults
from tests.load.nodes import Nodes
from tests.load.world import SECRET, World

FAULTS = int(os.environ.get("FAULTS", "30"))
FILLINGS = max(3, FAULTS // 10)
SEED = os.environ.get("FAULTS_SEED", "10")
ORDERS_A_FAULT = 4
FAULTS_A_ROUND = 100
"""So many at most before all is looked at and removed."""
FILLINGS_A_ROUND = 20
"""Fewer: what is done of the orders is on the small disk, too, until then."""
DISK_BYTES = 96 << 20
ENV = {
    "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
    "OFFLOAD_WEBHOOKS_SECRETS": SECRET,
    "OFFLOAD_BLOBS_MIN_FREE_BYTES": "0",
    "OFFLOAD_DRAIN_TIMEOUT_S": "10",
}

pytestmark = pytest.mark.timeout(300 + 20 * FAULTS)


@pytest.fixture
def world() -> Iterator[World]:
    with World.open() as world:
        yield world


def test_what_was_acknowledged_survives_any_write_that_fails(tmp_path: Path, world: World) -> None:
    rng = random.Random(SEED)
    faults = Faults(tmp_path / "faults")
    nodes = Nodes(tmp_path / "data", ENV, program=faults.program)

    kinds = cycle(KINDS)

    def fail() -> None:
        kind, most = next(kinds), rng.choice([3, 40])
        # What is small is a value of the records: files are written less often.
        nth = rng.randint(1, 2 if kind == "write" else most)
        faults.arm(kind, nth, rng.choice([1, 1, 1, 3, 12]), rng.choice(ERRORS))

    try:
        told = under_faults(nodes, world, FAULTS, fail, faults.disarm)
    finally:
        nodes.close()
    assert all(faults.hits().values()), faults.hits()
    print(f"\n{FAULTS} faults, failed: {faults.hits()}, {told}")


def test_what_was_acknowledged_survives_a_full_disk(small_disk: Path, world: World) -> None:
    rng = random.Random(SEED)
    nodes = Nodes(small_disk / "data", ENV)
    filling = small_disk / "others"

    def fill() -> None:
        """Leave nothing, or what some small things need; every other time make room again."""
        if filling.exists():
            filling.unlink()
            return
        with filling.open("wb", buffering=0) as file:
            with suppress(OSError):
                while file.write(bytes(64 << 10)):
                    pass
            left = rng.choice([0, 0, 100_000, 2_000_000])
            file.truncate(max(file.tell() - left, 0))

    try:
        told = under_faults(
            nodes,
            world,
            FILLINGS,
            fill,
            lambda: filling.unlink(missing_ok=True),
            a_round=FILLINGS_A_ROUND,
        )
    finally:
        nodes.close()
    assert told.keys() & {"storage.full", "item storage.full"}, told
    print(f"\nfilled {FILLINGS // 2} times: {told}")


def under_faults(
    nodes: Nodes,
    world: World,
    times: int,
    fail: Callable[[], None],
    heal: Callable[[], None],
    a_round: int = FAULTS_A_ROUND,
) -> dict[str, int]:
    """Work while writes fail, then look; gives how often what was refused."""
    refusals: dict[str, int] = {}
    nodes.start()
    for first in range(0, times, a_round):
        clients = Clients(world, f"{SEED}.{first}", writes_fail=True)
        clients.store_files(nodes.url)
        for _ in range(min(a_round, times - first)):
            fail()
            clients.run(lambda: nodes.url, ORDERS_A_FAULT)
        heal()
        with httpx.Client(base_url=nodes.url, timeout=60) as http:
            nodes.wait_until(lambda: http.get("/readyz").status_code == 200)
        clients.check_all(nodes.url)
        clients.delete_all(nodes.url)
        for code, count in clients.refusals.items():
            refusals[code] = refusals.get(code, 0) + count
    nodes.check_nothing_is_left()
    return refusals
