"""A thread pool: results in the order of the inputs, and errors apart from them."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(
    function: Callable[[T], R], inputs: Iterable[T], threads: int
) -> tuple[list[R | None], dict[int, Exception]]:
    """Call a function for each input; gives the results, and by its place what each error was."""
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(function, given) for given in inputs]
    results: list[R | None] = []
    errors: dict[int, Exception] = {}
    for place, future in enumerate(futures):
        error = future.exception()
        if isinstance(error, Exception):
            errors[place] = error
        results.append(None if error else future.result())
    return results, errors


def number_of(text: str) -> int:
    """Stand for a download: it fails for some."""
    return int(text)


def trap(inputs: list[str]) -> int:
    """Lose an exception: nobody asks the futures, so nobody hears of it."""
    with ThreadPoolExecutor(2) as pool:
        for text in inputs:
            pool.submit(number_of, text)
    return len(inputs)  # "done"


if __name__ == "__main__":
    results, errors = in_threads(number_of, ["1", "two", "3"], 2)
    print("results:", results)
    print("errors:", {place: str(error) for place, error in errors.items()})
    print("trap: all", trap(["1", "two", "3"]), "done, says who never asked for a result")
