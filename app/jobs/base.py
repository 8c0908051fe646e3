"""What a job store promises, whichever database is behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from pydantic import BaseModel, Field

from app.model import (
    Claim,
    File,
    Item,
    ItemStatus,
    Job,
    JobStatus,
    Lane,
    NamedBlob,
    NewItem,
    NewJob,
    Outcome,
    Progress,
    Version,
)

IDEMPOTENCY_KEY_AGE = timedelta(hours=24)
"""How long an Idempotency-Key brings back its job."""
VERSION_AGE = timedelta(days=30)
"""How long it is known which version of a URL a client fetched last."""


class JobSettings(BaseModel):
    """OFFLOAD_JOBS_*: how much work is accepted and how long its results stay."""

    max_items: int = Field(10_000, ge=1, le=1_000_000, description="Most items one job may have.")
    max_streamed_items: int = Field(
        1_000_000,
        ge=1,
        le=100_000_000,
        description="Most URLs of a job that comes as NDJSON.",
    )
    max_streamed_bytes: int = Field(
        1 << 30, ge=1, le=1 << 40, description="Largest NDJSON body, in bytes."
    )
    max_unfinished_items: int = Field(
        2_000_000,
        ge=1,
        le=10**9,
        description="Unfinished items in the whole service; more is answered 429.",
    )
    retention_s: float = Field(
        86_400,
        gt=0,
        le=315_360_000,
        description="Seconds that a finished job's files stay; reading renews it.",
    )
    wait_max_s: float = Field(
        60, ge=0, le=3600, description="Longest `wait` that a request may ask for, in seconds."
    )


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that is on disk."""

    job: Job
    created: bool
    """False if the idempotency key brought back a job made earlier."""


class Incoming(Protocol):
    """A job on its way in: nobody sees it, and nothing of it runs, before it is submitted."""

    async def add(self, items: Sequence[NewItem]) -> None:
        """Write some more of its items, all of them URLs.

        Raises:
            QueueFull: more unfinished items than the service takes.
        """

    async def submit(self, new: NewJob) -> Submitted:
        """Make all that was added, and `new` without items of its own, a job in one transaction.

        `new.pace` must be set; `new.dedupe` was said when it was opened. Raises as
        `JobStore.submit` does, and may then be left.
        """


class JobStore(Protocol):
    """Records of jobs, items and files, and the queue: the rows are the queue.

    All methods may raise `StorageFull` or `StorageError`. A method that changes something has
    changed it durably when it returns.
    """

    async def submit(self, new: NewJob) -> Submitted:
        """Write a job and all its items in one transaction.

        Raises:
            NotFound: a `file_id` is not a file of this client.
            IdempotencyMismatch: the key belongs to a request with another fingerprint.
            QueueFull: more unfinished items than the service takes.
        """

    def receiving(self, client: str, *, dedupe: bool) -> AbstractAsyncContextManager[Incoming]:
        """Take a job of very many URLs in, a part at a time.

        What was not submitted when the context closes, or the service dies, is removed.
        """

    def check_backlog(self, items: int = 1) -> None:
        """Refuse early, before a body is read: raises `QueueFull` if `items` more do not fit."""

    async def get_job(self, job_id: str) -> Job | None:
        """Give a job, or None."""

    async def list_jobs(
        self,
        client: str,
        *,
        status: JobStatus | None = None,
        tag: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[list[Job], str | None]:
        """Give a page of a client's jobs, newest first, and the cursor of the next page."""

    async def list_items(
        self,
        job_id: str,
        *,
        status: ItemStatus | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> tuple[list[Item], str | None]:
        """Give a page of a job's items in input order, and the cursor of the next page."""

    async def items_since(
        self, job_id: str, after: tuple[int, int], limit: int = 500
    ) -> list[Item]:
        """Give the items that became final after the one with this (seq, index), in that order."""

    async def changed(self, job_id: str, since: int, timeout_s: float) -> Job | None:
        """Give the job as soon as its `seq` is above `since`, or as it is after `timeout_s`."""

    async def ended(self, job_id: str, timeout_s: float) -> Job | None:
        """Give the job as soon as it is done or deleted, or as it is after `timeout_s`."""

    def let_go(self) -> None:
        """Let nobody wait any more: from now on, `changed` and `ended` give the job as it is."""

    async def claim(self, lane: Lane, limit: int) -> list[Claim]:
        """Take up to `limit` queued items of a lane, by priority.

        A URL is running from now, as it is fetched; what waits for a worker once `began` says so,
        and is shown as queued until then.
        """

    async def began(self, begun: Iterable[tuple[Claim, float]]) -> None:
        """Write that workers have begun items, so many seconds ago; void claims are ignored."""

    async def finish(self, claim: Claim, outcome: Outcome, worked_s: float = 0.0) -> bool:
        """Record an item's outcome and its results.

        `worked_s` is how long ago a worker began it, for an item of which `began` did not say so.

        Returns False, and changes nothing, if the claim is void: the item was claimed again,
        canceled or deleted meanwhile.
        """

    async def tell(self, progress: Iterable[tuple[Claim, Progress]]) -> None:
        """Write how far running items are; void claims are ignored."""

    async def release(self, claims: Iterable[Claim]) -> None:
        """Give claimed items back to the queue; void claims are ignored."""

    async def recover(self) -> int:
        """Give back what a dead service was running; call once, before the first claim.

        Items over `MAX_INTERRUPTIONS` fail as `internal.interrupted`. Returns how many items
        went back to the queue.
        """

    async def cancel(self, job_id: str) -> list[int]:
        """Make every unfinished item canceled; returns the keys of those that were running.

        What runs or could be claimed is canceled when this returns. Of a job with very many items
        the others follow, and the job is done when they are.
        """

    async def retry(self, job_id: str) -> Job | None:
        """Put a job's failed items back into the queue; gives the job as it is then.

        An item that joins the others runs again behind them, and its results are removed. In a
        job that `stops`, what was canceled because an item failed goes back as well. None if
        there is no such job.

        Raises:
            Conflict: it is not over, or nothing of it has failed.
            Expired: its inputs are gone.
            QueueFull: more unfinished items than the service takes.
        """

    async def remember(self, job_id: str, version: Version) -> None:
        """Note, for the job's client, what a URL had when it was fetched."""

    async def recall(self, job_id: str, key: bytes) -> Version | None:
        """Give what was last noted for the job's client under a key."""

    async def delete_job(self, job_id: str) -> list[int]:
        """Remove a job, its items and files; returns the keys of items that were running."""

    async def add_file(self, client: str, blob: NamedBlob, retention_s: float) -> File:
        """Record a stored file that belongs to no job."""

    async def get_file(self, file_id: str) -> File | None:
        """Give a file, or None."""

    async def delete_file(self, file_id: str) -> None:
        """Remove a file's record; one that is gone already is fine."""

    async def extend(self, file: File, retention_s: float) -> None:
        """Renew the retention of a file, or of the job it belongs to, from now."""

    async def purge(self) -> bool:
        """Expire what is due, a bounded number at a time; True if there may be more."""

    async def abandon(self, keys: Sequence[str]) -> None:
        """Have `loose` give blob keys that were stored and maybe never recorded."""

    async def loose(self, limit: int = 500) -> list[str]:
        """Give, once, blob keys that a record has let go of; others may still point at them."""

    async def unreferenced(self, keys: Sequence[str]) -> list[str]:
        """Give those blob keys that no record points at."""

    async def check_writable(self) -> None:
        """Raise `StorageError` unless a write would succeed now."""
