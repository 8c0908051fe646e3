"""What is sent out: the events that are told, results that are put, and how each stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.errors import Problem
from app.model.blobs import NamedBlob

JOB_EVENTS = ("job.succeeded", "job.partial", "job.failed", "job.canceled", "job.expired")
"""One of these for each way in which a job ends, and one for when its data is gone."""
ITEM_EVENTS = ("item.succeeded", "item.failed", "push.succeeded", "push.failed")
"""Told to those who ask for them: there may be a million."""
EVENTS = JOB_EVENTS + ITEM_EVENTS
TEST_EVENT = "webhook.test"


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up, and its record says why."""

    @property
    def done(self) -> bool:
        """Whether nothing more is tried."""
        return self in (DeliveryStatus.DELIVERED, DeliveryStatus.DEAD)


@dataclass(frozen=True, slots=True)
class PutTarget:
    """A URL, presigned as a rule, that a result is sent to with PUT."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent beside, or in place of, those that describe the result."""
    remote: str | None = None
    """The operator's name for the bucket that `url` leads into; then each result of an item is put
    there, and the end of `url` is a template (`app/ops/object_keys.py`) until one is."""

    @property
    def said(self) -> list[Any]:
        """Give all that it says, for a digest."""
        return [self.url, dict(self.headers), *([self.remote] if self.remote else [])]


@dataclass(frozen=True, slots=True)
class Webhook:
    """Who is told of a job's events."""

    url: str | None
    """None for the endpoint that the operator configured, whatever it is when an event is sent."""
    events: frozenset[str]
    """Some of `EVENTS`."""
    secret: str | None = None
    """Signs what is sent to `url`; None where the operator's secrets do."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver something, and what came of it."""

    at: datetime
    elapsed_ms: int
    http_status: int | None
    """None where no answer came."""
    problem: Problem | None
    """None where it succeeded."""
    answer: str = ""
    """The first bytes of the answer's body, as text."""
    etag: str | None = None
    """Of what was put, if the receiver says so."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint, as its record shows it."""

    id: str
    """The `webhook-id`: the same at every attempt, whatever happens in between."""
    client: str
    event: str
    status: DeliveryStatus
    job_id: str | None
    """None for a test."""
    item_index: int | None
    url: str | None
    """None for the endpoint that the operator configured."""
    created_at: datetime
    due_at: datetime | None
    """When it is tried next; None unless it is pending."""
    ended_at: datetime | None
    problem: Problem | None
    """Why it is dead."""
    attempts: tuple[Attempt, ...]
    """The latest ones, oldest first."""


@dataclass(frozen=True, slots=True)
class Push:
    """One result on its way to the place that its item named."""

    status: DeliveryStatus
    attempts: int
    due_at: datetime | None
    ended_at: datetime | None
    problem: Problem | None
    """Of the last attempt, or why it is dead."""
    url: str | None = None
    """Of the object in a bucket; None for a URL of the client's, which may be signed."""
    etag: str | None = None
    size_bytes: int | None = None
    """Both: of what was put into a bucket."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """How it stands with all that an item's results are put to."""

    pushes: tuple[Push, ...]
    """In the order of the results; one where there is one place."""

    @property
    def status(self) -> DeliveryStatus:
        """Tell where they stand together: dead if one is, once nothing more is tried."""
        found = {push.status for push in self.pushes}
        order = (DeliveryStatus.SENDING, DeliveryStatus.PENDING, DeliveryStatus.DEAD)
        return next((status for status in order if status in found), DeliveryStatus.DELIVERED)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a delivery goes, as far as taking turns is concerned."""

    key: int
    origin: str
    """Scheme, host and port; or a name for the endpoint that the operator configured."""
    lane: str
    """The same, and the path."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery that was claimed: all that is needed to send it. `claim` fences it."""

    key: int
    claim: int
    id: str
    tries: int
    """Attempts made so far, since it was created or replayed."""
    route: Route
    created_at: datetime
    event: str | None
    """None for a push."""
    data: dict[str, Any]
    """What the event says; of a push into a bucket, which result it is of."""
    url: str | None
    secret: str | None
    asked: bool
    """Whether a client asked for this very delivery: a test, or a replay."""
    target: PutTarget | None = None
    """Where a push goes; None for an event."""
    content: NamedBlob | None = None
    """What a push sends; None for an event, and where it is gone."""
    client: str = ""
    """Whose it is."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a delivery after an attempt."""

    status: DeliveryStatus
    due_at: datetime | None = None
    """When it is tried again; set for PENDING."""
    problem: Problem | None = None
    """Why it is dead; set for DEAD."""
    disabled: bool = False
    """Whether nothing more is to be sent to that endpoint of that job."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of a delivery that was taken."""

    parcel: Parcel
    attempt: Attempt | None
    """None where none was made."""
    verdict: Verdict
