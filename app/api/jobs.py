"""Jobs: submit, poll, list, cancel, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Query, Request, Response

from app.api import openapi
from app.api.answer import (
    POLL_AFTER_S,
    KeyHeader,
    WishesDep,
    result_of,
    submitted,
    until_done,
    view,
)
from app.api.conditional import etag_matches
from app.api.deps import ClientDep, OwnJobDep, RuntimeDep
from app.api.documents import Document, aside, parse
from app.api.ingest import JSON, MAX_FIELD_BYTES, MULTIPART, Received, body_kind, receive
from app.api.inputs import JobInput, StreamedJobInput
from app.api.labels import LABELS, QueryLabels, labels_together
from app.api.making import make_steps, new_job, upload_items
from app.api.names import PathsQuery
from app.api.nearest import shown
from app.api.options import DOCUMENT, FORM, texts
from app.api.problems import documented
from app.api.routes import Router, json_of
from app.api.schemas import ItemPage, JobPage, JobView, item_view, job_view
from app.api.slips import no_job
from app.api.stream import LINES, submit_stream
from app.errors import InvalidParameter, MissingInput
from app.model.jobs import ItemStatus, Job, JobStatus, NewJob
from app.model.marks import MAX_TAG_CHARACTERS
from app.records import ending, reading

JobQuery = Annotated[
    str | None,
    Query(
        max_length=64 << 10,
        description="Beside a body of lines: the job's document without its items, as JSON.",
        examples=['{"steps": [{"op": "fetch", "dedupe": true}], "tag": "crawl"}'],
    ),
]
CursorQuery = Annotated[
    str | None, Query(max_length=100, description="`next_cursor` of the page before.")
]


def router() -> Router:
    """Make the routes."""
    routes = Router(tags=["jobs"], more_query=LABELS)

    @routes.post(
        "/v1/jobs",
        summary="Submit a job of any inputs and steps",
        operation_id="submit_job",
        **openapi.general_door(),
    )
    async def submit(
        request: Request,
        runtime: RuntimeDep,
        client: ClientDep,
        how: WishesDep,
        outside: QueryLabels,
        key: KeyHeader = None,
        job: JobQuery = None,
        paths: PathsQuery = None,
    ) -> Response:
        await runtime.submissions.check_room()
        if body_kind(request) in LINES:
            said = parse(StreamedJobInput, job or "{}")
            steps = make_steps(runtime.operations, said.steps)
            labels = labels_together(outside, said, DOCUMENT)
            streamed = await submit_stream(request, runtime, client, steps, labels, key)
            return await submitted(runtime, streamed, how)
        if job is not None:
            raise InvalidParameter("`job` stands in the query of lines only; it is in the body.")
        if body_kind(request) not in (JSON, MULTIPART):
            raise no_job(body_kind(request))
        async with runtime.unrecorded() as stored:
            received = await receive(request, runtime, stored, paths=paths)
            document = _document(received)

            def understood() -> NewJob:
                whole = parse(JobInput, document, max_items=runtime.settings.jobs.max_items)
                steps = make_steps(runtime.operations, whole.steps)
                items = [given.item() for given in whole.items] + upload_items(received.uploads)
                labels = labels_together(outside, whole, DOCUMENT)
                return new_job(runtime, client, steps, items, labels, key)

            made = await runtime.submissions.submit(
                await aside(runtime, received.text_bytes, understood)
            )
            if made.created:
                stored.recorded(upload.blob for upload in received.uploads)
        return await submitted(runtime, made, how)

    routes.routes += _records.routes
    return routes


def _document(received: Received) -> Document:
    """Give the job's document: the body, or a field of the form."""
    if received.document is not None:
        return received.document
    fields = texts(received.fields, FORM, most=MAX_FIELD_BYTES)
    if unknown := fields.keys() - {"job"}:
        raise InvalidParameter(
            f"`{shown(min(unknown))}` is not a field of this form: it has `job`, the job's "
            "document, and files."
        )
    if "job" not in fields:
        raise MissingInput(
            "A multipart job needs a `job` field with its document as text. With curl, "
            "`-F 'job=<job.json'` takes it from a file."
        )
    return [str(fields["job"]).encode()]


_records = Router(prefix="/v1/jobs", tags=["jobs"])


