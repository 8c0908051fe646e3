"""A FastAPI application with background tasks, as they are usually written: made to be killed.

`python -m app.guide.victim PARENT_PID FOLDER ORIGIN_URL WORKERS` prints the port it listens on.
`POST /{way}/{name}` answers 202 at once. What it has begun fetches from the origin, compresses what
it got and leaves that as a file FOLDER/way/name: the same work, whichever the way.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from app.guide.clients import blocking_client, get
from app.guide.pools import process_pool
from app.guide.servers import say_port
from app.orphans import die_with_parent

LEVEL = 6
_client: httpx.Client
"""Of a process of the pool."""


def keep(folder: Path, name: str, body: bytes) -> None:
    """Compress a body and leave it there, whole or not at all."""
    unfinished = folder / f".{name}"
    unfinished.write_bytes(gzip.compress(body, LEVEL))
    unfinished.rename(folder / name)


def work(client: httpx.Client, url: str, folder: Path, name: str) -> None:
    """Do a task, blocking."""
    keep(folder, name, get(client, url))


def open_client_of_process() -> None:
    """Give a process of the pool its client."""
    global _client  # noqa: PLW0603 - a process has one
    _client = blocking_client()


def work_in_process(url: str, folder: Path, name: str) -> None:
    """Do a task in a process of the pool."""
    work(_client, url, folder, name)


def application(folder: Path, url: str, workers: int) -> Any:
    """Give the FastAPI application; `url` is what each task fetches."""
    from fastapi import FastAPI  # at need: the pool's processes import this module again

    tasks = set[asyncio.Task[None]]()
    blocking = blocking_client()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as app.state.stack:
            async with httpx.AsyncClient(trust_env=False, timeout=60) as app.state.client:
                yield

    app = FastAPI(lifespan=lifespan)

    async def fetch_and_keep(name: str) -> None:
        keep(
            folder / "create_task",
            name,
            (await app.state.client.get(url)).raise_for_status().content,
        )

    @app.get("/ready/{way}")
    async def ready(way: str) -> None:
        """Answer once a way is ready for tasks: processes are started for that which has them."""
        if way == "pool" and not hasattr(app.state, "pool"):
            started = process_pool(workers, open_client_of_process)
            app.state.pool = app.state.stack.enter_context(started)

    @app.post("/create_task/{name}", status_code=202)
    async def create_task(name: str) -> None:
        task = asyncio.create_task(fetch_and_keep(name))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    @app.post("/executor/{name}", status_code=202)
    async def executor(name: str) -> None:
        asyncio.get_running_loop().run_in_executor(
            None, work, blocking, url, folder / "executor", name
        )

    @app.post("/pool/{name}", status_code=202)
    async def pool(name: str) -> None:
        loop = asyncio.get_running_loop()
        loop.run_in_executor(app.state.pool, work_in_process, url, folder / "pool", name)

    return app


def main(parent_pid: str, folder: str, url: str, workers: str) -> None:
    """Serve until killed."""
    import uvicorn

    die_with_parent(int(parent_pid))
    listening = socket.create_server(("127.0.0.1", 0))
    say_port(listening)
    app = application(Path(folder), url, int(workers))
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([listening])
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
