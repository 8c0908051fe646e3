"""Many things that wait, such as downloads: one event loop, a bound, and failures as values."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def gather_bounded(
    function: Callable[[T], Awaitable[R]], inputs: Iterable[T], at_once: int
) -> list[R | BaseException]:
    """Await a function for each input, so many at once; an error is the value of its input."""
    room = asyncio.Semaphore(at_once)

    async def one(given: T) -> R:
        async with room:
            return await function(given)

    return await asyncio.gather(*(one(given) for given in inputs), return_exceptions=True)


class Origin:
    """Stands for a server: counts how many requests it has at once, and fails for some."""

    def __init__(self) -> None:
        """Have no request yet."""
        self.now = 0
        self.most = 0
        self.answered = 0

    async def get(self, number: int) -> str:
        """Answer after a while."""
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.001 if number else 0)
            if number == 0:
                raise ConnectionError("refused")
        finally:
            self.now -= 1
        self.answered += 1
        return f"body {number}"


async def trap(origin: Origin) -> tuple[int, int]:
    """Gather without `return_exceptions`; gives how many had an answer at the error, and later."""
    tasks = [asyncio.ensure_future(origin.get(number)) for number in range(3)]
    try:
        await asyncio.gather(*tasks)
    except ConnectionError:
        at_the_error = origin.answered
    await asyncio.wait(tasks)  # the others were not cancelled: they go on, and nobody waits
    return at_the_error, origin.answered


async def main() -> None:
    origin = Origin()
    bodies = await gather_bounded(origin.get, range(100), at_once=10)
    print("at once:", origin.most, "bodies:", sum(isinstance(body, str) for body in bodies))
    print("error:", bodies[0])
    before, after = await trap(Origin())
    print(f"trap: {before} answers when gather raised, and {after} at last")


if __name__ == "__main__":
    asyncio.run(main())
