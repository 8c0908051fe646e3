"""The documents that clients read: one view of each record."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from app.api.links import link
from app.api.problems import ProblemView, view_of
from app.model.blobs import File
from app.model.deliveries import DeliveryStatus, Push, Pushed
from app.model.jobs import Item, ItemStatus, Job, JobStatus
from app.moments import rfc3339

Moment = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""In UTC, with milliseconds and `Z`, always."""


class FileView(BaseModel):
    """A stored file: an input, a result, or one that was stored by itself."""

    id: str
    name: str = Field(examples=["access.log.gz"])
    media_type: str = Field(
        description="By content; of a text, also by the Content-Type and name that it came with.",
        examples=["application/gzip"],
    )
    size_bytes: int
    sha256: str | None = Field(
        description="Of the content, lower-case hex; null for a file that came in with its job."
    )
    created_at: Moment
    expires_at: Moment | None = Field(
        description="When it is removed; null while its job is at work. Reading it renews this."
    )
    href: str = Field(description="Where the content is.")


class _Same(BaseModel):
    """A view that shows a record's fields as they are."""

    model_config = ConfigDict(from_attributes=True)


class CountsView(_Same):
    """How many items stand where."""

    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    canceled: int


class StepView(_Same):
    """One step, with every parameter as it is applied."""

    op: str
    params: dict[str, Any]


class ProgressView(_Same):
    """How far an item's current step is."""

    done: int = Field(description="Bytes, rows or frames: what the step counts in.")
    total: int


class RefusalView(_Same):
    """A part of an item that failed alone, while the others went on."""

    name: str = Field(description="Of the part, such as a member of an archive.")
    code: str = Field(description="One of docs/errors.md.")
    detail: str


class ObjectView(BaseModel):
    """One result on its way to an object of a bucket."""

    url: str = Field(examples=["s3://shop-media/offload/out/small.jpg"])
    status: DeliveryStatus
    etag: str | None = Field(description="As the bucket says it, quotes included.")
    size_bytes: int | None = Field(description="Of what arrived; null before that.")
    error: ProblemView | None = Field(
        description="What went wrong at the last attempt, or why it is dead."
    )


class PushView(BaseModel):
    """How it stands with putting an item's results elsewhere; of several, with all together."""

    status: DeliveryStatus
    attempts: int
    next_attempt_at: Moment | None = Field(description="Null unless it is pending.")
    ended_at: Moment | None = Field(description="When it was put, or given up.")
    error: ProblemView | None = Field(
        description="What went wrong at the last attempt, or why it is dead."
    )
    objects: list[ObjectView] = Field(
        description="With `store.s3`, each result in its order; else empty."
    )


class ItemView(BaseModel):
    """One input of a job and what became of it."""

    index: int = Field(description="Position in the request, from 0.")
    status: ItemStatus
    name: str
    url: str | None
    file_id: str | None = Field(description="The input file; null for a URL, and once expired.")
    size_bytes: int | None = Field(description="Of the input file.")
    joins: bool = Field(
        description="Whether its inputs are the results of all the other items: the last item of "
        "a job with a step such as `archive`."
    )
    progress: ProgressView | None = Field(
        description="Of a running item's current step, about once a second; null if untold."
    )
    results: list[FileView]
    facts: dict[str, dict[str, Any]] = Field(
        description="What each step found out: HTTP status and hops, dimensions, ratio, method."
    )
    refused: list[RefusalView] = Field(
        description="Parts that failed alone, at most 1,000: members of an archive, variants."
    )
    pushed: PushView | None = Field(
        description="How it stands with `store`; null without one, and before there is a result."
    )
    error: ProblemView | None
    attempt: int
    started_at: Moment | None = Field(
        description="When a worker took it, or its URL began to be fetched; until then it is "
        "queued."
    )
    finished_at: Moment | None
    elapsed_ms: int | None = Field(description="From start to end of the last attempt.")


