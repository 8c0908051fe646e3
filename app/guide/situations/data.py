"""Data science: NumPy, which releases the interpreter lock, and pure Python, which does not."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from app.guide import pieces
from app.guide.bench import Bench
from app.guide.pools import cores, process_pool
from app.guide.race import Case, Contender, Figure, how_many, timed

NUMBERS = 1_000_000
COUNT = 200_000
"""Numbers whose squares one piece of pure Python sums up: some 10 ms."""
TIME = Figure("ms", "time for all pieces", "ms")
FREE_THREADED = ("python3.14t", "python3.13t")
MOST_PIECES, MOST_ARRAYS = 200, 24
PURE_KEY = "pure-python"
SERVE = (
    "import sys; from concurrent.futures import ThreadPoolExecutor; import pieces\n"
    "with ThreadPoolExecutor(int(sys.argv[1])) as pool:\n"
    "    for line in sys.stdin:\n"
    "        list(pool.map(pieces.squares, [int(sys.argv[2])] * int(line)))\n"
    "        print(flush=True)\n"
)
"""What another interpreter runs: so many pieces for each line that it is told."""


def free_threaded() -> bool:
    """Tell whether this interpreter runs without its lock."""
    enabled = getattr(sys, "_is_gil_enabled", None)
    return enabled is not None and not enabled()


def measure(bench: Bench) -> None:
    """Race pure Python, then NumPy."""
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(cores()))
        processes = stack.enter_context(process_pool(cores(), _prepare))
        interpreters = _interpreters(bench, stack)
        bench.race(_pure(bench, stack, threads, processes, interpreters), 0.5)
        arrays_bytes = 8 * NUMBERS * _arrays()
        # Here twice, on their way once, and once in each process with its sorted copy.
        if bench.room_for(4 * arrays_bytes, "NumPy"):
            bench.race(_numpy(bench, threads, processes, interpreters))


def _prepare() -> None:
    import numpy  # noqa: F401, ICN001


# -- pure Python -----------------------------------------------------------------------------------


def _pure(
    bench: Bench,
    stack: ExitStack,
    threads: Executor,
    processes: Executor,
    interpreters: Executor | None,
) -> Case:
    began_s = time.perf_counter()
    pieces.squares(COUNT)
    one_s = time.perf_counter() - began_s
    # As many for each worker: a last piece that one has to itself would be time for all.
    count = (
        how_many(one_s * cores(), 3, bench.left_s / 2, 1, max(1, MOST_PIECES // cores())) * cores()
    )
    work = [COUNT] * count

    def in_(executor: Executor) -> Callable[[], object]:
        return lambda: list(executor.map(pieces.squares, work))

    ways: dict[str, Callable[[], object]] = {
        "one by one": lambda: list(map(pieces.squares, work)),
        "threads": in_(threads),
        "processes": in_(processes),
    }
    if interpreters is not None:
        ways["subinterpreters"] = in_(interpreters)
    if (joblib := _joblib(bench)) is not None:
        ways["joblib"] = partial(joblib, pieces.squares, work)
    if (other := _other_python(bench, stack)) is not None:
        ways["threads, without the lock"] = partial(other, count)
    return Case(
        key=PURE_KEY,
        title="Pure Python: sum(i * i)",
        work=f"{count} pieces, each the sum of {COUNT:,} squares, by {cores()} workers"
        + (" of an interpreter without the lock." if free_threaded() else "."),
        figures=[TIME],
        contenders=[Contender(name, timed(way)) for name, way in ways.items()],
        recommended=["processes", "subinterpreters", "threads, without the lock", "joblib"],
    )


def _interpreters(bench: Bench, stack: ExitStack) -> Executor | None:
    made = getattr(futures, "InterpreterPoolExecutor", None)
    if made is None:
        version = f"this is Python {sys.version_info.major}.{sys.version_info.minor}"
        bench.skip("subinterpreters", f"they come with Python 3.14; {version}")
        return None
    executor: Executor = stack.enter_context(made(cores()))
    try:
        # Several at once, so that each worker has its interpreter before it is timed.
        list(executor.map(pieces.squares, [COUNT] * 2 * cores()))
    except Exception as error:  # noqa: BLE001 - what does not load in one, raises anything
        bench.skip("subinterpreters", f"the work does not load in one: {error}")
        return None
    return executor


def _joblib(bench: Bench) -> Callable[[Callable[[Any], Any], list[Any]], object] | None:
    if importlib.util.find_spec("joblib") is None:
        bench.skip("joblib", "it is not installed")
        return None
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=cores())
    return lambda function, work: parallel(delayed(function)(one) for one in work)


def _other_python(bench: Bench, stack: ExitStack) -> Callable[[int], object] | None:
    """Give what has an interpreter without the lock do so many pieces; it stays up meanwhile."""
    if free_threaded():
        bench.skip("threads, without the lock", "this interpreter has none: see threads")
        return None
    found = next(filter(None, map(shutil.which, FREE_THREADED)), None)
    if found is None:
        bench.skip(
            "threads, without the lock", f"there is no {' or '.join(FREE_THREADED)} on the PATH"
        )
        return None
    return stack.enter_context(_serving(found))


@contextmanager
def _serving(python: str) -> Iterator[Callable[[int], object]]:
    command = [python, "-c", SERVE, str(cores()), str(COUNT)]
    folder = os.fspath(Path(pieces.__file__).parent)
    with subprocess.Popen(  # noqa: S603 - an interpreter that the operator has on the PATH
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None  # noqa: S101 - pipes were asked for
        assert process.stdout is not None  # noqa: S101
        asked, answers = process.stdin, process.stdout

        def do(count: int) -> None:
            asked.write(f"{count}\n")
            asked.flush()
            if not answers.readline():
                raise OSError(f"{python} ended")

        try:
            yield do
        finally:
            process.kill()


# -- NumPy -----------------------------------------------------------------------------------------


def _arrays() -> int:
    return min(2 * cores(), MOST_ARRAYS)


def _loads(bench: Bench, interpreters: Executor, module: str) -> bool:
    try:
        interpreters.submit(pieces.load, module).result()
    except Exception as error:  # noqa: BLE001 - what does not load in one, raises anything
        said = str(error).strip().splitlines() or [type(error).__name__]
        bench.skip("NumPy in subinterpreters", f"it does not load in one: {said[-1].rstrip('.')}")
        return False
    return True


def _numpy(
    bench: Bench, threads: Executor, processes: Executor, interpreters: Executor | None
) -> Case:
    import numpy as np

    dice = np.random.default_rng(1)
    some = [dice.random(NUMBERS) for _ in range(_arrays())]
    began_s = time.perf_counter()
    pieces.quantiles(some[0])
    one_s = time.perf_counter() - began_s
    count = how_many(one_s, 3, bench.left_s, 2, MOST_ARRAYS)
    work = [some[number % len(some)] for number in range(count)]
    ways: dict[str, Callable[[], object]] = {
        "one by one": lambda: list(map(pieces.quantiles, work)),
        "threads": lambda: list(threads.map(pieces.quantiles, work)),
        "processes": lambda: list(processes.map(pieces.quantiles, work)),
    }
    if (joblib := _joblib(bench)) is not None:
        ways["joblib"] = partial(joblib, pieces.quantiles, work)
    if interpreters is not None and _loads(bench, interpreters, "numpy"):
        ways["subinterpreters"] = lambda: list(interpreters.map(pieces.quantiles, work))
    return Case(
        key="numpy",
        title="NumPy: quantiles by sorting",
        work=f"{count} arrays of {NUMBERS:,} numbers (8 MB each), by {cores()} workers; to a "
        "process an array goes over the pipe.",
        figures=[TIME],
        contenders=[Contender(name, timed(way)) for name, way in ways.items()],
        recommended=["threads"],
    )
