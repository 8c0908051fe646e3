"""`/metrics`: what this process counts, and how the deployment is, for Prometheus.

It has an address of its own, and with it a server of its own on the same event loop: who watches
is not among the clients, and takes no connection from them.
"""

from __future__ import annotations

import asyncio
import platform
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, cast

import structlog
import uvicorn
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.types import Receive, Scope, Send

from app import __version__
from app.errors import StorageError
from app.metrics.instruments import Instruments
from app.ops.space import free_bytes
from app.records import sight, topics
from app.runtime import Runtime
from app.stores.base import News
from app.tasks import cancel
from app.wire.crowd import Crowd
from app.wire.ending import Wire
from app.wire.protocol import BoundedProtocol

log = structlog.get_logger(__name__)

MOST_CONNECTIONS = 16
PATH = "/metrics"
KEPT_S = 5.0
"""So old what was seen of the deployment may be: who asks more often does not load the database."""
PATIENCE_S = 1.0
"""For the database; without it, all that this process knows itself is told."""
LOOK_EVERY_S = 0.5
GRACE_S = 1


class Watched:
    """Tells how a runtime is. An ASGI application, for HTTP alone."""

    def __init__(self, runtime: Runtime, instruments: Instruments) -> None:
        """Begin to count what is told to listeners."""
        self._runtime = runtime
        self._instruments = instruments
        self._sight: sight.Sight | None = None
        self._seen_at = float("-inf")
        self._looking: asyncio.Task[sight.Sight] | None = None
        instruments.registry.register(_Now(self))
        runtime.database.listen(self._hear)

    def _hear(self, news: News) -> None:
        for _, state in news.get(topics.ENDED, ()):
            self._instruments.jobs_finished.labels(state).inc()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["path"] != PATH or scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 404, "text/plain", b"There is nothing but /metrics.\n")
            return
        await self._look()
        accepted = b",".join(value for name, value in scope["headers"] if name == b"accept")
        encode, media_type = choose_encoder(accepted.decode("latin-1"))
        body = await asyncio.to_thread(encode, self._instruments.registry)
        await _answer(send, 200, media_type, body)

    async def _look(self) -> None:
        """Look at the deployment, unless that was done a moment ago, or is being done."""
        now = asyncio.get_running_loop().time()
        if self._looking is None:
            if now - self._seen_at < KEPT_S:
                return
            self._looking = asyncio.create_task(self._runtime.database.read(sight.look))
        await asyncio.wait({self._looking}, timeout=PATIENCE_S)
        self._sight = None
        if self._looking.done():
            looked, self._looking = self._looking, None
            try:
                self._sight, self._seen_at = looked.result(), now
            except StorageError as error:
                log.warning("deployment_not_seen", detail=error.log_detail or error.detail)

    async def close(self) -> None:
        """End what is being looked at."""
        if self._looking is not None:
            await cancel(self._looking)

    async def watch_lateness(self) -> None:
        """Note how late the event loop is, until it is cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + LOOK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
            self._instruments.lateness_s.observe(max(0.0, clock() - due))

    def now(self) -> Iterator[Metric]:
        """Give what is not counted but is so now."""
        runtime = self._runtime
        roles = runtime.settings.roles
        info = GaugeMetricFamily(
            "offload_build_info", "1, of a process that runs.", labels=("version", "python")
        )
        info.add_metric([__version__, platform.python_version()], 1)
        yield info
        yield _gauge("node_role", "1 for each role of it.", "role", dict.fromkeys(roles, 1))
        yield _one("node_beat_age_seconds", "Since its last sign of life.", runtime.node.silent_s)
        if "work" in roles:
            busy, limit = runtime.cpu.busy, runtime.cpu.workers
            states = {"busy": busy, "idle": limit - busy}
            yield _gauge("workers", "Worker processes of the pool.", "state", states)
            yield _one("pool_ready", "0 while the pool is being made anew.", int(runtime.cpu.ready))
        free = free_bytes(runtime.settings.data_dir)
        yield _one("disk_free_bytes", "Of the data folder's disk.", free)
        floor = runtime.settings.blobs.min_free_bytes
        yield _one("disk_floor_bytes", "What uploads and results leave free of it.", floor)
        if self._sight is not None:
            yield from _deployment(self._sight)


class _Now(Collector):
    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def collect(self) -> Iterable[Metric]:
        return self._watched.now()


def _deployment(seen: sight.Sight) -> Iterator[Metric]:
    """Give what is the same whichever node is asked: not to be summed."""
    there = {"api": 0, "work": 0} | seen.nodes
    yield _gauge("deployment_nodes", "Nodes that show signs of life.", "role", there)
    yield _one("deployment_unfinished_items", "Items that are not over.", seen.unfinished_items)
    for name, said, field in (
        ("queue_chunks", f"Chunks that wait, {sight.LOOKED_AT} for as many or more.", "chunks"),
        ("queue_items", "Items of those chunks.", "items"),
        ("oldest_waiting_seconds", "Since the oldest job came that has one.", "oldest_s"),
    ):
        values = {lane: getattr(depth, field) for lane, depth in seen.lanes.items()}
        yield _gauge(f"deployment_{name}", said, "lane", values)


def _one(name: str, said: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"offload_{name}", said, value=value)


def _gauge(name: str, said: str, label: str, values: Mapping[Any, float]) -> GaugeMetricFamily:
    made = GaugeMetricFamily(f"offload_{name}", said, labels=[label])
    for value, number in values.items():
        made.add_metric([value], number)
    return made


async def _answer(send: Send, status: int, media_type: str, body: bytes) -> None:
    headers = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Server(uvicorn.Server):
    """One beside the other, which has the signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@asynccontextmanager
async def exposed(
    runtime: Runtime, instruments: Instruments, sockets: list[socket.socket]
) -> AsyncIterator[None]:
    """Answer on bound sockets while the context is open."""
    watched = Watched(runtime, instruments)
    http = runtime.settings.http
    wire = Wire(http, runtime.settings.upload.stall_timeout_s, Crowd(MOST_CONNECTIONS))
    server = _Server(
        uvicorn.Config(
            watched,
            http=cast("type[BoundedProtocol]", partial(BoundedProtocol, wire)),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=http.keep_alive_s,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    serving = asyncio.create_task(server.serve(sockets))
    lateness = asyncio.create_task(watched.watch_lateness())
    await server.up.wait()
    host, port = sockets[0].getsockname()[:2]
    log.info("metrics_listen", host=host, port=port, path=PATH)
    try:
        yield
    finally:
        await cancel(lateness)
        server.should_exit = True
        await serving
        await watched.close()
