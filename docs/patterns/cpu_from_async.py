"""CPU work from async code: one process pool, `run_in_executor`, and `gather`."""

import asyncio
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def heavy_computation(n: int) -> int:
    """Add up squares in pure Python: a thread would hold up the event loop with it."""
    return sum(i * i for i in range(n))


async def compute_all(pool: ProcessPoolExecutor, sizes: list[int]) -> list[int]:
    """Have each computed in a process, while the event loop goes on."""
    loop = asyncio.get_running_loop()
    return await asyncio.gather(*(loop.run_in_executor(pool, heavy_computation, n) for n in sizes))


def leave_a_mark(began: str, ended: str) -> None:
    """Take a while, and say so before and after."""
    Path(began).touch()
    time.sleep(0.2)
    Path(ended).touch()


async def trap(pool: ProcessPoolExecutor, folder: Path) -> bool:
    """Cancel the await; tells whether the work went on, and kept its process, all the same."""
    loop = asyncio.get_running_loop()
    began, ended = folder / "began", folder / "ended"
    running = asyncio.ensure_future(
        loop.run_in_executor(pool, leave_a_mark, str(began), str(ended))
    )
    while not began.exists():
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await loop.run_in_executor(pool, heavy_computation, 1)  # waits behind it
    return running.cancelled() and ended.exists()


async def main() -> None:
    spawn = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=spawn) as pool,
        tempfile.TemporaryDirectory() as folder,
    ):
        print("sums:", await compute_all(pool, [10, 100, 1000]))
        print("trap: cancelled, and done to its end:", await trap(pool, Path(folder)))


if __name__ == "__main__":
    asyncio.run(main())
