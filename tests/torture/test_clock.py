"""Nodes whose clocks are an hour off: nobody's work is taken, and nothing expires early."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.nodes.node import BEAT_EVERY_S, DEAD_AFTER_S
from tests.load.world import World
from tests.postgres import Server
from tests.s3 import ANYBODY, s3_server
from tests.service import Service
from tests.torture.deployment import Deployment
from tests.torture.ledger import Ledger

ORDERS = 80
BURIED = re.compile(r"recovered .*dead=(\w+)")
OFF = {"api2": "+3600s", "work1": "+3600s", "work2": "-3600s"}


def clock(off: str) -> Mapping[str, str]:
    """Give what puts the clock of a process forward or back: all of it, not Python's alone."""
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        pytest.skip("libfaketime is not installed: `make torture` installs it")
    library = Path(found.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    return {"LD_PRELOAD": str(library), "FAKETIME": off, "DONT_FAKE_MONOTONIC": "1"}


class Beats:
    """For how long each node was seen to stand still, by the test's own clock."""

    def __init__(self, nodes: Deployment) -> None:
        self._nodes = nodes
        self._last: dict[str, tuple[int, float]] = {}
        self.stood_still_s: Counter[str] = Counter()

    @contextmanager
    def watched(self) -> Iterator[None]:
        over = threading.Event()

        def look() -> None:
            while not over.wait(0.3):
                self.look()

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def look(self) -> None:
        now = time.monotonic()
        found = self._nodes.postgres.execute("SELECT id, beat FROM nodes", self._nodes.database)
        for id_, beat in found:
            last, since = self._last.setdefault(id_, (beat, now))
            self.stood_still_s[id_] = max(self.stood_still_s[id_], now - since)
            if beat != last:
                self._last[id_] = (beat, now)


@pytest.mark.timeout(600)
def test_clocks_an_hour_off_change_nothing(
    postgres: Server, world: World, tmp_path: Path, seed: str, tell: Callable[[str], None]
) -> None:
    # Who signs with such a clock is refused: a bucket that asks for no signature stands for stores
    # that know no time.
    unsigned = {"skip_signature": "true", "region": "us-east-1"}

    def told(name: str) -> Mapping[str, str]:
        return clock(OFF[name]) if name in OFF else {}

    with s3_server(tmp_path / "s3", ANYBODY) as s3:
        options = json.dumps(unsigned | {"endpoint": s3})
        env = {"OFFLOAD_STORAGE_OPTIONS": options}
        with Deployment.running(
            tmp_path, postgres, s3, apis=2, workers=3, env=env, told=told
        ) as nodes:
            ledger, beats = Ledger(nodes, world, seed), Beats(nodes)
            with beats.watched(), ledger.at_work(ORDERS):
                while len(ledger.ledger) < ORDERS:
                    world.strike_in(50)
                    world.strike.wait(0.5)
            logs = {name: nodes.log(name) for name in nodes.names}
            attempts = nodes.postgres.execute(
                "SELECT max(attempt - attempts_before), count(*) FROM items", nodes.database
            )
            counted = ledger.settle()
    buried = {id_ for log in logs.values() for id_ in BURIED.findall(log)}
    # On a machine that is overworked a node may stand still for so long; not for its clock's sake.
    assert all(beats.stood_still_s[id_] >= DEAD_AFTER_S - BEAT_EVERY_S for id_ in buried), buried
    [[most, items]] = attempts
    assert most == 1 or buried, attempts
    tell(f"{OFF}: {len(buried)} nodes buried, {items} items begun at most {most} times; " + counted)


def test_a_clock_that_the_bucket_refuses_is_told_in_a_sentence(s3: str, tmp_path: Path) -> None:
    from tests.e2e.test_bucket import env

    with pytest.raises(AssertionError) as refused:
        Service(tmp_path / "data", dict(env(s3)) | dict(clock("+3600s")))
    assert "RequestTimeTooSkewed, The difference between the request time" in str(refused.value)
    assert "Traceback" not in str(refused.value)
