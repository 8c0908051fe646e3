"""Deliveries of events: look at them, send one again, send a test."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, Field

from app.api.deps import ClientDep, RuntimeDep, may_see
from app.api.destinations import WebhookInput, endpoint_to_test
from app.api.documents import parse
from app.api.ingest import JSON, body_kind, read_document
from app.api.jobs import CursorQuery
from app.api.openapi import endpoint_body
from app.api.problems import ProblemView, documented, view_of
from app.api.routes import Router, json_of
from app.api.schemas import Moment, Page
from app.errors import NotFound, UnsupportedBody
from app.model.deliveries import Attempt, Delivery, DeliveryStatus
from app.records import outbox, reading
from app.runtime import Runtime

MAX_ENDPOINT_BYTES = 16 << 10
TEST_GRACE_S = 5.0
"""How much longer than an endpoint has for its answer a test is waited for."""

router = Router(prefix="/v1/webhooks", tags=["webhooks"])


class AttemptView(BaseModel):
    """One attempt to deliver an event."""

    at: Moment
    elapsed_ms: int
    status: int | None = Field(description="HTTP status of the answer; null if none came.")
    error: str | None = Field(
        description="One of docs/errors.md; null if it succeeded.", examples=["delivery.status"]
    )
    detail: str | None = Field(description="What went wrong, for people.")
    answer: str = Field(description="The first 512 bytes of the answer's body, as text.")


class DeliveryView(BaseModel):
    """One event on its way to one endpoint."""

    id: str = Field(
        description="The `webhook-id`: the same at every attempt.",
        examples=["msg_0f0e0d0c0b0a09080706050403020100"],
    )
    event: str = Field(examples=["job.succeeded"])
    status: DeliveryStatus
    job_id: str | None = Field(description="Null for a test.")
    item_index: int | None = Field(description="Of an event that is about one item.")
    url: str | None = Field(description="Null for the endpoint that the operator configured.")
    created_at: Moment
    next_attempt_at: Moment | None = Field(description="Null unless it is pending.")
    ended_at: Moment | None = Field(description="When it was delivered, or given up.")
    error: ProblemView | None = Field(description="Why it is dead.")
    attempts: list[AttemptView] = Field(description="The latest 50, oldest first.")


class DeliveryPage(Page):
    """Deliveries, newest first."""

    deliveries: list[DeliveryView]


def attempt_view(attempt: Attempt) -> AttemptView:
    """Show an attempt."""
    return AttemptView(
        at=attempt.at,
        elapsed_ms=attempt.elapsed_ms,
        status=attempt.http_status,
        error=attempt.problem.code if attempt.problem else None,
        detail=attempt.problem.detail if attempt.problem else None,
        answer=attempt.answer,
    )


def delivery_view(delivery: Delivery) -> DeliveryView:
    """Show a delivery."""
    return DeliveryView(
        id=delivery.id,
        event=delivery.event,
        status=delivery.status,
        job_id=delivery.job_id,
        item_index=delivery.item_index,
        url=delivery.url,
        created_at=delivery.created_at,
        next_attempt_at=delivery.due_at,
        ended_at=delivery.ended_at,
        error=view_of(delivery.problem) if delivery.problem else None,
        attempts=[attempt_view(attempt) for attempt in delivery.attempts],
    )


DeliveryPath = Annotated[str, Path(examples=["msg_0f0e0d0c0b0a09080706050403020100"])]


async def _own(runtime: Runtime, client: str, delivery_id: str) -> Delivery:
    delivery = await runtime.database.look(outbox.get, delivery_id)
    if delivery is None or not may_see(runtime, client, delivery.client):
        raise NotFound(f"There is no delivery {delivery_id!r}. Their records go after a while.")
    return delivery


@router.get(
    "/deliveries",
    summary="List deliveries, newest first",
    operation_id="list_deliveries",
    responses=documented(401, 422),
)
async def list_deliveries(
    runtime: RuntimeDep,
    client: ClientDep,
    job: Annotated[str | None, Query(max_length=100, description="Of this job only.")] = None,
    status: DeliveryStatus | None = None,
    cursor: CursorQuery = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DeliveryPage:
    """Give a page of this client's deliveries, each with its attempts."""
    if job is not None and runtime.keys.is_operator(client):
        of = await runtime.database.look(reading.get_job, job)
        client = of.client if of else client
    found, next_cursor = await runtime.database.read(
        outbox.listed, client, job_id=job, status=status, cursor=cursor, limit=limit
    )
    return DeliveryPage(deliveries=[delivery_view(d) for d in found], next_cursor=next_cursor)


@router.get(
    "/deliveries/{delivery_id}",
    summary="Look at a delivery",
    operation_id="get_delivery",
    responses=documented(401, 404),
)
async def get_delivery(
    delivery_id: DeliveryPath, runtime: RuntimeDep, client: ClientDep
) -> DeliveryView:
    """Give a delivery with its attempts."""
    return delivery_view(await _own(runtime, client, delivery_id))


@router.post(
    "/deliveries/{delivery_id}/replay",
    summary="Send an event again",
    operation_id="replay_delivery",
    status_code=202,
    responses=documented(401, 404),
)
async def replay_delivery(
    delivery_id: DeliveryPath, runtime: RuntimeDep, client: ClientDep
) -> DeliveryView:
    """Send it again now, under the same id, whatever became of it; with a new schedule.

    It goes out even to an endpoint that answered 410; a success there makes it an endpoint again.
    """
    delivery = await _own(runtime, client, delivery_id)
    await runtime.database.note(outbox.replay, delivery.id)
    found = await runtime.database.look(outbox.get, delivery.id)
    return delivery_view(found or delivery)


@router.post(
    "/test",
    summary="Send a test event",
    operation_id="test_webhook",
    response_model=DeliveryView,
    responses={
        202: {"model": DeliveryView, "description": "Its turn has not come yet."},
        **documented(400, 401, 403, 409, 413, 415, 422),
    },
    openapi_extra=endpoint_body(),
)
async def send_test(
    runtime: RuntimeDep,
    client: ClientDep,
    request: Request,
) -> Response:
    """Send `webhook.test` to an endpoint, or to the configured one, once, and tell the outcome."""
    document = await read_document(request, MAX_ENDPOINT_BYTES)
    if document and body_kind(request) != JSON:
        raise UnsupportedBody("Send the endpoint as application/json, or nothing.")
    endpoint = parse(WebhookInput, document) if document else None
    made = await runtime.database.note(outbox.test, client, endpoint_to_test(runtime, endpoint))
    patience_s = runtime.settings.webhooks.timeout_s + TEST_GRACE_S
    delivery = await runtime.delivered(made.id, patience_s) or made
    return json_of(delivery_view(delivery), 200 if delivery.status.done else 202)
