"""Pictures made smaller, beside the bare library and other people's image servers.

Ours receives each picture, stores it and its result, and answers with the result; the servers read
the picture from a folder and keep nothing, and the bare libraries go from file to file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import mean, median

from PIL import Image

from benchmarks import corpus, exchanges, load, services
from benchmarks.bench import Bench, Table, unmeasured, verdict
from benchmarks.cases import child_memory
from benchmarks.exchanges import Exchange
from benchmarks.peers import bare, servers
from benchmarks.race import Raced, Run, raced
from benchmarks.services import Service
from benchmarks.wire import Connection

JPEG_DOOR = "/v1/images?width=800&height=600&quality=80"
PNG_DOOR = "/v1/images?width=800&height=600"
SMALL_DOOR = "/v1/images?width=400&height=300&quality=80"
CLIENTS = (1, 4, 16)
BUSY = (4, 16)
"""Where both cores have work, and so where the requirements hold or do not."""
OURS = "Offload"
BARE_PYVIPS = f"bare pyvips, {bare.PROCESSES} processes"
BARE_PILLOW = f"bare Pillow, {bare.PROCESSES} processes"
NAIVE = "naive"
EQUAL_SIZE = 1.02
"""Results up to so many times as heavy are of equal size."""

COLUMNS = ("service", "images/s", "ours to it", "p50 ms", "p99 ms", "KB", "client cores", "spread")

Make = Callable[..., Exchange]
"""Makes the exchange; told `keep=True`, one whose answers keep their bodies."""


def run(bench: Bench) -> list[Table]:
    with services.offload(bench) as offload:
        tables = [_jpegs(bench, offload), _pngs(bench, offload), _small(bench, offload)]
    return [*tables, _memory(bench)]


def _jpegs(bench: Bench, offload: Service) -> Table:
    pictures = corpus.photographs(bench.size(12, 2))
    paths = written(bench.folder / "jpegs", pictures, ".jpg")
    seconds = bench.size(10.0, 0.5)
    required = {BARE_PYVIPS: 0.8}
    missing = {}
    with ExitStack() as stack:
        task = stack.enter_context(bare.pooled(bare.by_pyvips, paths, bench.folder / "by-pyvips"))
        runs: dict[str, Run] = {BARE_PYVIPS: partial(load.run_here, task, seconds=seconds)}
        sizes = {BARE_PYVIPS: _sizes(_read(bench.folder / "by-pyvips", paths), "JPEG", (800, 600))}
        for server, least in ((servers.THUMBOR, 1.5), (servers.IPX_SERVER, 0.9)):
            required[server.name] = least
            if not server.installed():
                missing[server.name] = f"{server.program} is not installed"
                continue
            service = stack.enter_context(server.start(bench.folder, paths[0].parent))
            targets = [server.target.format(path.name) for path in paths]
            run, sizes[server.name] = served(
                service, partial(exchanges.get, targets), len(paths), ("JPEG", (800, 600)), seconds
            )
            runs[server.name] = run
        make = partial(exchanges.offload, JPEG_DOOR, pictures, "a.jpg")
        runs[OURS], sizes[OURS] = served(offload, make, len(paths), ("JPEG", (800, 600)), seconds)
        race = raced(bench, runs, CLIENTS, "12 MP JPEG")
    title = f"pictures: {len(paths)} JPEGs of 4000x3000, {_weight(pictures)}, to 800x600 JPEG q80"
    notes = [
        unmeasured(_requirement(name, least), missing[name])
        if name in missing
        else _verdict(race, name, least)
        for name, least in required.items()
    ]
    rows = _rows(race, sizes) + [[why, *[""] * (len(COLUMNS) - 1)] for why in missing.values()]
    return Table(title, COLUMNS, rows, notes)


def _pngs(bench: Bench, offload: Service) -> Table:
    pictures = corpus.pngs(*bench.size((2, 6), (1, 1)))
    paths = written(bench.folder / "pngs", pictures, ".png")
    seconds = bench.size(10.0, 0.5)
    folder = bench.folder / "by-pillow"
    with bare.pooled(bare.by_pillow, paths, folder) as task:
        sizes = {BARE_PILLOW: _sizes(_read(folder, paths), "PNG", None)}
        make = partial(exchanges.offload, PNG_DOOR, pictures, "a.png")
        ours, sizes[OURS] = served(offload, make, len(paths), ("PNG", None), seconds)
        runs: dict[str, Run] = {
            BARE_PILLOW: partial(load.run_here, task, seconds=seconds),
            OURS: ours,
        }
        race = raced(bench, runs, CLIENTS, "PNG")
    heavier = sum(sizes[OURS]) / sum(sizes[BARE_PILLOW])
    kinds = "PNGs of photographs and screens"
    title = f"pictures: {len(paths)} {kinds}, {_weight(pictures)}, into 800x600 PNG"
    note = _verdict(
        race,
        BARE_PILLOW,
        2.0,
        f" at an equal size (up to {EQUAL_SIZE:g}x)",
        f"; {heavier:.3f}x the size",
        also=heavier <= EQUAL_SIZE,
    )
    return Table(title, COLUMNS, _rows(race, sizes), [note])


def _small(bench: Bench, offload: Service) -> Table:
    pictures = corpus.photographs(bench.size(12, 2), 1632, 1224)
    seconds = bench.size(10.0, 0.5)
    expected = ("JPEG", (400, 300))
    with services.naive(bench.folder) as naive:
        theirs = partial(exchanges.naive, "/thumbnail?width=400&height=300", pictures, "a.jpg")
        ours = partial(exchanges.offload, SMALL_DOOR, pictures, "a.jpg")
        runs: dict[str, Run] = {}
        sizes = {}
        for name, service, make in ((NAIVE, naive, theirs), (OURS, offload, ours)):
            runs[name], sizes[name] = served(service, make, len(pictures), expected, seconds)
        race = raced(bench, runs, CLIENTS, "2 MP JPEG")
    count, weight = len(pictures), _weight(pictures)
    title = f"pictures: {count} JPEGs of 1632x1224, {weight}, to 400x300 JPEG q80"
    return Table(title, COLUMNS, _rows(race, sizes), [_verdict(race, NAIVE, 1.0)])


def _memory(bench: Bench) -> Table:
    pictures = corpus.photographs(bench.size(12, 2))
    exchange = exchanges.offload(JPEG_DOOR, pictures, "a.jpg")
    many = bench.size(48, 4)
    return child_memory.of_pictures(
        bench,
        {
            "one JPEG of 12 MP": (exchange, 1, 1),
            f"{many} JPEGs of 12 MP, 4 in flight": (exchange, 4, many),
        },
    )


def written(folder: Path, pictures: Sequence[bytes], suffix: str) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{number}{suffix}" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(picture)
    return paths


def _read(folder: Path, paths: Sequence[Path]) -> list[bytes]:
    return [(folder / path.name).read_bytes() for path in paths]


def served(
    service: Service,
    make: Make,
    count: int,
    expected: tuple[str, tuple[int, int] | None],
    seconds: float,
) -> tuple[Run, list[int]]:
    """Get each picture once, also to warm up; give the run, and the sizes of what came back."""

    async def each() -> list[bytes]:
        kept = make(keep=True)
        async with Connection(service.port) as connection:
            return [(await kept(connection, number)).body for number in range(count)]

    sizes = _sizes(asyncio.run(each()), *expected)
    return partial(load.run, service.port, make(), seconds=seconds), sizes


def _sizes(bodies: Sequence[bytes], expected: str, pixels: tuple[int, int] | None) -> list[int]:
    """Look at what came back; without `pixels`, it must fill 800x600 in one direction."""
    for body in bodies:
        with Image.open(BytesIO(body)) as picture:
            picture.load()
            width, height = picture.size
            fits = picture.size == pixels if pixels else width == 800 or height == 600
            if picture.format != expected or not fits:
                raise RuntimeError(f"Got {picture.format} of {picture.size}.")
    return [len(body) for body in bodies]


def _weight(pictures: Sequence[bytes]) -> str:
    return f"{min(map(len, pictures)) / 1e6:.1f} to {max(map(len, pictures)) / 1e6:.1f} MB"


def _rows(race: Raced, sizes: Mapping[str, Sequence[int]]) -> list[list[str]]:
    return [
        [
            f"{name}, {count} in flight",
            f"{median(race.rates(name, count)):.1f}",
            "" if name == OURS else f"{race.gain(OURS, name, count):.2f}x",
            f"{race.p50_ms(name, count):.0f}",
            f"{race.p99_ms(name, count):.0f}",
            f"{mean(sizes[name]) / 1e3:.0f}",
            f"{race.client_cores(name, count):.2f}",
            f"{race.spread(name, count):.0%}",
        ]
        for count in race.loads
        for name in race.loads[count]
    ]


def _requirement(name: str, least: float, besides: str = "") -> str:
    busy = " and ".join(map(str, BUSY))
    return f"at least {least:g}x {name}{besides}, with {busy} in flight"


def _verdict(
    race: Raced,
    name: str,
    least: float,
    besides: str = "",
    measured: str = "",
    *,
    also: bool = True,
) -> str:
    gains = {count: race.gain(OURS, name, count) for count in race.loads}
    said = ", ".join(f"{gain:.2f}x with {count} in flight" for count, gain in gains.items())
    met = also and all(gains[count] >= least for count in BUSY)
    return verdict(_requirement(name, least, besides), said + measured, met=met)
