"""A task behind a request: held, waited for at the end, and its error told."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, Self


class Background:
    """Holds tasks until they end. Use it as an async context manager."""

    def __init__(self) -> None:
        """Have none yet."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.errors: list[BaseException] = []

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin a task; the event loop itself holds it only weakly."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait for those that are under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)


async def notify(sent: list[str], name: str) -> None:
    """Stand for an e-mail after an order."""
    await asyncio.sleep(0)
    if name == "nobody":
        raise LookupError("no address")
    sent.append(name)


async def never_answered() -> None:
    """Wait for an answer that nobody but this task knows of."""
    await asyncio.get_running_loop().create_future()


async def trap() -> list[str]:
    """Start tasks and keep none; gives what the event loop says, to its log, when they are gone."""
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    asyncio.create_task(notify([], "nobody"))  # noqa: RUF006 - the trap
    asyncio.create_task(never_answered())  # noqa: RUF006 - the trap
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    return sorted(told)


async def main() -> None:
    sent: list[str] = []
    async with Background() as background:
        background.start(notify(sent, "ada"))
        background.start(notify(sent, "nobody"))
    print("sent:", sent, "errors:", [str(error) for error in background.errors])
    for said in await trap():
        print("trap:", said)


if __name__ == "__main__":
    asyncio.run(main())
