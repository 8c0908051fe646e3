"""Small jobs, many small items of one job, and polls, beside the tutorial and a bare FastAPI."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import time
import zlib
from collections.abc import Iterator, Sequence

from benchmarks import corpus, exchanges, load, services
from benchmarks.bench import Bench
from benchmarks.cases.saturated import finished_job
from benchmarks.contest import BARE, NAIVE, OURS, Contest, Measured, Run, held, loaded, timed
from benchmarks.exchanges import Exchange, checked, checked_results, job_done
from benchmarks.services import Service
from benchmarks.wire import Connection, Response, Upload, multipart

SMALL, POLLS = "1 KB compressed", "polls"
SENT, STORED = "files of 1 KB, sent with their job", "files of 1 KB, stored before their job"
ONE_EACH = f"{NAIVE}, a request each"
TWICE = f"{OURS}, then a GET"
KB = 1024
MANY = 32
WARM_UP = 100
FORMATS = ("gzip", "zlib", "deflate-raw")
"""The same codec, and no two results alike: a second one would only have to be removed again."""


def jobs(bench: Bench) -> Iterator[Contest]:
    files = corpus.small_files(64, KB)
    seconds = bench.size(4.0, 0.3)
    with services.naive(bench.folder) as naive, services.offload(bench) as offload:
        theirs, ours = exchanges.naive, exchanges.offload
        sent, posted = theirs("/compress", files, "a"), ours("/v1/compress", files, "a")
        for service, make, door, decode in (
            (naive, theirs, "/compress", zlib.decompress),
            (offload, ours, "/v1/compress", gzip.decompress),
        ):
            kept = make(door, files, "a", keep=True)
            checked_results(service.port, kept, decode, files)
        for clients in (MANY, 8, 1):
            runs = {
                NAIVE: loaded(naive, sent, clients, seconds=seconds),
                OURS: loaded(offload, posted, clients, seconds=seconds),
            }
            if clients == MANY:
                runs[TWICE] = loaded(offload, _posted_and_got(files), clients, seconds=seconds)
            yield held(bench, f"{SMALL}, {clients} in flight", runs)


def _posted_and_got(files: Sequence[bytes]) -> Exchange:
    """Do it by two requests: one that waits for the job, one that downloads its result."""
    uploads = [exchanges.marked(multipart([("a", data)])) for data in files]
    target = f"/v1/compress?wait={exchanges.WAIT_S}"

    async def exchange(connection: Connection, number: int) -> Response:
        upload = uploads[number % len(uploads)]()
        made = await connection.request("POST", target, upload, keep=True)
        job = await job_done(connection, checked(made, 200))
        return checked(await connection.get(job["items"][0]["results"][0]["href"]), 200)

    return exchange


def items(bench: Bench) -> Iterator[Contest]:
    """Many small files by one job: sent with it, and stored before."""
    count = bench.size(5_000, 50)
    files = corpus.small_files(count, KB)
    settings = {"OFFLOAD_UPLOAD_MAX_FILES": str(count)}
    with services.naive(bench.folder) as naive, services.offload(bench, settings) as offload:
        each = exchanges.naive("/compress", files, "a")
        one_each = exchanges.offload("/v1/compress", files, "a")
        for service, exchange in ((naive, each), (offload, one_each)):
            load.run(service.port, exchange, MANY, count=MANY)
        runs: dict[str, Run] = {
            ONE_EACH: loaded(naive, each, MANY, seconds=bench.size(4.0, 0.3)),
            OURS: lambda: _sent(offload, files),
        }
        yield held(bench, SENT, runs)
        ids = _stored(offload, files)
        formats = itertools.cycle(FORMATS)
        runs = {OURS: lambda: _by_ids(offload, ids, next(formats))}
        yield held(bench, STORED, runs)


def _by_ids(offload: Service, ids: Sequence[str], made: str) -> Measured:
    document = json.dumps({"file_ids": ids, "format": made}).encode()
    return _job(offload, Upload("application/json", (document,)), len(ids))


def _sent(offload: Service, files: Sequence[bytes]) -> Measured:
    mark = b"%020d\n" % time.time_ns()
    body = multipart([(f"{number}.json", mark + data) for number, data in enumerate(files)])
    return _job(offload, body, len(files))


def _job(offload: Service, body: Upload, count: int) -> Measured:
    """Do all by one job; its time is that from the request to its end."""

    async def once() -> None:
        async with asyncio.timeout(load.LIMIT_S), Connection(offload.port) as connection:
            target = f"/v1/compress?wait={exchanges.WAIT_S}"
            await job_done(connection, await connection.request("POST", target, body, keep=True))

    return timed(offload, count, lambda: asyncio.run(once()))


def _stored(offload: Service, files: Sequence[bytes]) -> list[str]:
    """Store each; give their ids."""
    ids = []

    async def one(connection: Connection, number: int) -> Response:
        body = Upload("application/octet-stream", (files[number],))
        target = f"/v1/files/{number}.json"
        made = checked(await connection.request("PUT", target, body, keep=True), 201)
        ids.append(made.json()["id"])
        return made

    load.run(offload.port, one, MANY, count=len(files))
    return ids


def polls(bench: Bench) -> Iterator[Contest]:
    seconds = bench.size(3.0, 0.3)
    with services.naive(bench.folder) as naive, services.offload(bench) as offload:
        polled = exchanges.get([asyncio.run(finished_job(offload))])
        ways = {BARE: (naive, exchanges.get(["/ping"])), OURS: (offload, polled)}
        for service, exchange in ways.values():
            load.run(service.port, exchange, 1, count=WARM_UP)
        runs = {
            name: loaded(service, exchange, 1, seconds=seconds)
            for name, (service, exchange) in ways.items()
        }
        yield held(bench, POLLS, runs)
