"""What many callers ask for at the same time, written by one rule."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from app.errors import StorageError

T = TypeVar("T")
R = TypeVar("R")

_Asked = tuple[T, asyncio.Future[R]]


class Together(Generic[T, R]):
    """Hands things to what writes them: all that come while it writes go together next."""

    def __init__(
        self, write: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]], most: int
    ) -> None:
        """Write with `write`, which gives for each thing its answer, up to `most` at a time.

        Where it raises, each is tried by itself: neighbours do not pay for each other.
        """
        self._write = write
        self._most = most
        self._waiting: list[_Asked[T, R]] = []
        self._writing: asyncio.Task[None] | None = None

    async def ask(self, thing: T) -> R:
        """Return the answer, or raise it, once the thing is written. It is, also without us."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((thing, answer))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return await answer

    async def _write_all(self) -> None:
        await asyncio.sleep(0)  # whoever else is ready now comes along
        while self._waiting:
            group = self._waiting[: self._most]
            del self._waiting[: len(group)]
            await self._write_some(group)
        self._writing = None

    async def _write_some(self, group: Sequence[_Asked[T, R]]) -> None:
        try:
            answers = await self._write([thing for thing, _ in group])
        except Exception as error:  # noqa: BLE001 - it is the caller's, and goes to the caller
            if len(group) > 1:
                await self._write_singly(group)
            else:
                _answer(group[0], error)
            return
        for one, answer in zip(group, answers, strict=True):
            _answer(one, answer)

    async def _write_singly(self, group: Sequence[_Asked[T, R]]) -> None:
        failures: list[StorageError] = []
        for thing, answer in group:
            if len(failures) > 1:  # it is not the things: nobody else waits as long to hear so
                _answer((thing, answer), failures[-1])
                continue
            await self._write_some([(thing, answer)])
            error = None if answer.cancelled() else answer.exception()
            failures = [*failures, error] if isinstance(error, StorageError) else []


def _answer(asked: _Asked[T, R], answer: R | Exception) -> None:
    if asked[1].cancelled():
        return
    if isinstance(answer, Exception):
        asked[1].set_exception(answer)
    else:
        asked[1].set_result(answer)
