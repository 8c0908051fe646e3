"""Two versions at once: nodes replaced one by one under load, with and without another schema."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import app
from app.stores.postgres_schema import newest
from tests.e2e.test_postgres import refused
from tests.load.world import World
from tests.postgres import Server
from tests.service import wait_until_gone
from tests.torture.deployment import Deployment
from tests.torture.ledger import Ledger

NEXT = "ALTER TABLE jobs ADD COLUMN IF NOT EXISTS of_the_next_version TEXT;\n"
OVER_WITHIN_S = 20
LOAD_S = 3.0


def next_version(folder: Path, migration: str | None) -> Path:
    """Give a folder from which another version of the program runs."""
    assert app.__file__
    shutil.copytree(Path(app.__file__).parent, folder / "app")
    if migration is not None:
        file = folder / "app" / "stores" / "sql" / "postgres" / f"{newest() + 1:04}_next.sql"
        file.write_text(migration)
    return folder


class Upgrade:
    """A deployment of which some nodes are of another version."""

    def __init__(self, tmp_path: Path, postgres: Server, s3: str, migration: str | None) -> None:
        self._next = next_version(tmp_path / "next", migration)
        self._upgraded: set[str] = set()
        self.nodes = Deployment(tmp_path, postgres, s3, within=self._within)

    def _within(self, name: str) -> Sequence[str]:
        return ("env", "-C", str(self._next)) if name in self._upgraded else ()

    def start(self, name: str) -> None:
        """Start a node of the other version in place of what had its name."""
        self._upgraded.add(name)
        self.nodes.start(name)

    def check(self, *names: str) -> None:
        """See that those that run are what they are said to be."""
        for name in names:
            cwd = Path(f"/proc/{self.nodes.nodes[name].process.pid}/cwd").readlink()
            assert (cwd == self._next) == (name in self._upgraded), name


def some_load(world: World) -> None:
    world.strike_in(40)
    world.strike.wait(LOAD_S)


@pytest.mark.timeout(600)
def test_nodes_are_replaced_one_by_one(
    postgres: Server, s3: str, world: World, tmp_path: Path, seed: str, tell: Callable[[str], None]
) -> None:
    upgrade = Upgrade(tmp_path, postgres, s3, None)
    nodes = upgrade.nodes
    try:
        nodes.start(*nodes.names)
        ledger = Ledger(nodes, world, seed)
        with ledger.at_work():
            for name in nodes.names:
                some_load(world)
                nodes.stop(name)
                upgrade.start(name)
                upgrade.check(*nodes.names)
            some_load(world)
        tell(f"{len(nodes.names)} nodes replaced one by one; " + ledger.settle())
    finally:
        nodes.close()


@pytest.mark.timeout(600)
def test_the_schema_of_the_next_version_ends_the_nodes_of_the_last(
    postgres: Server, s3: str, world: World, tmp_path: Path, seed: str, tell: Callable[[str], None]
) -> None:
    upgrade = Upgrade(tmp_path, postgres, s3, NEXT)
    nodes = upgrade.nodes
    try:
        nodes.start(*nodes.names)
        old = [nodes.nodes[name] for name in nodes.names]
        ledger = Ledger(nodes, world, seed, writes_fail=True)
        with ledger.at_work():
            some_load(world)
            nodes.apis.append("api3")
            nodes.workers.append("work3")
            upgrade.start("api3")
            migrated_at = time.monotonic()
            upgrade.start("work3")
            wait_until_gone([node.process.pid for node in old], OVER_WITHIN_S)
            over_s = time.monotonic() - migrated_at
            assert [node.stop() for node in old] == [0] * len(old)  # they have ended by themselves
            env = {"OFFLOAD_DATABASE_URL": postgres.url(nodes.database)}
            said = refused(tmp_path / "late", env)
            assert f"was written by a newer program (schema {newest() + 1}" in said
            for name in nodes.names:
                some_load(world)
                upgrade.start(name)
            upgrade.check(*nodes.names)
            some_load(world)

        def as_before() -> None:
            # What looks at the bytes is this version, which is refused like any other of its nodes.
            postgres.execute(f"UPDATE offload_schema SET version = {newest()}", nodes.database)

        for node in old:
            assert "outdated" in node.log.read_text()
        tell(
            f"{len(old)} nodes of the last version ended by themselves {over_s:.1f} s after the "
            "schema of the next; one that came late was refused; " + ledger.settle(as_before)
        )
    finally:
        nodes.close()
