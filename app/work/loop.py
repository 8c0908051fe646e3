"""The loop that all work goes through: take what there is room for, run it, record it in groups.

Items and deliveries differ in what is taken and how it runs, not in this.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

import structlog

from app.errors import StorageError
from app.tasks import cancel

log = structlog.get_logger(__name__)

T = TypeVar("T")

POLL_EVERY_S = 0.25
"""Beneath the hints: another node's commits are found by then."""
RETRY_S = 1.0
RETRY_MAX_S = 30.0
GROUP = 512
"""Entries that are recorded together at most."""


class Recorder(Generic[T]):
    """Writes what has ended: all that ends while one commit is under way goes into the next."""

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[None]], what: str) -> None:
        """Take what writes some entries in one transaction; `what` names them in the log."""
        self._write = write
        self._what = what
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def record(self, entry: T) -> None:
        """Return once an entry is written; while the store cannot take it, it waits."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        await written

    async def close(self) -> None:
        """Write no more. What is being written in this moment may be written yet."""
        if self._writing is not None:
            await cancel(self._writing)

    async def _write_all(self) -> None:
        pause_s, most = RETRY_S, GROUP
        while self._waiting:
            group = self._waiting[:most]
            try:
                await self._write([entry for entry, _ in group])
            except StorageError as error:
                log.error("not_recorded", what=self._what, detail=error.log_detail)  # noqa: TRY400
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MAX_S)
                continue
            except Exception as error:  # a bug; what waits must hear of it
                if len(group) > 1:  # and its neighbours are to be written
                    most = 1
                    continue
                log.exception("recording_failed", what=self._what)
                self._answer(group, error)
            else:
                self._answer(group, None)
                pause_s = RETRY_S
        self._writing = None

    def _answer(
        self, group: Sequence[tuple[T, asyncio.Future[None]]], error: Exception | None
    ) -> None:
        del self._waiting[: len(group)]
        for _, written in group:
            if not written.done():
                written.set_exception(error) if error else written.set_result(None)


class Loop(Generic[T]):
    """Keeps taking while there is room: at each hint, and every so often without one."""

    def __init__(
        self,
        take: Callable[[], AsyncIterator[T]],
        run: Callable[[T], Coroutine[Any, Any, None]],
        ended: Callable[[T], None],
        idle_s: Callable[[], Awaitable[float]] | None = None,
    ) -> None:
        """Make the loop of one kind of work.

        Args:
            take: takes as much as there is room for; what it gives runs, also where it then fails.
            run: runs one of it to its record.
            ended: called when it has ended or was cancelled, were it before it began.
            idle_s: says how long nothing can be due without a hint; `POLL_EVERY_S` by default.
        """
        self._take = take
        self._run = run
        self._on_end = ended
        self._idle_s = idle_s
        self._wake = asyncio.Event()
        self._failed = False
        self.stopping = False
        self.running: dict[asyncio.Task[None], T] = {}

    def begin(self) -> None:
        """Begin to take."""
        self._working = asyncio.create_task(self._work())
        self._working.add_done_callback(_tell_crash)

    @property
    def alive(self) -> bool:
        """Whether it takes: not after it was ended, nor when a bug has kept it from it just now."""
        return not (self._failed or self._working.done())

    def wake(self) -> None:
        """Say that there may be something, or room for more."""
        self._wake.set()

    def stop(self) -> None:
        """Take no more."""
        self.stopping = True
        self._wake.set()

    def start(self, taken: T) -> None:
        """Run what was taken."""
        task = asyncio.create_task(self._run(taken))
        self.running[task] = taken
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._on_end(self.running.pop(task))
        self._wake.set()
        _tell_crash(task)

    async def _work(self) -> None:
        pause_s = RETRY_S
        while not self.stopping:
            # Cleared before the rows are read: what comes after that wakes us again.
            self._wake.clear()
            try:
                async for taken in self._take():
                    self.start(taken)
                wait_s = await self._idle_s() if self._idle_s else POLL_EVERY_S
                pause_s, self._failed = RETRY_S, False
            except StorageError as error:
                log.error("nothing_taken", detail=error.log_detail)  # noqa: TRY400
                wait_s, pause_s = pause_s, min(2 * pause_s, RETRY_MAX_S)
            except Exception:  # a bug; what this node was handed would be nobody's while it lives
                log.exception("taking_failed")
                wait_s, pause_s = pause_s, min(2 * pause_s, RETRY_MAX_S)
                self._failed = True
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def drain(self, timeout_s: float) -> list[T]:
        """Take no more, wait for what runs for so long, then cancel it; gives what was cut off."""
        self.stop()
        # Not cancelled: what it is taking in this moment would be nobody's.
        await asyncio.gather(self._working, return_exceptions=True)
        if self.running:
            await asyncio.wait(set(self.running), timeout=max(0.0, timeout_s))
        left = dict(self.running)
        await cancel(*left)
        return list(left.values())


def _tell_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("work_crashed", exc_info=error)
