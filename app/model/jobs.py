"""What clients submit and watch, and its states.

A *job* is what a client submits and watches. It has one or more *items*, each passing through the
job's *steps*. A *file* is a stored blob with a name: inputs and results are both files.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from app.errors import Problem, Refusal
from app.model.blobs import Blob, File, NamedBlob
from app.model.deliveries import Pushed, PutTarget, Webhook
from app.model.marks import Marks


class JobStatus(StrEnum):
    """Where a job stands. Clients read `done`; they need not know which of these are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    """Some items succeeded, the others did not."""
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"
    """It ended, and retention has since removed its inputs and results."""

    @property
    def done(self) -> bool:
        """Whether no item of it will ever run again."""
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


class ItemStatus(StrEnum):
    """Where an item stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def done(self) -> bool:
        """Whether it is final."""
        return self not in (ItemStatus.QUEUED, ItemStatus.RUNNING)


Lane = Literal["io", "cpu"]
"""Which slots an item waits for, by its first step: many that wait, few that compute."""
FETCH_LANE: Lane = "io"
WORK_LANE: Lane = "cpu"


def new_id(prefix: str) -> str:
    """Make an identifier nobody can guess: 128 random bits in hex behind `prefix` and `_`."""
    return f"{prefix}_{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class Step:
    """One operation and its parameters, validated when the job was submitted."""

    op: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewItem:
    """One input of a job to be submitted: exactly one of `upload`, `file_id` and `url` is set."""

    upload: NamedBlob | None = None
    file_id: str | None = None
    url: str | None = None
    headers: Mapping[str, str] | None = None
    """Request headers for `url`."""
    name: str | None = None
    """For a URL: the file name that its content gets."""
    store: PutTarget | None = None
    """Where its one result is put, besides being kept."""
    sha256: str | None = None
    """For a URL: the digest that its content must have, lower-case hex."""
    max_bytes: int | None = None
    """For a URL: the most bytes of its content, if fewer than its batch allows."""
    problem: Problem | None = None
    """What is wrong with a URL that is none: its item fails with this when its turn comes."""


def _unweighed(_size_bytes: int) -> float:
    return 1.0


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be submitted."""

    client: str
    steps: tuple[Step, ...]
    items: tuple[NewItem, ...]
    retention_s: float
    join_at: int | None = None
    """Position in `steps` of the one that joins: the items stop before it, and one more item,
    behind them, takes all their results through it and the steps that follow."""
    marks: Marks = field(default_factory=Marks)
    idempotency_key: str | None = None
    pace: int | None = None
    """Most URLs of it in the queue or running at once; the others follow as these end. None: all
    at once."""
    stops: bool = False
    """Whether the first item that fails cancels what is unfinished."""
    dedupe: bool = False
    """Whether URLs that ask for the same are fetched once."""
    fingerprint: str = ""
    """Digest of all that makes the request what it is; compared when the key is used again."""
    webhook: Webhook | None = None
    """Who is told of what happens to it."""
    store: PutTarget | None = None
    """Where the one result of the item that joins is put."""
    weigh: Callable[[int], float] = _unweighed
    """Estimates the work on a stored file of so many bytes, in milliseconds of one core."""
    asides: tuple[str, ...] = ()
    """Ids of the stored files that its steps name. The job gets files of its own in their place,
    and its steps name those: they stay as long as it does."""

    @property
    def lane(self) -> Lane:
        """Where its first item waits."""
        return WORK_LANE if self.items and self.items[0].url is None else FETCH_LANE

    @property
    def total_items(self) -> int:
        """How many items it will have."""
        return len(self.items) + (self.join_at is not None)

    def passes(self, item: NewItem) -> bool:
        """Tell whether an item has nothing to go through before it is joined."""
        if self.join_at is None or item.url is not None:
            return False
        return all(step.op == "fetch" for step in self.steps[: self.join_at])


@dataclass(frozen=True, slots=True)
class Counts:
    """How many items of a job stand where."""

    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0

    @property
    def total(self) -> int:
        """All items."""
        return self.queued + self.running + self.finished

    @property
    def finished(self) -> int:
        """Items that are final."""
        return self.succeeded + self.failed + self.canceled


@dataclass(frozen=True, slots=True)
class Job:
    """What a client submitted and watches."""

    id: str
    client: str
    status: JobStatus
    seq: int
    """Raised by every commit that changes what a client can see of the job or its items."""
    steps: tuple[Step, ...]
    join_at: int | None
    """See `NewJob.join_at`."""
    counts: Counts
    marks: Marks
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    """When its inputs and results go; None until it is done."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of an item's current step is done, in units of the step's own."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Item:
    """One input of a job: the unit of claim, retry and outcome."""

    job_id: str
    index: int
    """Position in the request, from 0."""
    status: ItemStatus
    seq: int
    """The job's `seq` at this item's last change: in this order events are told."""
    attempt: int
    name: str
    url: str | None
    file_id: str | None
    blob: Blob | None
    """The input's bytes; None for a URL and for an item that joins."""
    joins: bool
    """Whether its inputs are the results of all the job's other items."""
    progress: Progress | None
    """None unless it runs, and its step has told."""
    facts: dict[str, Any]
    refused: tuple[Refusal, ...]
    """Parts of it that failed alone."""
    problem: Problem | None
    results: tuple[File, ...]
    started_at: datetime | None
    finished_at: datetime | None
    pushed: Pushed | None = None
    """How it stands with putting its results elsewhere; None where nobody asked, or not yet."""


@dataclass(frozen=True, slots=True)
class Version:
    """What a URL had when a client last fetched it, and what the origin said of it then."""

    key: bytes
    """Digest of what was asked for: the URL and its headers."""
    blob: Blob
    facts: dict[str, Any]


def job_status(counts: Counts, *, stops: bool = False) -> JobStatus:
    """Tell where a job stands from where its items do.

    Items are canceled by a client's request, so one canceled item makes a job that ended without
    anything left to do a canceled one; or, in a job that `stops`, because one of them failed, and
    then so has the job.
    """
    if counts.running or (counts.queued and counts.finished):
        return JobStatus.RUNNING
    if counts.queued:
        return JobStatus.QUEUED
    if stops and counts.failed:
        return JobStatus.FAILED
    if counts.canceled:
        return JobStatus.CANCELED
    if counts.succeeded == counts.total:
        return JobStatus.SUCCEEDED
    return JobStatus.PARTIAL if counts.succeeded else JobStatus.FAILED
