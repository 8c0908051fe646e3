"""Tasks for the pool that do what a test needs, and pools to run them on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.cpu import CpuPool, Ended, PoolSettings
from app.ops.base import Limits, Source
from app.ops.tasks import ChainStep, ChainTask, Finished, Refused


@asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[CpuPool]:
    pool = CpuPool(PoolSettings.model_validate({"workers": 2, **settings}))
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


class Tasks:
    """Makes tasks, each with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0
        self._gates: list[Gate] = []

    def __call__(
        self,
        how: str,
        content: bytes = b"content",
        pipe: str = "",
        time_s: float = 30,
        weight_ms: float = 50,
    ) -> ChainTask:
        self._made += 1
        own = self._folder / str(self._made)
        work = own / "work"
        work.mkdir(parents=True)
        source = own / "source"
        source.write_bytes(content)
        return ChainTask(
            (Source(source, "name", "text/plain", len(content)),),
            (ChainStep("misbehave", {"how": how, "pipe": pipe, "weight_ms": weight_ms}),),
            work,
            Limits(time_s=time_s),
        )

    def gate(self) -> Gate:
        self._made += 1
        self._gates.append(Gate(self._folder / f"gate{self._made}"))
        return self._gates[-1]

    def let_go(self) -> None:
        """Let everybody go who still stands at a gate: a thread would hold up the end."""
        for gate in self._gates:
            gate.give_way()


class Gate:
    """Where an operation says that it has begun, and waits to be let go."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(path)
        os.mkfifo(self.path + ".began")

    async def began(self) -> int:
        """Wait until an operation stands here; gives its process id."""
        return int(await asyncio.to_thread(Path(self.path + ".began").read_text))

    async def open(self) -> None:
        """Let the operation that stands here go on."""
        await asyncio.to_thread(Path(self.path).write_bytes, b"")

    def give_way(self) -> None:
        """Let go who stands here, on either side."""
        for path in (self.path, self.path + ".began"):
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))

    async def pass_one(self) -> None:
        await self.began()
        await self.open()


def worker_of(finished: Finished) -> int:
    return int(finished.facts["misbehave"]["by"])


def names_in(folder: Path | str) -> list[str]:
    return [path.name for path in Path(folder).iterdir()]


def finished(outcomes: list[Finished | Refused]) -> list[Finished]:
    assert [one for one in outcomes if not isinstance(one, Finished)] == []
    return [one for one in outcomes if isinstance(one, Finished)]


def codes(ends: list[Ended]) -> list[str]:
    """The code of each that was refused."""
    return [end.outcome.code if isinstance(end.outcome, Refused) else "" for end in ends]
