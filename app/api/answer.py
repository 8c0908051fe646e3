"""How a job is answered: 202 and poll, or wait for its end, or go straight to the result."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Query, Response
from starlette.responses import RedirectResponse

from app.api import problems
from app.api.deps import RuntimeDep
from app.api.download import download as send_file
from app.api.routes import json_of
from app.api.schemas import JobView, content_path, job_path, job_view
from app.errors import Conflict, InvalidParameter
from app.model.chunks import Submitted
from app.model.jobs import Item, Job
from app.records import files, reading
from app.runtime import Runtime

INLINE_ITEMS = 20
"""Jobs of up to so many items show them in the job itself."""
POLL_AFTER_S = 1
"""The Retry-After of a job that is not done."""

WaitQuery = Annotated[
    float | None,
    Query(
        ge=0, description="Hold the request until the job is done, up to so many seconds.", le=3600
    ),
]
RedirectQuery = Annotated[
    bool,
    Query(
        description="Once the job is done, answer 303 to its single result, or with the single "
        "item's own error."
    ),
]
DownloadQuery = Annotated[
    bool,
    Query(
        description="Once the job is done, answer with its single result itself, or with the "
        "single item's own error; with `wait`, one request is all it takes."
    ),
]
PreferHeader = Annotated[
    str | None, Header(description="`wait=10` is the same as `?wait=10` (RFC 7240).")
]
KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="The same key with the same request gives the same job for 24 hours.",
    ),
]


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the caller wants to be answered."""

    wait_s: float
    redirect: bool
    download: bool
    preferred: bool
    """Whether the wait came by `Prefer`, so that `Preference-Applied` is due."""


async def get_wishes(
    runtime: RuntimeDep,
    wait: WaitQuery = None,
    redirect: RedirectQuery = False,
    download: DownloadQuery = False,
    prefer: PreferHeader = None,
) -> Wishes:
    """Read how to answer; the wait is cut to the published cap."""
    if redirect and download:
        raise InvalidParameter("Ask for `redirect` or for `download`, not for both.")
    preferred = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", prefer or "", re.IGNORECASE)
    asked_s = wait if wait is not None else float(preferred[1]) if preferred else 0.0
    wait_s = min(asked_s, runtime.settings.jobs.wait_max_s)
    return Wishes(wait_s, redirect, download, wait is None and preferred is not None)


WishesDep = Annotated[Wishes, Depends(get_wishes)]


async def until_done(runtime: Runtime, job: Job, wait_s: float, *, is_new: bool = False) -> Job:
    """Wait for a job's end, for `wait_s` at most; gives the job as it then is.

    With `is_new` it was submitted a moment ago.
    """
    if job.status.done or not wait_s:
        return job
    return (
        await runtime.ended(job.id, wait_s, is_new=is_new) or job
    )  # deleted under our eyes: as it was


async def view(runtime: Runtime, job: Job) -> JobView:
    """Show a job, with its items if they are few."""
    if job.counts.total > INLINE_ITEMS:
        return job_view(job)
    items, _ = await runtime.database.look(reading.list_items, job.id, limit=INLINE_ITEMS)
    return job_view(job, items)


async def submitted(runtime: Runtime, made: Submitted, wishes: Wishes) -> Response:
    """Answer the request that made a job: 202, or after a wait 200, 303 or the item's error."""
    job = await until_done(runtime, made.job, wishes.wait_s, is_new=made.created)
    headers = {"Location": job_path(job)}
    if wishes.preferred and job.status.done:
        headers["Preference-Applied"] = f"wait={wishes.wait_s:g}"
    if not job.status.done:
        headers["Retry-After"] = str(POLL_AFTER_S)
    elif wishes.redirect or wishes.download:
        return await result_of(runtime, job, wishes)
    return json_of(await view(runtime, job), 200 if job.status.done else 202, headers)


async def result_of(runtime: Runtime, job: Job, wishes: Wishes) -> Response:
    """Answer with a done job's single result or the way to it, or with its single item's error.

    Where the items are joined, the item that does it is the one. Raises `Conflict` if there is
    not exactly one.
    """
    before = None if job.join_at is None else str(job.counts.total - 2)
    items, _ = await runtime.database.look(reading.list_items, job.id, cursor=before, limit=2)
    up = f'<{job_path(job)}>; rel="up"'
    if len(items) == 1:
        [item] = items
        if item.problem is not None:
            return problems.respond(item.problem, {"Link": up})
        if len(item.results) == 1:
            [file] = item.results
            if wishes.redirect:
                return RedirectResponse(content_path(file), 303)
            where = {"Content-Location": content_path(file), "Link": up}
            whole = await runtime.database.look(files.get, file.id)
            return await send_file(runtime, whole or file, more_headers=where)
    asked = "redirect" if wishes.redirect else "download"
    raise Conflict(
        f"`{asked}` needs a job with one result; this one is {job.status} and has "
        f"{_count(items)}. It is at {job_path(job)}.",
        job=job_path(job),
    )


def _count(items: list[Item]) -> str:
    results = sum(len(item.results) for item in items)
    return "several items" if len(items) > 1 else f"{results} results"
