"""1 GB of pictures: one by one, threads, processes; chunks; bytes and paths; how many processes."""

from __future__ import annotations

import io
import threading
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
MOST_TURNS = 16
"""Of all sizes, that each worker does in a round."""
LIGHT = 2
"""The place in `SIZES_PX` of the picture with which numbers of processes are raced."""
FEWEST_EACH, MOST_EACH = 4, 32
"""Of those pictures, for each process in a round."""
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
    turn = photographs(bench.folder, 1 if bench.short else len(SIZES_PX))
    turn_s = _seconds(turn)
    # In a round four contenders do as many turns on each core, and one does 16 pictures.
    turns = how_many(turn_s, 4 + max(CHUNKS) / len(turn), bench.left_s * 0.5, 1, MOST_TURNS)
    each = turn * turns
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(cores()))
        processes = stack.enter_context(process_pool(cores(), Image.init))
        bench.race(_ways(each, 1 if bench.tiny else cores(), threads, processes), 0.6)
        if bench.room_for(2 * _size_bytes(each) * cores(), "bytes over the pipe"):
            bench.race(_over_the_pipe(each * cores(), processes), 0.4)
    _race_workers(bench, turn[LIGHT % len(turn)])


def _seconds(paths: list[Path]) -> float:
    began_s = time.perf_counter()
    _paths(paths)
    return time.perf_counter() - began_s


def _ways(each: list[Path], workers: int, threads: Executor, processes: Executor) -> Case:
    """Have each worker do these pictures, or a whole trip if that is more of them.

    So that no contender is slow because there is too little for all of its workers.
    """

    def chunked(size: int) -> Contender:
        turns = -(-size // len(each))
        paths = each * turns * workers
        return Contender(f"processes, {size} a trip", partial(_timed, processes, paths, size))

    return Case(
        key=WAYS_KEY,
        title="Pictures made small",
        work=f"{_named(each)}, each into {BOX_PX[0]}x{BOX_PX[1]} with Pillow: one by one, or as "
        f"many times over as there are workers, {cores()} threads or processes; with 16 a trip "
        "more often, so that each has its trip.",
        figures=[PER_S],
        contenders=[
            Contender("one by one", partial(_rate, each, partial(_paths, each))),
            Contender("threads", partial(_timed, threads, each * workers, 1)),
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


def _race_workers(bench: Bench, path: Path) -> None:
    """Race numbers of processes; each pool lives as long as all, idle while another works.

    Each has as many pictures as make a round of it take as long as those of the others.
    """
    more = set() if bench.tiny else {max(1, cores() // 2), cores() + 1, 2 * cores()}
    counts = sorted({1, cores(), *more})
    if not bench.room_for(PICTURE_BYTES * sum(counts), "how many processes"):
        return
    from PIL import Image

    with ExitStack() as stack:
        bench.say("Starting the processes")
        pools = {n: stack.enter_context(process_pool(n, Image.init)) for n in counts}
        crowds = sum(n / min(n, cores()) for n in counts)
        fewest = 1 if bench.tiny else FEWEST_EACH
        each = how_many(_seconds([path]), crowds, bench.left_s, fewest, MOST_EACH)
        case = Case(
            key=SWEEP_KEY,
            title="How many processes",
            work=f"{each} times a JPEG of {_size_bytes([path]) / 1e6:.1f} MB for each process, a "
            f"picture a trip, on {cores()} cores.",
            figures=[PER_S],
            contenders=[
                Contender(str(n), partial(_timed, pool, [path] * each * n, 1))
                for n, pool in pools.items()
            ],
        )
        bench.race(case)


def _named(paths: list[Path]) -> str:
    sizes = "2" if len(set(paths)) == 1 else "2 to 12"
    return f"{len(paths)} JPEGs of {sizes} megapixels, {_size_bytes(paths) / 1e6:.0f} MB"


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
    return path.with_suffix(f".{threading.get_native_id()}.jpg")


def _shrunk(jpeg: bytes) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(jpeg)) as picture:
        picture.thumbnail(BOX_PX)
        picture.save(out, "JPEG", quality=80)
    return out.getvalue()
