"""Results as they come: the quick ones first, with a bound on what is under way."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def as_they_come(
    pool: ThreadPoolExecutor, function: Callable[[T], R], inputs: Iterable[T], in_hand: int
) -> Iterator[tuple[T, Future[R]]]:
    """Give each input with its future as that is done; at most so many are submitted meanwhile."""
    asked: dict[Future[R], T] = {}
    for given in inputs:
        asked[pool.submit(function, given)] = given
        if len(asked) >= in_hand:
            done, _ = wait(asked, return_when=FIRST_COMPLETED)
            yield from ((asked.pop(future), future) for future in done)
    for future in as_completed(asked):
        yield asked[future], future


def trap(pool: ThreadPoolExecutor, inputs: int) -> int:
    """Submit without a bound; gives how many wait in a queue that nobody sees, holding memory."""
    gate, at_work = threading.Event(), threading.Barrier(3)

    def blocked() -> None:
        if not gate.is_set():
            at_work.wait()
        gate.wait()

    futures = [pool.submit(blocked) for _ in range(inputs)]
    at_work.wait()  # both threads have begun one
    waiting = sum(not future.running() for future in futures)
    gate.set()
    return waiting


if __name__ == "__main__":
    others_are_through = threading.Event()

    def fetch(name: str) -> str:
        """Be slow, until the others have come."""
        if name == "slow":
            others_are_through.wait()
        elif name == "bad":
            raise OSError("no such host")
        return f"body of {name}"

    with ThreadPoolExecutor(2) as pool:
        for name, future in as_they_come(pool, fetch, ["slow", "quick", "bad"], in_hand=2):
            print(name, "->", future.exception() or future.result())
            if name == "bad":
                others_are_through.set()
        print("trap: of 500 that were submitted,", trap(pool, 500), "waited")
