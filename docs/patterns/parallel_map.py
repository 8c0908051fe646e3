"""A parallel map in chunks: a trip to a process costs more than a small piece of work."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from math import isqrt
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def parallel_map(
    pool: ProcessPoolExecutor, function: Callable[[T], R], inputs: Sequence[T], chunk: int
) -> list[R | Exception]:
    """Call a function for each input, so many in one trip; an error is the value of its input."""
    trips = [
        pool.submit(one_trip, function, inputs[start : start + chunk])
        for start in range(0, len(inputs), chunk)
    ]
    return list(chain.from_iterable(trip.result() for trip in trips))


def one_trip(function: Callable[[T], R], inputs: Sequence[T]) -> list[R | Exception]:
    """Do what one process gets to do at once."""
    return [outcome(function, given) for given in inputs]


def outcome(function: Callable[[T], R], given: T) -> R | Exception:
    """Give a result, or the error instead."""
    try:
        return function(given)
    except Exception as error:  # noqa: BLE001 - a value, so that it costs its neighbours nothing
        return error


def is_prime(number: int) -> bool:
    """Do some work in pure Python."""
    if number < 2:
        raise ValueError(f"{number} is below 2")
    return all(number % divisor for divisor in range(2, isqrt(number) + 1))


def trap(pool: ProcessPoolExecutor, inputs: Sequence[int]) -> int:
    """Lose a whole chunk to one error: `map` sends it back instead of the results."""
    got = []
    try:
        for result in pool.map(is_prime, inputs, chunksize=10):
            got.append(result)  # noqa: PERF402
    except ValueError:
        pass
    return len(got)


if __name__ == "__main__":
    numbers = [*range(2, 27), 1, *range(28, 42)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = parallel_map(pool, is_prime, numbers, chunk=10)
        primes = [n for n, is_one in zip(numbers, found, strict=True) if is_one is True]
        print("primes:", primes)
        print("errors:", [str(one) for one in found if isinstance(one, Exception)])
        print("results:", len(found), "of", len(numbers))
        print("trap: map gave", trap(pool, numbers), "results, and an error")
