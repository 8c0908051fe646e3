"""`Executor.map`: results in order, one call; and how much of the input it takes at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def bounded_map(
    pool: Executor, function: Callable[[T], R], inputs: Iterable[T], in_hand: int
) -> Iterator[R]:
    """Do what `map` does, with so many inputs taken ahead of the results: `buffersize` of 3.14."""
    waiting: deque[Future[R]] = deque()
    try:
        for given in inputs:
            waiting.append(pool.submit(function, given))
            if len(waiting) >= in_hand:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


class Lines:
    """A file that is too large to have in memory; counts what was read of it."""

    def __init__(self, lines: int) -> None:
        """Read nothing yet."""
        self.lines = lines
        self.read = 0

    def __iter__(self) -> Iterator[str]:
        for number in range(self.lines):
            self.read += 1
            yield f"line {number}"


def trap(pool: Executor, lines: Lines) -> str:
    """Ask `map` for one result; it has submitted all of the input by then."""
    return next(pool.map(str.upper, lines))


if __name__ == "__main__":
    with ThreadPoolExecutor(2) as pool:
        lines = Lines(1_000)
        results = bounded_map(pool, str.upper, lines, in_hand=8)
        print(next(results), "after", lines.read, "of", lines.lines, "lines")
        print("all in order:", list(results) == [f"LINE {n}" for n in range(1, 1_000)])
        lines = Lines(1_000)
        print("trap:", trap(pool, lines), "after", lines.read, "of", lines.lines, "lines")
