"""Photographs of 12 megapixels into 800 by 600."""

from __future__ import annotations

import asyncio
from functools import partial
from io import BytesIO
from statistics import median

from PIL import Image

from benchmarks import corpus, exchanges, load, services, stats
from benchmarks.bench import Bench, Table, verdict
from benchmarks.exchanges import Exchange
from benchmarks.load import Load
from benchmarks.services import Service
from benchmarks.wire import Connection

DOOR = "/v1/images?width=800&height=600&quality=80"
CLIENTS = (1, 4, 16)
REQUIRED = 1.2


def run(bench: Bench) -> list[Table]:
    photographs = corpus.photographs(bench.size(12, 2))
    naive_exchange = exchanges.naive("/thumbnail", photographs, "a.jpg")
    offload_exchange = exchanges.offload(DOOR, photographs, "a.jpg")
    seconds = bench.size(10.0, 1.0)
    with services.naive(bench.folder) as naive, services.offload(bench) as offload:
        _verify(naive, exchanges.naive("/thumbnail", photographs, "a.jpg", keep=True))
        _verify(offload, exchanges.offload(DOOR, photographs, "a.jpg", keep=True))
        results = {
            clients: bench.alternate(
                {
                    f"naive, {clients} clients": partial(
                        load.run, naive.port, naive_exchange, clients, seconds=seconds
                    ),
                    f"Offload, {clients} clients": partial(
                        load.run, offload.port, offload_exchange, clients, seconds=seconds
                    ),
                }
            )
            for clients in CLIENTS
        }
    weight = f"{min(map(len, photographs)) / 1e6:.1f} to {max(map(len, photographs)) / 1e6:.1f} MB"
    rows, notes = [], []
    for clients, found in results.items():
        theirs, ours = found.values()
        gain = stats.ratio([r.per_second for r in ours], [r.per_second for r in theirs])
        rows += [
            _row(f"naive, {clients} in flight", theirs, 1.0),
            _row(f"Offload, {clients} in flight", ours, gain),
        ]
        requirement = f"{clients} in flight, at least {REQUIRED:g}x naive"
        notes.append(verdict(requirement, f"{gain:.2f}x", met=gain >= REQUIRED))
    columns = ("service", "images/s", "to naive", "p50 ms", "p99 ms", "client cores", "spread")
    title = f"image-12mp: {len(photographs)} JPEGs of 4000x3000, {weight}, to 800x600 JPEG q80"
    return [Table(title, columns, rows, notes)]


def _verify(service: Service, exchange: Exchange) -> None:
    """Do a few, also to warm up every worker, and look at what comes back."""

    async def some() -> None:
        async with Connection(service.port) as connection:
            for number in range(6):
                body = (await exchange(connection, number)).body
                with Image.open(BytesIO(body)) as image:
                    image.load()
                    if (image.format, image.size) != ("JPEG", (800, 600)):
                        raise RuntimeError(f"Got {image.format} of {image.size}.")

    asyncio.run(some())


def _row(name: str, loads: list[Load], gain: float) -> list[str]:
    rates = [load.per_second for load in loads]
    return [
        name,
        f"{median(rates):.1f}",
        f"{gain:.2f}x",
        f"{median(load.p50_ms for load in loads):.0f}",
        f"{median(load.p99_ms for load in loads):.0f}",
        f"{median(load.client_cpu for load in loads):.2f}",
        f"{stats.spread(rates):.0%}",
    ]
