"""A bucket that is down, slow, busy, or breaks off, under load: nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.load.world import World
from tests.postgres import Server
from tests.torture.deployment import Deployment
from tests.torture.ledger import Ledger
from tests.torture.wire import BUSY, Wire

DOWN_S = 30.0
EACH_S = 15.0


def down(wire: Wire) -> None:
    wire.refusing = True


def slow(wire: Wire) -> None:
    wire.delay_s = 0.3


def busy(wire: Wire) -> None:
    wire.instead = BUSY


def breaking_off(wire: Wire) -> None:
    wire.most_answered = 30_000


FAULTS: tuple[tuple[Callable[[Wire], None], float], ...] = (
    (down, DOWN_S),
    (slow, EACH_S),
    (busy, EACH_S),
    (breaking_off, EACH_S),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("retry_s", [60, 1])
def test_a_bucket_that_fails_under_load(
    postgres: Server,
    s3: str,
    world: World,
    tmp_path: Path,
    seed: str,
    tell: Callable[[str], None],
    retry_s: int,
) -> None:
    host, _, port = s3.removeprefix("http://").partition(":")
    env = {"OFFLOAD_STORAGE_RETRY_S": str(retry_s)}
    with (
        Wire.to((host, int(port))) as wire,
        Deployment.running(tmp_path, postgres, f"http://127.0.0.1:{wire.port}", env=env) as nodes,
    ):
        ledger = Ledger(nodes, world, seed, writes_fail=True)
        made = []
        with ledger.at_work():
            for fault, for_s in FAULTS:
                before = wire.connections
                fault(wire)
                wire.cut()  # what is set holds for new connections
                threading.Event().wait(for_s)
                made.append(f"{fault.__name__} {for_s:.0f} s ({wire.connections - before} met it)")
                assert wire.connections > before
                wire.mend()
                wire.cut()
                threading.Event().wait(3)
        tell(f"retried for {retry_s} s; {', '.join(made)}; " + ledger.settle())
