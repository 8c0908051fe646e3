"""Large bodies: uploads, gzip and pictures, beside who does only that."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks import contest, corpus, exchanges, load, processes, services
from benchmarks.bench import Bench
from benchmarks.cases import pictures
from benchmarks.contest import BARE, NAIVE, OURS, Contest, Measured, Run, held, loaded, served
from benchmarks.exchanges import Exchange, checked, checked_results
from benchmarks.peers import bare, servers, tools
from benchmarks.wire import Connection, Response, Upload

UPLOADS, GZIP = "64 MiB uploaded", "64 MiB gzip fast, 4 in flight"
PHOTOGRAPHS, SNAPSHOTS = "12 MP to 800x600", "2 MP to 400x300, 16 in flight"
IN_FLIGHT = (4, 16)
IPX, IGZIP = servers.IPX_SERVER.name, tools.IGZIP.name
MISSING = "it is not installed"


def uploads(bench: Bench) -> Iterator[Contest]:
    data = corpus.logs(bench.size(64 << 20, 2 << 20))
    count = bench.size(8, 2)
    make = exchanges.marked(Upload("application/octet-stream", (data,)))

    def put(target: str, status: int) -> Exchange:
        async def exchange(connection: Connection, _: int) -> Response:
            sent = await connection.request("PUT", target, make(), keep=True)
            return checked(sent, status)

        return exchange

    with services.naive(bench.folder) as naive, services.offload(bench) as offload:
        ways = {BARE: (naive, put("/count", 200)), OURS: (offload, put("/v1/files/a.log", 201))}
        runs = {}
        for name, (service, exchange) in ways.items():
            load.run(service.port, exchange, 1, count=1)
            runs[name] = _synced(loaded(service, exchange, 1, count=count))
        yield held(bench, UPLOADS, runs)


def gzip_fast(bench: Bench) -> Iterator[Contest]:
    data = corpus.logs(bench.size(64 << 20, 2 << 20))
    seconds = bench.size(4.0, 0.3)
    source = bench.folder / "to-gzip"
    source.write_bytes(data)
    door, missing = "/v1/compress?format=gzip&level=fast", {}
    with services.offload(bench) as offload:
        kept = exchanges.offload(door, [data], "a", keep=True)
        checked_results(offload.port, kept, gzip.decompress, [data])
        runs: dict[str, Run] = {}
        if tools.IGZIP.installed:
            task = tools.compressing(tools.IGZIP, source, bench.folder)
            theirs = partial(load.run_here, task, 4, seconds=seconds)
            runs[IGZIP] = partial(contest.beside, processes.cpu_of_children, theirs)
        else:
            missing[IGZIP] = MISSING
        put = exchanges.put(door, [data], "a")
        runs[OURS] = _synced(loaded(offload, put, 4, seconds=seconds))
        yield held(bench, GZIP, runs, missing)


def _synced(run: Run) -> Run:
    """Let nobody wait for what another has written."""

    def synced() -> Measured:
        os.sync()
        return run()

    return synced


def photographs(bench: Bench) -> Iterator[Contest]:
    originals = corpus.photographs(*bench.size((12, 4000, 3000), (1, 1600, 1200)))
    paths = pictures.written(bench.folder / "photographs", originals, ".jpg")
    seconds, expected = bench.size(4.0, 0.5), ("JPEG", (800, 600))
    missing = {} if servers.IPX_SERVER.installed() else {IPX: MISSING}
    with ExitStack() as stack:
        task = stack.enter_context(bare.pooled(bare.by_pyvips, paths, bench.folder / "pyvips"))
        offload = stack.enter_context(services.offload(bench))
        ways = {OURS: (offload, partial(exchanges.offload, pictures.JPEG_DOOR, originals, "a.jpg"))}
        if not missing:
            ipx = stack.enter_context(servers.IPX_SERVER.start(bench.folder, paths[0].parent))
            targets = [servers.IPX_SERVER.target.format(path.name) for path in paths]
            ways[IPX] = (ipx, partial(exchanges.get, targets))
        looks = {name: partial(processes.cpu, service.pid) for name, (service, _) in ways.items()}
        puts = {
            name: pictures.served(service, make, len(paths), expected, seconds)[0]
            for name, (service, make) in ways.items()
        }
        looks[pictures.BARE_PYVIPS] = processes.cpu_of_children
        puts[pictures.BARE_PYVIPS] = partial(load.run_here, task, seconds=seconds)
        for clients in IN_FLIGHT:
            runs = {
                name: partial(contest.beside, looks[name], partial(put, clients))
                for name, put in puts.items()
            }
            yield held(bench, f"{PHOTOGRAPHS}, {clients} in flight", runs, missing)


def snapshots(bench: Bench) -> Iterator[Contest]:
    originals = corpus.photographs(*bench.size((12, 1632, 1224), (1, 816, 612)))
    seconds, expected = bench.size(4.0, 0.5), ("JPEG", (400, 300))
    with services.naive(bench.folder) as naive, services.offload(bench) as offload:
        theirs = partial(exchanges.naive, "/thumbnail?width=400&height=300", originals, "a.jpg")
        ours = partial(exchanges.offload, pictures.SMALL_DOOR, originals, "a.jpg")
        runs = {}
        for name, service, make in ((NAIVE, naive, theirs), (OURS, offload, ours)):
            put, _ = pictures.served(service, make, len(originals), expected, seconds)
            runs[name] = served(service, partial(put, 16))
        yield held(bench, SNAPSHOTS, runs)
