"""Nodes whose clocks are an hour off: nobody's work is taken, and nothing expires early."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.records.settings import JobSettings
from tests.load.world import World
from tests.postgres import Server
from tests.s3 import ANYBODY, s3_server
from tests.service import Service
from tests.torture.deployment import Deployment
from tests.torture.ledger import Ledger

ORDERS = 80
BURIED = re.compile(r"(recovered .*dead=\w+|given_up_for_dead .*)")
WAITED = re.compile(r" item .*waited_ms=(\d+)")
OFF = {"api2": "+3600s", "work1": "+3600s", "work2": "-3600s"}
NO_HOUR = timedelta(minutes=30)
LOOK_EVERY_S = 0.3
BEATS = "SELECT id, beat FROM nodes"
CHORES = """
SELECT name, node, until_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM chores
"""


def clock(off: str) -> Mapping[str, str]:
    """Give what puts the clock of a process forward or back: all of it, not Python's alone."""
    found = importlib.util.find_spec("libfaketime")
    if found is None or found.origin is None:
        pytest.skip("libfaketime is not installed: `make torture` installs it")
    library = Path(found.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": off,
        "DONT_FAKE_MONOTONIC": "1",
        # This libfaketime shifts what pthread_cond_timedwait waits for all the same, and whoever
        # waits for the interpreter's lock spins. So long CPython waits for it; it is the only one.
        "FAKETIME_WAIT_MS": "5",
    }


class Watch:
    """What is seen in the records, by clocks that nobody has put forward or back."""

    def __init__(self, nodes: Deployment) -> None:
        self._nodes = nodes
        self._beats: dict[str, tuple[int, float]] = {}
        self._leases: dict[str, tuple[str, int]] = {}
        self.stood_still_s: defaultdict[str, float] = defaultdict(float)
        """By node, for how long its beat did at most."""
        self.taken: list[str] = []
        """Chores that another node had while they still were somebody's."""

    @contextmanager
    def kept(self) -> Iterator[None]:
        over = threading.Event()

        def look() -> None:
            while not over.wait(LOOK_EVERY_S):
                self._look()

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look(self) -> None:
        now = time.monotonic()
        for id_, beat in self._nodes.postgres.execute(BEATS, self._nodes.database):
            last, since = self._beats.setdefault(id_, (beat, now))
            self.stood_still_s[id_] = max(self.stood_still_s[id_], now - since)
            if beat != last:
                self._beats[id_] = (beat, now)
        for name, node, until_ms, now_ms in self._nodes.postgres.execute(
            CHORES, self._nodes.database
        ):
            whose, was_until_ms = self._leases.get(name, (node, until_ms))
            if node != whose and was_until_ms > now_ms:
                self.taken.append(name)
            self._leases[name] = (node, until_ms)


def check_times(nodes: Deployment, ledger: Ledger, began: datetime) -> None:
    """See that what clients are told of times is of now, and that all stays for as long as said."""
    retention = timedelta(seconds=JobSettings().retention_s)
    with nodes.client() as http:
        for job in ledger.listed(http):
            created, finished, expires = (
                job[name] and datetime.fromisoformat(job[name])
                for name in ("created_at", "finished_at", "expires_at")
            )
            assert began - NO_HOUR < created < datetime.now(UTC) + NO_HOUR, job
            if finished:
                assert created <= finished < datetime.now(UTC) + NO_HOUR, job
                assert abs(expires - finished - retention) < NO_HOUR, job


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
            ledger, watch, began = Ledger(nodes, world, seed), Watch(nodes), datetime.now(UTC)
            # The world refuses a webhook whose time is off by five minutes.
            with watch.kept(), ledger.at_work(ORDERS):
                while len(ledger.ledger) < ORDERS:
                    world.strike_in(50)
                    world.strike.wait(0.5)
            logs = {name: nodes.log(name) for name in nodes.names}
            [[most, items]] = nodes.postgres.execute(
                "SELECT max(attempt - attempts_before), count(*) FROM items", nodes.database
            )
            check_times(nodes, ledger, began)
            counted = ledger.settle()
    buried = {name: BURIED.findall(log) for name, log in logs.items()}
    assert not any(buried.values()), (buried, watch.stood_still_s)
    assert most == 1
    assert not watch.taken
    waited_ms = [int(ms) for log in logs.values() for ms in WAITED.findall(log)]
    assert len(waited_ms) > 0
    assert max(waited_ms) < NO_HOUR / timedelta(milliseconds=1)
    tell(
        f"{OFF}: nobody buried, the longest silence {max(watch.stood_still_s.values()):.1f} s, "
        f"{items} items begun once each, no lease taken, no time off; " + counted
    )


def test_a_clock_that_the_bucket_refuses_is_told_in_a_sentence(s3: str, tmp_path: Path) -> None:
    from tests.e2e.test_bucket import env

    with pytest.raises(AssertionError) as refused:
        Service(tmp_path / "data", dict(env(s3)) | dict(clock("+3600s")))
    assert "RequestTimeTooSkewed, The difference between the request time" in str(refused.value)
    assert "Traceback" not in str(refused.value)
