"""A node that the database is out of reach for: what it had goes on elsewhere, once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.load.world import World
from tests.postgres import Server
from tests.torture.deployment import Deployment
from tests.torture.hosts import DATABASE, HERE, NETWORK, made
from tests.torture.ledger import Ledger
from tests.torture.wire import Wire

PARTED_S = 30.0
BEFORE_S, AFTER_S = 5.0, 5.0
LATENCY_S = 0.005
NAMES = ("api1", "api2", "work1", "work2")


def socket_of(server: Server) -> Path:
    return server.folder / ".s.PGSQL.5432"


def parted(ledger: Ledger, cut: Callable[[], None], heal: Callable[[], None]) -> None:
    """Have a load while something is cut, and before and after it."""
    pause = threading.Event()
    with ledger.at_work():
        pause.wait(BEFORE_S)
        cut()
        pause.wait(PARTED_S)
        heal()
        pause.wait(AFTER_S)


@pytest.mark.timeout(600)
def test_a_node_of_each_kind_is_parted_from_the_database(
    postgres: Server, s3: str, world: World, tmp_path: Path, seed: str, tell: Callable[[str], None]
) -> None:
    with ExitStack() as stack:
        wires = {name: stack.enter_context(Wire.to(socket_of(postgres))) for name in NAMES}

        def told(name: str) -> Mapping[str, str]:
            where = f"127.0.0.1:{wires[name].port}"
            return {"OFFLOAD_DATABASE_URL": f"postgresql://postgres@{where}/{nodes.database}"}

        nodes = Deployment(tmp_path, postgres, s3, told=told)
        stack.callback(nodes.close)
        nodes.start(*NAMES)
        ledger = Ledger(nodes, world, seed, writes_fail=True)
        apart = ("api2", "work1")

        def cut() -> None:
            for name in apart:
                wires[name].hold()

        def heal() -> None:
            for name in apart:
                wires[name].release()

        parted(ledger, cut, heal)
        assert "given_up_for_dead" in nodes.log("work1")
        tell(f"{' and '.join(apart)} without the database for {PARTED_S:.0f} s; " + ledger.settle())


@pytest.mark.timeout(600)
def test_nodes_on_hosts_of_their_own_of_which_one_is_parted(
    postgres: Server, s3: str, world: World, tmp_path: Path, seed: str, tell: Callable[[str], None]
) -> None:
    with ExitStack() as stack:
        hosts = stack.enter_context(made(NAMES, round(1000 * LATENCY_S)))
        database = stack.enter_context(Wire.to(socket_of(postgres), DATABASE))
        s3_host, _, s3_port = s3.removeprefix("http://").partition(":")
        bucket = stack.enter_context(Wire.to((s3_host, int(s3_port)), HERE))
        outside = stack.enter_context(
            Wire.to(("127.0.0.1", int(world.url.rpartition(":")[2])), HERE)
        )
        world.url = f"http://{HERE}:{outside.port}"
        if not hosts.has_latency:  # no netem in this kernel
            database.delay_s = bucket.delay_s = LATENCY_S

        def told(name: str) -> Mapping[str, str]:
            where = f"{DATABASE}:{database.port}/{nodes.database}"
            return {
                "OFFLOAD_HOST": hosts.address(name),
                "OFFLOAD_DATABASE_URL": f"postgresql://postgres@{where}",
            }

        nodes = Deployment(
            tmp_path,
            postgres,
            f"http://{HERE}:{bucket.port}",
            env={
                "OFFLOAD_ALLOW_ANONYMOUS": "true",
                "OFFLOAD_FETCH_ALLOW_NETWORKS": f"{NETWORK}.0/24",
            },
            told=told,
            within=hosts.within,
        )
        stack.callback(nodes.close)
        nodes.start(*NAMES)
        ledger = Ledger(nodes, world, seed, writes_fail=True)
        parted(
            ledger,
            lambda: hosts.cut_from_database("work1"),
            lambda: hosts.heal("work1"),
        )
        assert "given_up_for_dead" in nodes.log("work1")
        how = "netem" if hosts.has_latency else "the wires: no netem here"
        tell(
            f"{len(NAMES)} network namespaces, {1000 * LATENCY_S:.0f} ms of latency by {how}, "
            f"work1 without the database for {PARTED_S:.0f} s; " + ledger.settle()
        )
