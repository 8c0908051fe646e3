"""The server around the application: its sockets, its bounds, and how it ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from math import ceil
from typing import cast

import uvicorn

from app import metrics
from app.errors import StorageError
from app.main import State, create_app
from app.ops.registry import load_offered
from app.settings import Settings
from app.wire.crowd import Crowd, room
from app.wire.ending import Wire
from app.wire.protocol import BoundedProtocol

GRACEFUL_S = 3.0
"""How long uploads and downloads under way may hold a shutdown."""
CUT_S = 0.3
"""How long clients have to read that they were cut off."""
OWN_FILES = 64
"""Descriptors of the database, the workers' pipes, the log and what a library opens."""


class Server(uvicorn.Server):
    """uvicorn's server, which says once it really listens, and where."""

    def __init__(
        self,
        settings: Settings,
        on_started: Callable[[str], None],
        metrics_sockets: list[socket.socket],
    ) -> None:
        """Make it; `on_started` is told the URL. It has metrics if there are sockets for them."""
        self._metrics_sockets = metrics_sockets
        self._beside = AsyncExitStack()
        if metrics_sockets:
            metrics.begin(load_offered())
        reserve = OWN_FILES + settings.fetch.concurrency + settings.webhooks.concurrency
        most, backlog = room(settings.http.max_connections, reserve)
        self._app = create_app(settings)
        wire = Wire(settings.http, settings.upload.stall_timeout_s, Crowd(most))
        super().__init__(
            uvicorn.Config(
                self._app,
                http=cast("type[BoundedProtocol]", partial(BoundedProtocol, wire)),
                ws="none",
                loop="uvloop",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # `api/forwarded.py` sees to them
                backlog=backlog,
                timeout_keep_alive=settings.http.keep_alive_s,
                timeout_graceful_shutdown=ceil(GRACEFUL_S + 2 * CUT_S),
            )
        )
        self._on_started = on_started

    @property
    def refused(self) -> StorageError | None:
        """Why it did not start, where that is a thing for its operator."""
        return self._app.refused

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the application, then the doors."""
        await super().startup(sockets=sockets)
        if self.started:
            await self._expose()
            address, port = self.servers[0].sockets[0].getsockname()[:2]
            # Listening everywhere is not an address that one can type.
            address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104
            host = f"[{address}]" if ":" in address else address
            self._on_started(f"http://{host}:{port}")

    async def _expose(self) -> None:
        if self._metrics_sockets:
            from app.exposed import exposed

            runtime = cast("State", self.lifespan.state)["runtime"]
            counted = metrics.begin(())
            context = exposed(runtime, counted, self._metrics_sockets)
            await self._beside.enter_async_context(context)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer those who wait with what there is, let the others finish for a while, and end."""
        state = cast("State", self.lifespan.state)
        state["runtime"].leave()
        if state["crew"] is not None:
            state["crew"].leave()  # the work's time runs beside the answers', not behind it
        cutting = asyncio.create_task(self._cut_late_ones())
        await self._beside.aclose()
        await super().shutdown(sockets)
        cutting.cancel()

    async def _cut_late_ones(self) -> None:
        await asyncio.sleep(GRACEFUL_S)
        for _ in range(2):  # the second time, those that have not read the answer
            for connection in list(self.server_state.connections):
                cast("BoundedProtocol", connection).cut()
            await asyncio.sleep(CUT_S)