@_records.get(
    "",
    summary="List jobs, newest first",
    operation_id="list_jobs",
    responses=documented(401, 422),
)
async def list_jobs(
    runtime: RuntimeDep,
    client: ClientDep,
    status: JobStatus | None = None,
    tag: Annotated[str | None, Query(max_length=MAX_TAG_CHARACTERS)] = None,
    cursor: CursorQuery = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> JobPage:
    """Give a page of this client's jobs, without their items."""
    jobs, next_cursor = await runtime.database.read(
        reading.list_jobs, client, status=status, tag=tag, cursor=cursor, limit=limit
    )
    return JobPage(jobs=[job_view(job) for job in jobs], next_cursor=next_cursor)


@_records.get(
    "/{job_id}",
    summary="Poll a job",
    operation_id="get_job",
    response_model=JobView,
    responses={
        303: {"description": "The way to the single result (`redirect`)."},
        304: {"description": "Not changed since the version in If-None-Match."},
        **documented(401, 404, 409, 422),
    },
)
async def get_job(
    job: OwnJobDep,
    runtime: RuntimeDep,
    how: WishesDep,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Give the job as it is; with `wait`, as soon as it is done.

    With `If-None-Match` a wait ends at the first change instead, and 304 says there was none.
    """
    if if_none_match is None:
        job = await until_done(runtime, job, how.wait_s)
    elif etag_matches(if_none_match, etag(job)) and not job.status.done and how.wait_s:
        job = await runtime.changed(job.id, job.seq, how.wait_s) or job
    headers = {"ETag": etag(job), "Cache-Control": "private, no-cache"}
    if not job.status.done:
        headers["Retry-After"] = str(POLL_AFTER_S)
    if how.preferred and job.status.done:
        headers["Preference-Applied"] = f"wait={how.wait_s:g}"
    if etag_matches(if_none_match, etag(job)):
        return Response(status_code=304, headers=headers)
    if (how.redirect or how.download) and job.status.done:
        return await result_of(runtime, job, how)
    return json_of(await view(runtime, job), headers=headers)


def etag(job: Job) -> str:
    """Name the version of a job that a client sees."""
    return f'"{job.seq}"'


@_records.get(
    "/{job_id}/items",
    summary="List a job's items in input order",
    operation_id="list_items",
    responses=documented(401, 404, 422),
)
async def list_items(
    job: OwnJobDep,
    runtime: RuntimeDep,
    status: ItemStatus | None = None,
    cursor: CursorQuery = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> ItemPage:
    """Give a page of items, each with its results, facts and error."""
    items, next_cursor = await runtime.database.read(
        reading.list_items, job.id, status=status, cursor=cursor, limit=limit
    )
    return ItemPage(items=[item_view(item) for item in items], next_cursor=next_cursor)


@_records.post(
    "/{job_id}/cancel",
    summary="Cancel what is unfinished of a job",
    operation_id="cancel_job",
    responses=documented(401, 404),
)
async def cancel_job(job: OwnJobDep, runtime: RuntimeDep) -> JobView:
    """Cancel; results that exist stay. A job that is done is left as it is."""
    await runtime.database.write(ending.cancel, job.id)
    found = await runtime.database.look(reading.get_job, job.id)
    return await view(runtime, found or job)


@_records.post(
    "/{job_id}/retry",
    summary="Run a job's failed items again",
    operation_id="retry_job",
    status_code=202,
    responses=documented(401, 404, 409, 410, 429),
)
async def retry_job(job: OwnJobDep, runtime: RuntimeDep) -> JobView:
    """Put what has failed back into the queue; what succeeded stays as it is.

    A step that joins the items, such as `archive`, is done again behind them, and replaces its
    result. 409 where the job is not over, or nothing of it has failed.
    """
    most = runtime.settings.jobs.max_unfinished_items
    found = await runtime.database.write(ending.retry, job.id, most)
    return await view(runtime, found or job)


@_records.delete(
    "/{job_id}",
    summary="Delete a job, its inputs and its results",
    operation_id="delete_job",
    status_code=204,
    responses=documented(401, 404),
)
async def delete_job(job: OwnJobDep, runtime: RuntimeDep) -> None:
    """Delete; what is unfinished is canceled first."""
    await runtime.database.write(ending.delete, job.id)
