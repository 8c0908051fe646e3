"""What one unit of work is to each service: from the file in hand to the result in hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.wire import Connection, Response, Upload, multipart

WAIT_S = 300
"""As OFFLOAD_JOBS_WAIT_MAX_S of the measured service: no result is ever polled for."""

Exchange = Callable[[Connection, int], Awaitable[Response]]
"""Does the n-th piece of work over a connection of its own and gives the answer that has the
result."""


def checked(response: Response, status: int) -> Response:
    """Give the response, if its status is the expected one."""
    if response.status != status:
        said = response.body[:500].decode("utf-8", "replace")
        raise RuntimeError(f"Answered {response.status}, not {status}: {said}")
    return response


def naive(path: str, files: Sequence[bytes], name: str, *, keep: bool = False) -> Exchange:
    """POST a file to the naive service, which answers with the result."""
    uploads = [multipart([(name, data)]) for data in files]

    async def exchange(connection: Connection, number: int) -> Response:
        upload = uploads[number % len(uploads)]
        return checked(await connection.request("POST", path, upload, keep=keep), 200)

    return exchange


def offload(path: str, files: Sequence[bytes], name: str, *, keep: bool = False) -> Exchange:
    """POST a file to one of Offload's doors, which answers with the result of the job."""
    uploads = [multipart([(name, data)]) for data in files]
    target = f"{path}{'&' if '?' in path else '?'}wait={WAIT_S}&download=true"

    async def exchange(connection: Connection, number: int) -> Response:
        upload = uploads[number % len(uploads)]
        return checked(await connection.request("POST", target, upload, keep=keep), 200)

    return exchange


def put(path: str, files: Sequence[bytes], name: str) -> Exchange:
    """PUT a file as it is, as `curl -T` does; done when its result is stored, which stays there."""
    uploads = [Upload("application/octet-stream", (data,)) for data in files]
    route, _, query = path.partition("?")
    target = f"{route}/{name}?{query}{'&' if query else ''}wait={WAIT_S}"

    async def exchange(connection: Connection, number: int) -> Response:
        upload = uploads[number % len(uploads)]
        made = checked(await connection.request("PUT", target, upload, keep=True), 200)
        await job_done(connection, made)
        return made

    return exchange


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
