"""Each codec beside the tool that people use for it, on the same files and the same two cores.

Ours has more to do: the file comes in over HTTP, is hashed and synced, the job is recorded, and so
is the result. The tool reads a file that lies in memory already and leaves its result unsynced.
"""

from __future__ import annotations

import asyncio
import bz2
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import corpus, exchanges, load, services
from benchmarks.bench import Bench, Table, unmeasured, verdict
from benchmarks.cases import child_memory
from benchmarks.peers import tools
from benchmarks.peers.tools import Tool
from benchmarks.race import Raced, Run, raced
from benchmarks.services import Service
from benchmarks.wire import Connection

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MB = 1e6
MANY = 4


@dataclass(frozen=True, slots=True)
class Pair:
    """One of our settings and the tool that it is held against."""

    format: str
    level: str
    tool: Tool
    required: float | None = None
    """How many times as fast as the tool it must be, with one file at a time."""
    dense: bool = False
    """Whether it must also compress at least as well."""

    @property
    def ours(self) -> str:
        """Our name in the tables."""
        return f"Offload, {self.format} {self.level}"

    @property
    def path(self) -> str:
        """Our door, with the setting."""
        return f"/v1/compress?format={self.format}&level={self.level}"

    @property
    def requirement(self) -> str:
        """What must hold."""
        dense = " at its ratio or better" if self.dense else ""
        return f"{self.format} {self.level} at least {self.required:g}x {self.tool.name}{dense}"


REQUIRED = (
    Pair("gzip", "balanced", tools.PIGZ_6, 1.2, dense=True),
    Pair("gzip", "best", tools.PIGZ_9, 1.8, dense=True),
    Pair("gzip", "fast", tools.IGZIP, 0.5),
    Pair("zstd", "balanced", tools.ZSTD, 0.8),
    Pair("zlib", "9", tools.STDLIB_ZLIB, 3.0),
)
OTHERS = (
    Pair("xz", "6", tools.XZ),
    Pair("bz2", "9", tools.BZIP2),
    Pair("bz2", "9", tools.LBZIP2),
    Pair("lz4", "1", tools.LZ4),
    Pair("br", "5", tools.BROTLI),
)
MEMORY = (
    *("format=gzip&level=balanced", "format=gzip&level=best", "format=gzip&level=fast"),
    *("format=zstd&level=balanced", "format=zlib&level=9", "format=xz&level=6"),
    *("format=bz2&level=9", "format=lz4&level=1", "format=br&level=5"),
)

_DECODED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zlib": zlib.decompress,
    "zstd": zstd.decompress,
    "xz": lzma.decompress,
    "bz2": bz2.decompress,
    "lz4": partial(tools.decompressed, tools.LZ4),
    "br": partial(tools.decompressed, tools.BROTLI),
}


