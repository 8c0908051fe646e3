"""What handlers ask for: the runtime, and who is asking."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, cast

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from structlog.contextvars import bind_contextvars

from app.errors import CrossSite, Forbidden, NotFound, Unauthorized
from app.model.blobs import File
from app.model.jobs import Job
from app.records import files, reading
from app.runtime import Runtime

ANONYMOUS = "anonymous"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

bearer = HTTPBearer(
    auto_error=False,
    description="One of the keys that the operator gave out. Not needed where there are none.",
)


# Every dependency is `async`: FastAPI sends a plain function to a thread, on every request.


async def get_runtime(request: Request) -> Runtime:
    """Give the parts that the lifespan opened."""
    return cast("Runtime", request.state.runtime)


RuntimeDep = Annotated[Runtime, Depends(get_runtime)]


async def get_client(
    request: Request,
    runtime: RuntimeDep,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
) -> str:
    """Name the client by its key.

    Raises:
        Unauthorized: keys are configured, and none fits.
        CrossSite: there are none, and a page of another site asks.
    """
    if not runtime.keys.clients:
        _check_site(request, runtime.settings.cors.origins)
        return ANONYMOUS
    found = runtime.keys.client_of(credentials.credentials.encode() if credentials else b"")
    if found is None:
        runtime.keys.tell_refused(request.client.host if request.client else "unknown")
        raise Unauthorized("Send `Authorization: Bearer <key>` with one of this service's keys.")
    bind_contextvars(client=found)
    return found


ClientDep = Annotated[str, Depends(get_client)]


def _check_site(request: Request, origins: Collection[str]) -> None:
    """Raise `CrossSite` if a page of another site wants something done, as browsers say.

    By W3C Fetch Metadata. Where there are no keys nothing else is between any page that is open on
    this machine and the service.
    """
    elsewhere = request.headers.get("sec-fetch-site") == "cross-site"
    if elsewhere and request.method not in SAFE and request.headers.get("origin") not in origins:
        raise CrossSite(
            "A page of another site sent this. Name its origin in OFFLOAD_CORS_ORIGINS to allow it."
        )


async def get_operator(runtime: RuntimeDep, client: ClientDep) -> str:
    """Name the operator by its key. Raises `Forbidden` for a client that is not marked as one.

    Where there are no keys everybody may do everything, and see this too.
    """
    if runtime.keys.clients and not runtime.keys.is_operator(client):
        raise Forbidden(
            "This needs a key that the operator has marked: in the keys of the service, "
            '{"name": {"keys": ["..."], "operator": true}}.'
        )
    return client


OperatorDep = Annotated[str, Depends(get_operator)]


def may_see(runtime: Runtime, client: str, owner: str) -> bool:
    """Tell whether a client may see, and steer, a job or a delivery: its own; an operator all."""
    return client == owner or runtime.keys.is_operator(client)


async def get_own_job(
    runtime: RuntimeDep,
    client: ClientDep,
    job_id: Annotated[str, Path(examples=["job_0f0e0d0c0b0a09080706050403020100"])],
) -> Job:
    """Give the job in the path, if it is this client's or it is an operator. Raises `NotFound`."""
    job = await runtime.database.look(reading.get_job, job_id)
    if job is None or not may_see(runtime, client, job.client):
        raise NotFound(f"There is no job {job_id!r}.")
    return job


OwnJobDep = Annotated[Job, Depends(get_own_job)]


async def get_own_file(
    runtime: RuntimeDep,
    client: ClientDep,
    file_id: Annotated[str, Path(examples=["file_0f0e0d0c0b0a09080706050403020100"])],
) -> File:
    """Give the file in the path, if it is this client's. Raises `NotFound`."""
    file = await runtime.database.look(files.get, file_id)
    if file is None or file.client != client:
        raise NotFound(f"There is no file {file_id!r}. Results are removed some time after a job.")
    return file


OwnFileDep = Annotated[File, Depends(get_own_file)]
