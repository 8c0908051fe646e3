"""Is it alive, and can it take work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from app.api import problems
from app.api.deps import RuntimeDep
from app.api.problems import documented
from app.api.routes import Router
from app.cpu.settings import Executor
from app.errors import OffloadError, Problem
from app.records import files

router = Router(tags=["service"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Isolation(BaseModel):
    """What separates the work on items from the service, and from other items."""

    executor: Executor
    """What the workers are: `OFFLOAD_POOL_EXECUTOR`."""
    lost: dict[str, str]
    """What processes would have kept apart and these do not, with what follows."""


class Ready(BaseModel):
    """Every part that a job needs is well."""

    status: Literal["ready"] = "ready"
    checks: dict[str, str]
    isolation: Isolation | None = None
    """Of a node that works on items."""


@router.get("/livez", summary="Is the process alive", operation_id="livez")
async def livez() -> Alive:
    """Answer, which is all the proof there is."""
    return Alive()


@router.get(
    "/readyz",
    summary="Can it take work",
    operation_id="readyz",
    response_model=Ready,
    responses=documented(503),
)
async def readyz(request: Request, runtime: RuntimeDep) -> Ready | Response:
    """Check the records, the disk, and the work where it is done; 503 if one is not well."""
    checks = {
        "records": await _check(partial(runtime.database.write, files.check_writable)),
        "blobs": await _check(runtime.blobs.check_writable),
    }
    isolation = None
    if (crew := request.state.crew) is not None:
        isolation = Isolation(executor=runtime.cpu.executor, lost=runtime.cpu.lost)
        checks |= {
            "pool": "ok" if runtime.cpu.ready else runtime.cpu.why_not,
            "runner": "ok" if crew.chunks.alive else "no items are being taken",
            "courier": "ok" if crew.deliveries.alive else "nothing is being delivered",
        }
    if all(state == "ok" for state in checks.values()):
        return Ready(checks=checks, isolation=isolation)
    bad = ", ".join(name for name, state in checks.items() if state != "ok")
    return problems.respond(
        Problem(
            "internal.not_ready",
            "The service cannot take work now",
            503,
            f"Not well: {bad}.",
            retryable=True,
            extra={"checks": checks},
        )
    )


async def _check(probe: Callable[[], Awaitable[None]]) -> str:
    try:
        await probe()
    except OffloadError as error:
        return error.detail
    return "ok"