@dataclass(frozen=True, slots=True)
class Input:
    """A file, as the tools read it and as we are sent it."""

    kind: str
    path: Path
    data: bytes

    @property
    def size_mb(self) -> float:
        """Its size, in 10^6 bytes."""
        return len(self.data) / MB


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pair came to: ratios of input to output, and speeds."""

    pair: Pair
    our_ratio: float
    their_ratio: float | None
    """None: the tool is missing."""
    race: Raced


def run(bench: Bench) -> list[Table]:
    return _beside(bench, REQUIRED, bench.size(64 << 20, 2 << 20), (1, MANY))


def others(bench: Bench) -> list[Table]:
    return _beside(bench, OTHERS, bench.size(32 << 20, 1 << 20), (1, 2))


def memory(bench: Bench) -> list[Table]:
    return [_memory(bench)]


def _beside(
    bench: Bench, pairs: Sequence[Pair], size_bytes: int, in_flight: tuple[int, int]
) -> list[Table]:
    tables = []
    with services.offload(bench) as offload:
        for kind, generate in (("logs", corpus.logs), ("text", corpus.source_text)):
            given = _written(bench, kind, generate(size_bytes))
            tables.append(_table(bench, offload, given, pairs, in_flight))
    return tables


def _written(bench: Bench, kind: str, data: bytes) -> Input:
    path = bench.folder / f"{kind}-{len(data)}"
    path.write_bytes(data)
    return Input(kind, path, data)


def _table(
    bench: Bench, offload: Service, given: Input, pairs: Sequence[Pair], clients: Sequence[int]
) -> Table:
    outcomes = [
        _outcome(bench, offload, given, pair, clients)
        for pair in pairs
        # Nothing else here can tell whether these two decompress to what was sent.
        if pair.tool.installed or pair.format not in ("lz4", "br")
    ]
    rows = [row for outcome in outcomes for row in _rows(outcome, given, clients)]
    rows += [
        [f"{pair.tool.name} and {pair.ours}: {pair.tool.program} is not installed"]
        + [""] * (len(rows[0]) - 1)
        for pair in pairs
        if pair not in [outcome.pair for outcome in outcomes]
    ]
    columns = ["service or tool", "input / output", "required"]
    for count in clients:
        columns += [f"MB/s, {count} in flight", "to the tool", "p50 s", "spread", "client cores"]
    title = f"codecs: {len(given.data) >> 20} MiB of {given.kind}, uploaded, compressed, stored"
    return Table(title, columns, rows, [verdict_of(one) for one in outcomes if one.pair.required])


def _outcome(
    bench: Bench, offload: Service, given: Input, pair: Pair, clients: Sequence[int]
) -> Outcome:
    seconds = bench.size(4.0, 0.2)
    exchange = exchanges.put(pair.path, [given.data], "a")
    runs: dict[str, Run] = {}
    their_ratio = None
    if pair.tool.installed:
        their_ratio = len(given.data) / tools.result_bytes(pair.tool, given.path)
        task = tools.compressing(pair.tool, given.path, bench.folder)
        runs[pair.tool.name] = partial(load.run_here, task, seconds=seconds)
    our_ratio = len(given.data) / _verified_bytes(offload, pair, given.data)
    runs[pair.ours] = partial(load.run, offload.port, exchange, seconds=seconds)
    return Outcome(pair, our_ratio, their_ratio, raced(bench, runs, clients, given.kind))


def _verified_bytes(offload: Service, pair: Pair, data: bytes) -> int:
    """Do it once, also to warm up; give the result's size, if it decompresses to the input."""
    exchange = exchanges.offload(pair.path, [data], "a", keep=True)

    async def once() -> bytes:
        async with Connection(offload.port) as connection:
            return (await exchange(connection, 0)).body

    result = asyncio.run(once())
    if _DECODED[pair.format](result) != data:
        raise RuntimeError(f"{pair.ours}: the result does not decompress to what was sent.")
    return len(result)


def _rows(outcome: Outcome, given: Input, clients: Sequence[int]) -> list[list[str]]:
    pair, race = outcome.pair, outcome.race
    rows = []
    if outcome.their_ratio is None:
        rows.append([f"{pair.tool.name}: not installed"] + [""] * (2 + 5 * len(clients)))
    else:
        rows.append([pair.tool.name, f"{outcome.their_ratio:.3f}", ""])
        rows[-1] += _figures(race, pair.tool.name, pair.tool.name, given, clients)
    required = f"{pair.required:g}x" if pair.required else ""
    rows.append([pair.ours, f"{outcome.our_ratio:.3f}", required])
    other = None if outcome.their_ratio is None else pair.tool.name
    rows[-1] += _figures(race, pair.ours, other, given, clients)
    return rows


def _figures(
    race: Raced, name: str, other: str | None, given: Input, clients: Sequence[int]
) -> list[str]:
    cells = []
    for count in clients:
        cells += [
            f"{median(race.rates(name, count)) * given.size_mb:.1f}",
            f"{race.gain(name, other, count):.2f}x" if other else "",
            f"{race.p50_ms(name, count) / 1000:.2f}",
            f"{race.spread(name, count):.0%}",
            f"{race.client_cores(name, count):.2f}",
        ]
    return cells


def verdict_of(outcome: Outcome) -> str:
    """Say whether what is required of a pair holds."""
    pair, race = outcome.pair, outcome.race
    if outcome.their_ratio is None:
        return unmeasured(pair.requirement, f"{pair.tool.program} is not installed")
    gains = {count: race.gain(pair.ours, pair.tool.name, count) for count in race.loads}
    said = [f"{gain:.2f}x with {count} in flight" for count, gain in gains.items()]
    # To the third decimal, as shown: a ratio that differs in the fourth is the same.
    ratios = round(outcome.our_ratio, 3), round(outcome.their_ratio, 3)
    fast = gains[1] >= (pair.required or 0)
    measured = f"{', '.join(said)}, ratio {ratios[0]:.3f} to {ratios[1]:.3f}"
    met = fast and (ratios[0] >= ratios[1] or not pair.dense)
    return verdict(f"{pair.requirement}, one file at a time", measured, met=met)


def _memory(bench: Bench) -> Table:
    sizes = [bench.size(full << 20, quick << 20) for full, quick in ((16, 1), (64, 2), (256, 4))]
    logs = corpus.logs(max(sizes))
    settings = bench.size(MEMORY, MEMORY[::4])
    return child_memory.of_codecs(bench, settings, {size: logs[:size] for size in sizes})
