"""1 GB of pictures: one by one, threads, processes; chunks; bytes and paths; how many processes."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from app.guide.bench import Bench
from app.guide.pools import chunks, cores, process_pool
from app.guide.race import Case, Contender, Figure, Sample, how_many, timed
from app.guide.samples import SIZES_PX, photographs

BOX_PX = (800, 600)
CHUNKS = (1, 4, 16)
MOST = 96
PICTURE_BYTES = 60 << 20
"""Memory that a picture of 12 megapixels takes in one worker, decoded and with its copies."""
SWEEP_KEY, WAYS_KEY = "workers", "ways"
PER_S = Figure("mb_per_s", "JPEG read in a second", "MB/s", "more")


def measure(bench: Bench) -> None:
    """Make the pictures, and race what shrinks them."""
    from PIL import Image

    if not bench.room_for(PICTURE_BYTES * (cores() + 3), "pictures"):
        return
    Image.init()
    bench.say("Making the pictures")
    few = photographs(bench.folder, 1 if bench.tiny else len(SIZES_PX))
    began_s = time.perf_counter()
    _paths(few)
    one_s = (time.perf_counter() - began_s) / len(few)
    turns = 1 + 4 / cores()
    count = how_many(one_s, turns, bench.left_s * 0.55, 1, MOST)
    # Whole turns of all sizes.
    count = max(len(few), count // len(SIZES_PX) * len(SIZES_PX))
    paths = few if count == len(few) else photographs(bench.folder, count)
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(cores()))
        processes = stack.enter_context(process_pool(cores(), Image.init))
        bench.race(_ways(paths, threads, processes), 0.6)
        if bench.room_for(2 * _size_bytes(paths), "bytes over the pipe"):
            bench.race(_over_the_pipe(paths, processes), 0.4)
    _race_workers(bench, paths)


def _ways(paths: list[Path], threads: Executor, processes: Executor) -> Case:
    def chunked(size: int) -> Contender:
        return Contender(f"processes, {size} a trip", partial(_timed, processes, paths, size))

    return Case(
        key=WAYS_KEY,
        title="Pictures made small",
        work=f"{_named(paths)}, each into {BOX_PX[0]}x{BOX_PX[1]} with Pillow. {cores()} threads, "
        f"{cores()} processes.",
        figures=[PER_S],
        contenders=[
            Contender("one by one", partial(_rate, paths, partial(_paths, paths))),
            Contender("threads", partial(_timed, threads, paths, 1)),
            *map(chunked, CHUNKS),
        ],
        recommended=[f"processes, {size} a trip" for size in CHUNKS],
    )


def _over_the_pipe(paths: list[Path], processes: Executor) -> Case:
    return Case(
        key="pipe",
        title="Bytes or paths over the pipe",
        work=f"{_named(paths)}, in {cores()} processes, a picture a trip: paths there and back, "
        "or the bytes.",
        figures=[PER_S],
        contenders=[
            Contender("paths", partial(_timed, processes, paths, 1)),
            Contender("bytes", partial(_rate, paths, partial(_as_bytes, processes, paths))),
        ],
        recommended=["paths"],
    )


def _race_workers(bench: Bench, paths: list[Path]) -> None:
    """Race numbers of processes; each pool lives as long as all, idle while another works."""
    more = set() if bench.tiny else {max(1, cores() // 2), cores() + 1, 2 * cores()}
    counts = sorted({1, cores(), *more})
    if not bench.room_for(PICTURE_BYTES * sum(counts), "how many processes"):
        return
    from PIL import Image

    with ExitStack() as stack:
        pools = {n: stack.enter_context(process_pool(n, Image.init)) for n in counts}
        case = Case(
            key=SWEEP_KEY,
            title="How many processes",
            work=f"{_named(paths)}, a picture a trip, on {cores()} cores.",
            figures=[PER_S],
            contenders=[
                Contender(str(n), partial(_timed, pool, paths, 1)) for n, pool in pools.items()
            ],
        )
        bench.race(case)


def _named(paths: list[Path]) -> str:
    return f"{len(paths)} JPEGs of 2 to 12 megapixels, {_size_bytes(paths) / 1e6:.0f} MB"


def _size_bytes(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _timed(executor: Executor, paths: list[Path], size: int) -> Sample:
    cut: list[list[Any]] = chunks(paths, size)
    return _rate(paths, lambda: list(executor.map(_paths, cut)))


def _rate(paths: list[Path], work: Callable[[], object]) -> Sample:
    sample = timed(work)()
    return {PER_S.key: _size_bytes(paths) / 1e6 / (sample["ms"] / 1000)}


def _as_bytes(executor: Executor, paths: list[Path]) -> None:
    results = executor.map(_shrunk, map(Path.read_bytes, paths))
    for path, small in zip(paths, results, strict=True):
        _small(path).write_bytes(small)


def _paths(paths: list[Path]) -> None:
    for path in paths:
        _small(path).write_bytes(_shrunk(path.read_bytes()))


def _small(path: Path) -> Path:
    return path.with_suffix(".small.jpg")


def _shrunk(jpeg: bytes) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(jpeg)) as picture:
        picture.thumbnail(BOX_PX)
        picture.save(out, "JPEG", quality=80)
    return out.getvalue()
