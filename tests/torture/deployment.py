"""Many nodes on one PostgreSQL and one bucket, each a group of processes with its own folder."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import httpx
import obstore
import psycopg
from psycopg import sql

from app.blobs.base import BlobSettings
from app.blobs.objects import ObjectBlobStore
from app.nodes.chores import LEASE_S, PURGE_EVERY_S, Chores
from app.stores.postgres import PostgresDatabase
from tests.conftest import LOOPBACK
from tests.e2e.test_bucket import env as bucket
from tests.load.nodes import MAY_STAY, RUNNING
from tests.load.world import SECRET
from tests.postgres import Server
from tests.s3 import bucket_of, storage
from tests.service import Service

ENV = {
    "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
    "OFFLOAD_WEBHOOKS_SECRETS": SECRET,
    "OFFLOAD_DRAIN_TIMEOUT_S": "10",
    "PYTHONPATH": str(Path(__file__).parents[1] / "plugin"),
}
UNDATED = MAY_STAY | {"offload_schema", "pgqueuer_log"}
"""Tables that jobs leave something in for a while, or that are no jobs' at all.

The engine's log is cleared while a node works, not when the last one stops: see `check_log`.
"""
LOGGED_S = LEASE_S + 2 * PURGE_EVERY_S
"""At most, when who was to clear the log has been killed."""
NAMED = """
SELECT blob
FROM (SELECT blob FROM items UNION SELECT blob FROM files UNION SELECT blob FROM versions) AS named
WHERE blob IS NOT NULL AND NOT EXISTS (SELECT 1 FROM small WHERE key = blob)
"""

Told = Callable[[str], Mapping[str, str]]


class Deployment:
    """Nodes by their names: `api1`, `api2`, …, `work1`, …"""

    def __init__(
        self,
        folder: Path,
        postgres: Server,
        s3: str,
        *,
        apis: int = 2,
        workers: int = 2,
        env: Mapping[str, str] | None = None,
        told: Told = lambda _: {},
        within: Callable[[str], Sequence[str]] = lambda _: (),
    ) -> None:
        """Start nothing yet. `told` and `within` give what a node has besides, by its name."""
        self.postgres, self.s3 = postgres, s3
        self.database = postgres.new_database()
        self.bucket = f"s3://tests/{self.database}-{secrets.token_hex(4)}"
        self.apis = [f"api{n + 1}" for n in range(apis)]
        self.workers = [f"work{n + 1}" for n in range(workers)]
        self.nodes: dict[str, Service] = {}
        self._folder = folder
        self._told, self._within = told, within
        self._env = ENV | dict(bucket(s3, self.bucket)) | dict(env or {})

    @classmethod
    @contextmanager
    def running(
        cls, folder: Path, postgres: Server, s3: str, **more: object
    ) -> Iterator[Deployment]:
        """Have all of its nodes run while the context is open; leave none behind."""
        made = cls(folder, postgres, s3, **more)  # type: ignore[arg-type]
        try:
            made.start(*made.names)
            yield made
        finally:
            made.close()

    @property
    def names(self) -> list[str]:
        return [*self.apis, *self.workers]

    def alive(self, name: str) -> bool:
        node = self.nodes.get(name)
        return node is not None and node.process.poll() is None

    def urls(self) -> list[str]:
        """Give where the nodes that take requests listen, those that run."""
        return [self.nodes[name].url for name in self.apis if self.alive(name)]

    # -- their lives ---------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start those of some that do not run; return once they listen."""
        with ThreadPoolExecutor(len(names)) as threads:
            list(threads.map(self._start, names))

    def _start(self, name: str) -> None:
        if self.alive(name):
            return
        role = name.rstrip("0123456789")
        self.nodes[name] = Service(
            self._folder / name,
            {"OFFLOAD_DATABASE_URL": self.postgres.url(self.database)}
            | self._env
            | {"OFFLOAD_ROLES": role}
            | dict(self._told(name)),
            within=self._within(name),
            own_group=True,
        )

    def kill(self, *names: str) -> None:
        """SIGKILL all processes of some nodes, at once."""
        for name in names:
            with suppress(ProcessLookupError):
                self.nodes[name].signal_all(signal.SIGKILL)
        for name in names:
            self.nodes[name].kill()

    def freeze(self, name: str) -> None:
        self.nodes[name].signal_all(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.nodes[name].signal_all(signal.SIGCONT)

    def stop(self, *names: str) -> None:
        """SIGTERM some, or all of them; each ends well."""
        with ThreadPoolExecutor(8) as threads:
            codes = threads.map(lambda name: self.nodes[name].stop(), names or tuple(self.nodes))
            assert set(codes) <= {0}, names

    def close(self) -> None:
        """Leave none behind, whatever happened."""
        for node in self.nodes.values():
            if node.process.poll() is None:
                node.signal_all(signal.SIGKILL)
            node.kill()

    def owner(self, pid: int) -> str:
        """Give the node that a process belongs to."""
        group = os.getpgid(pid)
        [name] = [name for name, node in self.nodes.items() if node.process.pid == group]
        return name

    def log(self, name: str) -> str:
        return self.nodes[name].log.read_text()

    # -- their clients -------------------------------------------------------------------------

    def client(self, timeout_s: float = 90) -> httpx.Client:
        """Give one whose requests go to all nodes in turn, as behind a proxy."""
        return httpx.Client(base_url="http://nodes", transport=_Turns(self.urls), timeout=timeout_s)

    # -- what they leave -----------------------------------------------------------------------

    def rows(self) -> dict[str, int]:
        """Count the rows of each table that has some, but for what outlives jobs."""
        with psycopg.connect(self.postgres.url(self.database), autocommit=True) as db:
            found = db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            counts: Counter[str] = Counter()
            for [table] in found.fetchall():
                some = " WHERE unfinished <> 0" if table == "clients" else ""
                query = sql.SQL("SELECT count(*) FROM {}" + some).format(sql.Identifier(table))
                [[counts[table]]] = db.execute(query).fetchall()
        return {table: n for table, n in counts.items() if n and table not in UNDATED}

    def objects(self) -> set[str]:
        """Give the keys of the bytes that are in the bucket."""
        found = bucket_of(storage(self.s3, self.bucket))
        pages = obstore.list(found, prefix="objects")
        return {meta["path"].removeprefix("objects/") for page in pages for meta in page}

    def named(self) -> set[str]:
        """Give the keys of bytes that records name, and that are not in the records themselves."""
        return {key for [key] in self.postgres.execute(NAMED, self.database)}

    def check_bytes(self) -> int:
        """See, while no node runs, that every record has its object, and every object a record.

        First all is done that nodes do by and by, with no grace for what never had a record.
        Gives how many objects there are.
        """
        asyncio.run(self._tidy())
        objects, named = self.objects(), self.named()
        assert named - objects == set(), "records without their bytes"
        assert objects - named == set(), "bytes without a record"
        return len(objects)

    async def _tidy(self) -> None:
        root = self._folder / "tidy"
        blobs = ObjectBlobStore(root, BlobSettings(), storage(self.s3, self.bucket))
        database = PostgresDatabase(self.postgres.url(self.database))
        await blobs.open()
        await database.open()
        try:
            chores = Chores(database, "torture", blobs, grace_s=0, deliveries_s=0)
            await chores.bite()
            await chores.tidy()
            await chores.sweep()
        finally:
            await database.close()
            await blobs.close()

    def check_log(self) -> None:
        """See, while nodes work, that the queue engine's own log goes by and by."""
        old = f"SELECT count(*) FROM pgqueuer_log WHERE created < now() - interval '{LOGGED_S} s'"
        assert self.postgres.execute(old, self.database) == [(0,)]

    def check_nothing_is_left(self) -> None:
        """See that no row and no byte stays of jobs that were deleted; no node runs any more."""
        assert self.check_bytes() == 0
        left = self.rows()
        assert left.keys() <= RUNNING, left  # who was killed last is buried by nobody


class _Turns(httpx.BaseTransport):
    """Sends each request to the next node; to another where nobody listens, as proxies do."""

    def __init__(self, urls: Callable[[], list[str]]) -> None:
        self._urls = urls
        self._turn = count(secrets.randbelow(100))
        self._inner = httpx.HTTPTransport(verify=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        urls = self._urls()
        if not urls:
            raise httpx.ConnectError("no node runs", request=request)
        for _ in urls:
            url = httpx.URL(urls[next(self._turn) % len(urls)])
            request.url = request.url.copy_with(host=url.host, port=url.port)
            try:
                return self._inner.handle_request(request)
            except httpx.ConnectError as error:
                refused = error
        raise refused

    def close(self) -> None:
        self._inner.close()
