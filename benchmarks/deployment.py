"""Nodes that share a PostgreSQL database and a bucket, all on one machine; whose CPU is whose."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import processes, services
from benchmarks.bench import Bench
from benchmarks.services import Service
from tests import postgres, s3

Settings = dict[str, str]
NONE: Settings = {}


@dataclass(frozen=True, slots=True)
class Deployment:
    """Those that take requests, and some that work; embedded, it is one and the same."""

    doors: tuple[Service, ...]
    workers: tuple[Service, ...]
    database: postgres.Server | None
    name: str = ""
    """Of the database."""

    @property
    def door(self) -> Service:
        """Give the first that takes requests."""
        return self.doors[0]

    def cpu_s(self) -> dict[str, float]:
        """Give the seconds of CPU that each kind of part has used."""
        used = {
            "api": sum(processes.cpu(one.pid).first_s for one in self.doors),
            "work": sum(processes.cpu(one.pid).first_s for one in self.workers),
            "pool": sum(processes.cpu(one.pid).others_s for one in (*self.doors, *self.workers)),
        }
        return used | {"PostgreSQL": processes.tree_s(self.database.pid) if self.database else 0.0}

    def stored_bytes(self) -> int:
        """Give the size of PostgreSQL's tables and indexes; embedded, nothing."""
        if self.database is None:
            return 0
        [[size]] = self.database.execute(f"SELECT pg_database_size('{self.name}')")
        return int(size)


@contextmanager
def embedded(bench: Bench, pool: int = 0, more: Settings = NONE) -> Iterator[Deployment]:
    """Run one process, as by default, with `more` of the service's settings."""
    env = {"OFFLOAD_UPLOAD_MAX_FILES": "10000", "OFFLOAD_POOL_WORKERS": str(pool)} | more
    with services.offload(bench, env) as service:
        yield Deployment((service,), (), None)


@contextmanager
def shared(
    bench: Bench, workers: int, pool: int, *, doors: int = 1, more: Settings = NONE, **database: str
) -> Iterator[Deployment]:
    """Run nodes that take requests, and so many that work, with `pool` processes each.

    `more` are settings of the service, `database` those of PostgreSQL.
    """
    with ExitStack() as stack:
        given = {"fsync": "on", "autovacuum": "on"} | database
        server = stack.enter_context(postgres.running(**given))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=bench.folder)))
        name, bucket = server.new_database(), stack.enter_context(s3.s3_server(folder / "s3"))
        env = _settings(server.url(name), bucket) | {"OFFLOAD_POOL_WORKERS": str(pool), **more}

        def started(name: str, role: str) -> Service:
            mine = {**env, "OFFLOAD_ROLES": role}
            port = services.free_port()
            return stack.enter_context(services.offload_on(bench, folder / name, port, mine))

        taking = tuple(started(f"api{n}", "api") for n in range(doors))
        working = tuple(started(f"work{n}", "work") for n in range(workers))
        yield Deployment(taking, working, server, name)


def _settings(database: str, bucket: str) -> dict[str, str]:
    wanted = s3.storage(bucket)
    return {
        "OFFLOAD_DATABASE_URL": database,
        "OFFLOAD_STORAGE_URL": wanted.url,
        "OFFLOAD_STORAGE_OPTIONS": json.dumps(wanted.model_dump(mode="json")["options"]),
        "OFFLOAD_UPLOAD_MAX_FILES": "10000",
    }