class JobView(BaseModel):
    """What was submitted, and where it stands."""

    id: str
    status: JobStatus
    done: bool = Field(description="Whether it is over; the one field to watch.")
    progress: float = Field(
        ge=0,
        le=1,
        description="Share of items that are over; where `items` is given, with what is done of "
        "those that run.",
    )
    counts: CountsView
    steps: list[StepView]
    tag: str | None
    metadata: dict[str, Any]
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    expires_at: Moment | None = Field(
        description="When its files are removed, and, once expired, this record."
    )
    items: list[ItemView] | None = Field(
        description="All items in input order, where there are few; else null, and "
        "`items_truncated`."
    )
    items_truncated: bool = Field(
        description="Whether items are left out here; `links.items` has all of them."
    )
    links: dict[str, str]


class Page(BaseModel):
    """One page of a list."""

    next_cursor: str | None = Field(description="Give it as `cursor` for the next page.")


class JobPage(Page):
    """Jobs, newest first."""

    jobs: list[JobView]


class ItemPage(Page):
    """Items in input order."""

    items: list[ItemView]


class FilePage(Page):
    """Files that were stored by themselves, newest first."""

    files: list[FileView]


def content_path(file: File) -> str:
    """Give the path of a file's content."""
    return link(f"/v1/files/{file.id}/content")


def job_path(job: Job) -> str:
    """Give the path of a job."""
    return link(f"/v1/jobs/{job.id}")


def file_view(file: File) -> FileView:
    """Show a file."""
    return FileView(
        id=file.id,
        name=file.name,
        media_type=file.blob.media_type,
        size_bytes=file.blob.size_bytes,
        sha256=file.blob.sha256,
        created_at=file.created_at,
        expires_at=file.expires_at,
        href=content_path(file),
    )


def push_view(pushed: Pushed) -> PushView:
    """Show what an item's results are put to."""
    pushes, status = pushed.pushes, pushed.status
    problem = next((push.problem for push in pushes if push.problem), None)
    ended = [push.ended_at for push in pushes if push.ended_at]
    return PushView(
        status=status,
        attempts=max(push.attempts for push in pushes),
        next_attempt_at=min((push.due_at for push in pushes if push.due_at), default=None),
        ended_at=max(ended) if status.done else None,
        error=view_of(problem) if problem else None,
        objects=[_object_view(push, push.url) for push in pushes if push.url is not None],
    )


def _object_view(push: Push, url: str) -> ObjectView:
    return ObjectView(
        url=url,
        status=push.status,
        etag=push.etag,
        size_bytes=push.size_bytes,
        error=view_of(push.problem) if push.problem else None,
    )


def item_view(item: Item) -> ItemView:
    """Show an item."""
    elapsed_ms = None
    if item.started_at and item.finished_at:
        elapsed_ms = round((item.finished_at - item.started_at).total_seconds() * 1000)
    return ItemView(
        index=item.index,
        status=item.status,
        name=item.name,
        url=item.url,
        file_id=item.file_id,
        size_bytes=item.blob.size_bytes if item.blob else None,
        joins=item.joins,
        progress=ProgressView.model_validate(item.progress) if item.progress else None,
        results=[file_view(file) for file in item.results],
        facts=item.facts,
        refused=[RefusalView.model_validate(part) for part in item.refused],
        pushed=push_view(item.pushed) if item.pushed else None,
        error=view_of(item.problem) if item.problem else None,
        attempt=item.attempt,
        started_at=item.started_at,
        finished_at=item.finished_at,
        elapsed_ms=elapsed_ms,
    )


def _progress(job: Job, items: list[Item]) -> float:
    under_way = sum(i.progress.done / i.progress.total for i in items if i.progress)
    finished, total = job.counts.finished + under_way, job.counts.total
    return min(1.0, round(finished / total, 4)) if total else 1.0


def job_view(job: Job, items: list[Item] | None = None) -> JobView:
    """Show a job, with its items if they are given."""
    path = job_path(job)
    return JobView(
        id=job.id,
        status=job.status,
        done=job.status.done,
        progress=_progress(job, items or []),
        counts=CountsView.model_validate(job.counts),
        steps=[StepView.model_validate(step) for step in job.steps],
        **vars(job.marks),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        expires_at=job.expires_at,
        items=None if items is None else [item_view(item) for item in items],
        items_truncated=items is None,
        links={
            "self": path,
            "items": f"{path}/items",
            "events": f"{path}/events",
            "cancel": f"{path}/cancel",
            "deliveries": link(f"/v1/webhooks/deliveries?job={job.id}"),
            "retry": f"{path}/retry",
        },
    )
