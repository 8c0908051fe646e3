"""The events of a job as they happen (server-sent events, WHATWG HTML section 9.2).

`item` events come in completion order and carry ids, so that `Last-Event-ID` resumes exactly
behind the last one seen; `job` events tell the counts as they are, and the last one the end.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import Header, Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from app.api.deps import OwnJobDep, RuntimeDep
from app.api.problems import documented
from app.api.routes import Router
from app.api.schemas import item_view, job_view
from app.errors import InvalidParameter
from app.model.jobs import Job
from app.records import reading
from app.runtime import Runtime

PING_EVERY_S = 15.0
CONNECTION_S = 600.0
"""A stream ends after so long, and the client resumes: no connection outlives a deployment."""
PAGE = 500
RETRY_MS = 2_000
"""When a client comes back after a stream that ended because the service does."""

router = Router(tags=["jobs"])


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="Stream a job's events (SSE)",
    operation_id="job_events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events `item` (an item that is over) and `job` (the counts; the last "
            "one has `done: true`).",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        204: {"description": "The job is over and all was told: do not reconnect."},
        **documented(401, 404, 422),
    },
)
async def job_events(
    job: OwnJobDep,
    runtime: RuntimeDep,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Tell what happened and what happens, until the job is over."""
    after = (-1, -1)
    if last_event_id:
        told = re.fullmatch(r"(\d{1,18})-(\d{1,18})", last_event_id)
        if told is None:
            raise InvalidParameter("`Last-Event-ID` is not one that this service gave out.")
        after = (int(told[1]), int(told[2]))
        one_more = partial(reading.items_since, job_id=job.id, after=after, limit=1)
        if job.status.done and not await runtime.database.read(one_more):
            return Response(status_code=204)
    return StreamingResponse(
        _events(runtime, job, after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _events(runtime: Runtime, job: Job, after: tuple[int, int]) -> AsyncIterator[bytes]:
    end_at = time.monotonic() + CONNECTION_S
    while True:
        # The items are read after the job: what it counts as over is told before it.
        while items := await runtime.database.read(reading.items_since, job.id, after, limit=PAGE):
            for item in items:
                after = (item.seq, item.index)
                yield _event("item", item_view(item), f"{item.seq}-{item.index}")
        yield _event("job", job_view(job))
        if job.status.done or time.monotonic() > end_at:
            return
        while True:
            later = await runtime.changed(job.id, job.seq, PING_EVERY_S)
            if later is None:
                return
            if later.seq > job.seq:
                job = later
                break
            if runtime.leaving.is_set():
                yield format_sse_event(retry=RETRY_MS)
                return
            yield KEEPALIVE_COMMENT


def _event(name: str, document: BaseModel, event_id: str | None = None) -> bytes:
    return format_sse_event(data_str=document.model_dump_json(), event=name, id=event_id)
