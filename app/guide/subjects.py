"""What takes background tasks over HTTP, may be killed, and is started again."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

from app.guide.bench import python
from app.guide.pools import cores
from app.served import service

TIMEOUT_S = 60.0
LOOK_S = 0.02


class InProcess:
    """An application of `victim.py`."""

    def __init__(self, folder: Path, url: str) -> None:
        """Keep results in `folder`, by way; `url` is what a task fetches."""
        self._folder, self._url = folder, url
        self._submitted = 0
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Start it; it answers when this returns. Raises `OSError` if it does not."""
        arguments = (str(os.getpid()), str(self._folder), self._url, str(cores()))
        process = self._stack.enter_context(python("app.guide.victim", *arguments))
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        if not (port := await asyncio.to_thread(process.stdout.readline)):
            raise OSError("the application did not start")
        url = f"http://127.0.0.1:{int(port)}"
        self._http = httpx.AsyncClient(base_url=url, trust_env=False, timeout=TIMEOUT_S)
        await self._stack.enter_async_context(self._http)
        await self.prepare("create_task")

    async def kill(self) -> None:
        """End it with SIGKILL; its processes die with it."""
        await self._stack.aclose()

    async def prepare(self, way: str) -> None:
        """Have what a way needs be there."""
        (await self._http.get(f"/ready/{way}")).raise_for_status()

    async def submit(self, way: str) -> None:
        """Hand a task over; returns with the answer."""
        self._submitted += 1
        (await self._http.post(f"/{way}/{self._submitted}")).raise_for_status()

    async def done(self, way: str, expected: int, patience_s: float) -> int:
        """Count the results of one way, whoever made them, once they are as many as expected.

        Or after `patience_s`: nobody does what a process that was killed had to do.
        """
        end_s = time.monotonic() + patience_s
        while (found := self._results(way)) < expected and time.monotonic() < end_s:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        return found

    def _results(self, way: str) -> int:
        return sum(not entry.name.startswith(".") for entry in os.scandir(self._folder / way))


class Durable:
    """This service itself."""

    def __init__(self, folder: Path, url: str, settings: Mapping[str, str]) -> None:
        """Have its data in `folder`; `url` is what a task fetches."""
        self._folder, self._url, self._settings = folder, url, settings
        self._under_way: list[str] = []
        self._done = 0
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Start it; it answers when this returns. Raises `NotServed` if it does not."""
        running = service(self._folder / "data", self._folder / "service.log", self._settings)
        self._served = await self._stack.enter_async_context(running)
        self._http = httpx.AsyncClient(
            base_url=self._served.url, trust_env=False, timeout=TIMEOUT_S
        )
        await self._stack.enter_async_context(self._http)

    async def kill(self) -> None:
        """End it with SIGKILL; its processes die with it."""
        await self._served.kill()
        await self._stack.aclose()

    async def prepare(self, way: str) -> None:
        """All that is needed is there."""

    async def submit(self, way: str) -> None:
        """Hand a task over; returns with the answer."""
        steps = [{"op": "fetch"}, {"op": way}]
        job = {"items": [{"url": self._url}], "steps": steps}
        answer = (await self._http.post("/v1/jobs", json=job)).raise_for_status()
        self._under_way.append(answer.json()["links"]["self"])

    async def done(self, way: str, expected: int, patience_s: float) -> int:
        """Count the jobs that have succeeded, once they are as many as expected.

        Or after `patience_s`.
        """
        end_s = time.monotonic() + patience_s
        while self._done < expected and self._under_way and time.monotonic() < end_s:
            asked = await self._http.get(self._under_way[0], params={"wait": 10})
            job = asked.raise_for_status().json()
            if job["done"]:
                del self._under_way[0]
                self._done += job["status"] == "succeeded"
        return self._done
