"""What one unit of work is to each service: from the file in hand to the result in hand.

No upload is like another: each bears a mark of its own, as the uploads of real clients differ. A
service that stores would find the second copy of a file superfluous, and removing it is work too.
What is kept, to be checked, is sent as it is.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.wire import Connection, Response, Upload, multipart

WAIT_S = 300
"""As OFFLOAD_JOBS_WAIT_MAX_S of the measured service: no result is ever polled for."""

CHECKED = 4
"""As many results are looked at before a load."""

Exchange = Callable[[Connection, int], Awaitable[Response]]
"""Does the n-th piece of work over a connection of its own and gives the answer that has the
result."""


def checked(response: Response, status: int) -> Response:
    """Give the response, if its status is the expected one."""
    if response.status != status:
        said = response.body[:500].decode("utf-8", "replace")
        raise RuntimeError(f"Answered {response.status}, not {status}: {said}")
    return response


def marked(upload: Upload) -> Callable[[], Upload]:
    """Give what makes uploads that differ in nothing but a mark in their file.

    The mark is a comment in a JPEG, a text chunk in a PNG, and a line before anything else.
    """
    at = max(range(len(upload.pieces)), key=lambda n: len(upload.pieces[n]))
    data = upload.pieces[at]
    jpeg, png = data.startswith(b"\xff\xd8"), data.startswith(b"\x89PNG")
    split_at = 2 if jpeg else 33 if png else 0
    before = (*upload.pieces[:at], data[:split_at])
    after = (data[split_at:], *upload.pieces[at + 1 :])

    def make() -> Upload:
        mark = b"%020d\n" % time.time_ns()
        if jpeg:
            mark = b"\xff\xfe" + (len(mark) + 2).to_bytes(2, "big") + mark
        elif png:
            chunk = b"tEXtComment\0" + mark
            length, crc = len(chunk) - 4, zlib.crc32(chunk)
            mark = length.to_bytes(4, "big") + chunk + crc.to_bytes(4, "big")
        return replace(upload, pieces=(*before, mark, *after))

    return make


def _uploads(uploads: Sequence[Upload], *, keep: bool) -> Callable[[int], Upload]:
    """Give what gives the n-th upload: marked, unless its result is to be checked."""
    if keep:
        return lambda number: uploads[number % len(uploads)]
    makers = [marked(upload) for upload in uploads]
    return lambda number: makers[number % len(makers)]()


def naive(path: str, files: Sequence[bytes], name: str, *, keep: bool = False) -> Exchange:
    """POST a file to the naive service, which answers with the result."""
    upload = _uploads([multipart([(name, data)]) for data in files], keep=keep)

    async def exchange(connection: Connection, number: int) -> Response:
        return checked(await connection.request("POST", path, upload(number), keep=keep), 200)

    return exchange


def offload(path: str, files: Sequence[bytes], name: str, *, keep: bool = False) -> Exchange:
    """POST a file to one of Offload's doors, which answers with the result of the job."""
    upload = _uploads([multipart([(name, data)]) for data in files], keep=keep)
    target = f"{path}{'&' if '?' in path else '?'}wait={WAIT_S}&download=true"

    async def exchange(connection: Connection, number: int) -> Response:
        return checked(await connection.request("POST", target, upload(number), keep=keep), 200)

    return exchange


def put(path: str, files: Sequence[bytes], name: str) -> Exchange:
    """PUT a file as it is, as `curl -T` does; done when its result is stored, which stays there."""
    uploads = [Upload("application/octet-stream", (data,)) for data in files]
    upload = _uploads(uploads, keep=False)
    route, _, query = path.partition("?")
    target = f"{route}/{name}?{query}{'&' if query else ''}wait={WAIT_S}"

    async def exchange(connection: Connection, number: int) -> Response:
        made = checked(await connection.request("PUT", target, upload(number), keep=True), 200)
        await job_done(connection, made)
        return made

    return exchange


def checked_results(
    port: int, kept: Exchange, decode: Callable[[bytes], bytes], files: Sequence[bytes]
) -> None:
    """Do a few, also to warm up, and see that what was sent comes of each.

    Raises:
        RuntimeError: something else came.
    """

    async def several() -> list[bytes]:
        async with Connection(port) as connection:
            return [(await kept(connection, number)).body for number in range(CHECKED)]

    for number, body in enumerate(asyncio.run(several())):
        if decode(body) != files[number % len(files)]:
            raise RuntimeError(f"Result {number} is not of what was sent.")


def get(paths: Sequence[str], *, keep: bool = False) -> Exchange:
    """GET a result from a service that has the files already."""

    async def exchange(connection: Connection, number: int) -> Response:
        return checked(await connection.get(paths[number % len(paths)], keep=keep), 200)

    return exchange


async def job_done(connection: Connection, response: Response) -> dict[str, Any]:
    """Give a job as it is when it is done; `response` is the answer that made it."""
    job = response.json()
    while not job["done"]:
        target = f"{job['links']['self']}?wait={WAIT_S}"
        job = checked(await connection.get(target, keep=True), 200).json()
    if job["counts"]["succeeded"] != job["counts"]["total"]:
        raise RuntimeError(f"A job did not succeed: {job['counts']}")
    return job
