"""Assembles the application: lifespan, routes, error table."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypedDict

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import __version__
from app.api import (
    components,
    docs,
    doors,
    events,
    files,
    health,
    jobs,
    openapi,
    operations,
    page,
    service,
    webhooks,
)
from app.api.access import RequestLog
from app.api.cors import readable_from
from app.api.forwarded import Forwarded
from app.api.linger import LingeringClose
from app.api.problems import Problems
from app.errors import StorageError
from app.logs import number_of
from app.nodes.chores import Chores
from app.ops.registry import load_offered
from app.outbound.addresses import Network
from app.runtime import Runtime, open_runtime
from app.settings import Settings
from app.work.crew import Crew

DESCRIPTION = """\
Offload takes file, image and URL work off other back ends. Every request for work becomes a
durable **job** (202) of one or more **items**; poll it, wait for it, or stream its events, then
download the results.

Every error is an RFC 9457 problem document with a stable `code`; a failed item carries the same.
Every answer has an `X-Request-Id`, yours if you sent one; the service's log has it too.
"""


class Service(FastAPI):
    """The application, with the request's line around all of it, its answer to a bug included."""

    access_level: int = logging.INFO
    shown_below: str = ""
    trusted_proxies: tuple[Network, ...] = ()
    cors_origins: tuple[str, ...] = ()
    refused: StorageError | None = None
    """Why it did not start, where that is a thing for its operator."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, without FastAPI's tracing, which costs a tenth of a small request unused."""
        if scope["type"] == "lifespan":
            send = partial(self._without_trace, send)
        await Starlette.__call__(self, scope, receive, send)

    async def _without_trace(self, send: Send, message: Message) -> None:
        """Pass on what becomes of the start; a refusal has a sentence, and needs no traceback."""
        error = sys.exception()
        if message["type"] == "lifespan.startup.failed" and isinstance(error, StorageError):
            self.refused, message = error, {"type": message["type"]}
        await send(message)

    def build_middleware_stack(self) -> ASGIApp:
        """Put together what a request passes through: these, and nothing of the framework's.

        FastAPI's own ones serve what handlers here do not do: close forms, bound bodies that it
        reads, trace.
        """
        answering = readable_from(self.cors_origins, LingeringClose(Problems(self.router)))
        served = RequestLog(answering, self.access_level)
        return Forwarded(served, self.shown_below, self.trusted_proxies)


class State(TypedDict):
    """What the lifespan hands to every request."""

    runtime: Runtime
    crew: Crew | None
    """None in a node that only takes requests."""


def create_app(settings: Settings) -> Service:
    """Make the service; its parts open with the lifespan and close with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with open_runtime(settings) as runtime, AsyncExitStack() as stack:
            await stack.enter_async_context(chores_of(runtime))
            crew = None
            if "work" in settings.roles:
                crew = await stack.enter_async_context(Crew(runtime))
            runtime.keys.read_again_on_hangup()
            # What is there by now stays. Looking through it, whenever a large request has made
            # objects enough for a full collection, would stop all threads for 50 ms and more.
            gc.collect()
            gc.freeze()
            yield {"runtime": runtime, "crew": crew}

    app = Service(
        title="Offload",
        version=__version__,
        description=DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        openapi_tags=openapi.TAGS,
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_url="/openapi.json" if "api" in settings.roles else None,
        docs_url=None,  # its page loads from elsewhere; `docs` has ours
        redoc_url=None,
    )
    app.access_level = number_of(settings.log.access)
    app.shown_below, app.trusted_proxies = settings.root_path, settings.trusted_proxies
    app.cors_origins = settings.cors.origins
    if "api" not in settings.roles:
        app.router.routes += health.router.routes
        return app
    known = list(load_offered().values())
    # Side by side, not included: FastAPI matches what is included twice.
    for routes in (
        jobs.router(),
        events.router,
        *(doors.door(operation) for operation in known),
        *(part.router for part in (files, webhooks, operations, service, health)),
    ):
        app.router.routes += routes.routes
    app.router.routes += [*(page.ROUTES if settings.page else []), *docs.ROUTES]
    components.install(app, known)
    return app


def chores_of(runtime: Runtime) -> Chores:
    """Make what keeps a runtime's records and bytes in order."""
    return Chores(
        runtime.database,
        runtime.node.id,
        runtime.blobs,
        grace_s=runtime.settings.blobs.grace_s,
        deliveries_s=runtime.settings.webhooks.retention_s,
        messages=runtime.engine.tidy if runtime.engine else None,
    )
