"""Compression: zlib, zlib-ng and zstd, of one large file and of many small ones."""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from zlib_ng import zlib_ng

from app.guide.bench import Bench
from app.guide.pools import chunks, cores, process_pool
from app.guide.race import Case, Contender, Figure, Sample, how_many, timed
from app.guide.samples import log_text

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1 << 20
BLOCK_BYTES = MIB
SMALL_BYTES = 8_000
TOGETHER = 64
"""Small files in one trip to a process."""
MOST_MIB = 128
PER_S = Figure("mb_per_s", "input compressed in a second", "MB/s", "more")
GZIP = 31
"""`wbits` of a gzip member: members after each other are one gzip file."""


def with_zlib(data: bytes) -> bytes:
    """Compress."""
    return zlib.compress(data, 6, GZIP)


def with_zlib_ng(data: bytes) -> bytes:
    """Compress."""
    return zlib_ng.compress(data, 6, GZIP)


def with_zstd(data: bytes) -> bytes:
    """Compress."""
    return zstd.compress(data, 3)


Codec = Callable[[bytes], bytes]
CODECS: dict[str, Codec] = {"zlib": with_zlib, "zlib-ng": with_zlib_ng, "zstd": with_zstd}
LEVELS = {"zlib": "level 6", "zlib-ng": "level 6", "zstd": "level 3"}


def all_with(codec: Codec, files: list[bytes]) -> list[bytes]:
    """Compress files, each by itself."""
    return list(map(codec, files))


def measure(bench: Bench) -> None:
    """Race each codec on one large file, then on many small ones."""
    bench.say("Making the files")
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(cores()))
        processes = stack.enter_context(process_pool(cores(), _prepare))
        for number, (name, codec) in enumerate(CODECS.items()):
            budget_s = bench.left_s / (2 * (len(CODECS) - number))
            size = how_many(_mib_s(codec), 1 + 3 / cores(), budget_s, max(2, cores()), MOST_MIB)
            # The file, its copies on the way to processes, and what they make of it.
            if bench.room_for(4 * size * MIB, f"one large file with {name}"):
                case = _large(name, codec, log_text(size * MIB), threads, processes)
                bench.race(case, 1 / (2 * (len(CODECS) - number)))
            # A trip for each worker at least, or some would have nothing to do.
            trips = max(1, size * MIB // 2 // (TOGETHER * SMALL_BYTES * cores())) * cores()
            files = chunks_of(log_text(trips * TOGETHER * SMALL_BYTES), SMALL_BYTES)
            case = _small(name, codec, files, threads, processes)
            bench.race(case, 1 / (2 * (len(CODECS) - number) - 1))


def _prepare() -> None:
    """Have a process import this module before it is timed."""


def _mib_s(codec: Codec) -> float:
    """Give the seconds that one MiB takes."""
    sample = log_text(MIB)
    began_s = time.perf_counter()
    codec(sample)
    return time.perf_counter() - began_s


def chunks_of(data: bytes, size: int) -> list[bytes]:
    """Cut bytes into pieces of `size`; the last may be shorter."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def _large(name: str, codec: Codec, data: bytes, threads: Executor, processes: Executor) -> Case:
    def blocks(executor: Executor) -> object:
        return list(executor.map(codec, chunks_of(data, BLOCK_BYTES)))

    ways: dict[str, Callable[[], object]] = {
        "in one piece": partial(codec, data),
        "blocks in threads": partial(blocks, threads),
        "blocks in processes": partial(blocks, processes),
    }
    if name == "zstd":
        ways["its own threads"] = partial(_own_threads, data)
    return Case(
        key=f"large-{name}",
        title=f"One large file with {name}",
        work=f"{len(data) // MIB} MiB of a log, {LEVELS[name]}; blocks of {BLOCK_BYTES // MIB} "
        f"MiB, each a stream of its own, by {cores()} workers.",
        figures=[PER_S],
        contenders=_contenders(ways, len(data)),
        recommended=["blocks in threads", "its own threads"],
    )


def _small(
    name: str, codec: Codec, files: list[bytes], threads: Executor, processes: Executor
) -> Case:
    together = chunks(files, TOGETHER)
    each = partial(all_with, codec)
    ways: dict[str, Callable[[], object]] = {
        "one by one": partial(each, files),
        "threads, a file each": lambda: list(threads.map(codec, files)),
        f"threads, {TOGETHER} each": lambda: list(threads.map(each, together)),
        "processes, a file a trip": lambda: list(processes.map(codec, files)),
        f"processes, {TOGETHER} a trip": lambda: list(processes.map(each, together)),
    }
    return Case(
        key=f"small-{name}",
        title=f"Many small files with {name}",
        work=f"{len(files)} files of {SMALL_BYTES // 1000} kB, {LEVELS[name]}, by {cores()} "
        "workers.",
        figures=[PER_S],
        contenders=_contenders(ways, sum(map(len, files))),
        recommended=[f"threads, {TOGETHER} each", f"processes, {TOGETHER} a trip"],
    )


def _contenders(ways: dict[str, Callable[[], object]], size_bytes: int) -> list[Contender]:
    def rate(work: Callable[[], object]) -> Sample:
        return {PER_S.key: size_bytes / 1e6 / (timed(work)()["ms"] / 1000)}

    return [Contender(name, partial(rate, work)) for name, work in ways.items()]


def _own_threads(data: bytes) -> bytes:
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: 3,
        zstd.CompressionParameter.nb_workers: cores(),
    }
    return zstd.ZstdCompressor(options=options).compress(data, zstd.ZstdCompressor.FLUSH_FRAME)
