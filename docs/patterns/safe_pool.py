"""A process pool for work that one does not trust: errors are values, a dead child is known."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

SPAWN = multiprocessing.get_context("spawn")


@dataclass
class Failed:
    """Why there is no result, in words: text always pickles."""

    kind: str
    said: str


def new_pool() -> ProcessPoolExecutor:
    """Start one whose children deal with no signals and share nothing with this process."""
    return ProcessPoolExecutor(1, mp_context=SPAWN, initializer=prepare)


def prepare() -> None:
    """Make a child deaf to Ctrl-C, which a terminal sends to all: its parent ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def guarded(function: Callable[..., Any], *args: Any) -> Any:
    """Run in the child: whatever is raised comes back as a value."""
    try:
        return function(*args)
    except BaseException as error:  # noqa: BLE001 - SystemExit must not cross either
        return Failed(type(error).__name__, str(error))


class Odd(Exception):
    """Pickles, and cannot be read: its arguments are not what it was made of."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")


def raises() -> None:
    """Fail in a way that crosses no pipe."""
    raise Odd(7, "no")


def dies() -> None:
    """Crash, as a library in C may."""
    os.kill(os.getpid(), signal.SIGKILL)


def trap_unreadable() -> str:
    """Let the error cross by itself; gives what becomes of work that had nothing to do with it."""
    with new_pool() as pool:
        first, neighbour = pool.submit(raises), pool.submit(pow, 2, 10)
        first.exception()
        return type(neighbour.exception()).__name__


def trap_fork() -> bool:
    """Fork while another thread holds a lock; tells whether the child ever gets it."""
    lock = threading.Lock()
    with lock:  # as any thread may, of logging or of a library, in that moment
        fork = multiprocessing.get_context("fork")
        child = fork.Process(target=lambda: os._exit(int(lock.acquire(timeout=0.1))))
        child.start()
    child.join()
    return child.exitcode == 1


if __name__ == "__main__":
    with new_pool() as pool:
        print("a failure:", pool.submit(guarded, raises).result())
        print("its neighbour:", pool.submit(guarded, pow, 2, 10).result())
    with new_pool() as pool:
        error = pool.submit(guarded, dies).exception()
        print("a death is told:", isinstance(error, BrokenProcessPool))
    with new_pool() as pool:  # a broken one is of no use to anybody
        print("in a new one:", pool.submit(guarded, pow, 2, 10).result())
    print("trap: its neighbour ends with", trap_unreadable())
    print("trap: a forked child gets a lock that its parent has let go:", trap_fork())
