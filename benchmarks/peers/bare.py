"""The libraries by themselves, in two processes: no service, no upload, no record."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.load import Task

PROCESSES = 2
KEPT = 64
"""Results that lie on disk at once; more than are ever in flight."""

Shrink = Callable[[str, str], None]
"""Makes the picture at the first path 800x600 at most, into the second."""


def by_pyvips(source: str, target: str) -> None:
    """Shrink a picture while it is decoded, one thread a process."""
    picture = _pyvips().Image.thumbnail(source, 800, height=600, size="down")
    picture.jpegsave(target, Q=80, keep="none")


@cache
def _pyvips() -> Any:
    os.environ["VIPS_CONCURRENCY"] = "1"  # read when it is loaded
    import pyvips

    pyvips.cache_set_max(0)
    return pyvips


def by_pillow(source: str, target: str) -> None:
    """Shrink a PNG as the usual recipe does, with Pillow's own settings."""
    from PIL import Image

    with Image.open(source) as picture:
        picture.thumbnail((800, 600))
        picture.save(target, "PNG")


@contextmanager
def pooled(shrink: Shrink, sources: Sequence[Path], folder: Path) -> Iterator[Task]:
    """Give the work of a closed loop: the n-th picture through a pool of two warm processes.

    The first result of each source lies in `folder` by the source's name, and stays.
    """
    paths = [str(source) for source in sources]
    again = folder / "again"
    again.mkdir(parents=True)
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        list(pool.map(shrink, paths, [str(folder / source.name) for source in sources]))

        async def once(number: int) -> None:
            source = sources[number % len(sources)]
            # A name that no picture in flight has: two processes must not write one file.
            target = again / f"{number % KEPT}-{source.name}"
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(pool, shrink, str(source), str(target))

        yield once
