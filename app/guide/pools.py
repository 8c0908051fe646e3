"""Pools of processes that never outlive the one that measures."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from app.orphans import die_with_parent


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def process_pool(
    workers: int, prepare: Callable[..., Any] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Start so many processes, by `spawn` as this service does, each ready for work.

    Args:
        workers: how many.
        prepare: called in each before any work, such as an import; it pickles.
        arguments: of `prepare`.
    """
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(workers)
    initial = (os.getpid(), barrier, prepare, arguments)
    pool = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_begin, initargs=initial)
    try:
        wait([pool.submit(os.getpid) for _ in range(workers)])
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(
    parent_pid: int, barrier: Any, prepare: Callable[..., Any] | None, arguments: tuple[Any, ...]
) -> None:
    die_with_parent(parent_pid)
    if prepare is not None:
        prepare(*arguments)
    barrier.wait(60)


def chunks(items: list[Any], size: int) -> list[list[Any]]:
    """Cut a list into pieces of `size`; the last may be shorter."""
    return [items[at : at + size] for at in range(0, len(items), size)]
