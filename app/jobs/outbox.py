"""What an outbox promises: what is to be told is recorded with what it tells of, and never lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Protocol

from app.model import Attempt, Delivery, DeliveryStatus, Parcel, Route, Verdict, Webhook

ATTEMPTS_KEPT = 50
"""Of one delivery, the latest: replays must not grow a record for ever."""


class Outbox(Protocol):
    """Records of what leaves the house: events to endpoints, and results to presigned URLs.

    The job store writes them, each in the transaction that makes it true. They are handed out at
    least once: what is claimed and not settled is due again after `recover`. All methods may
    raise `StorageFull` or `StorageError`.
    """

    def listen(self, on_due: Callable[[], None]) -> None:
        """Call `on_due` whenever something may be due at once. A hint: the rows are the queue."""

    async def due(self, busy: Collection[str], only: Collection[str] | None) -> list[Route]:
        """Give some of what is due, the longest due first.

        Args:
            busy: origins and lanes whose turn it is not.
            only: the origins to which it is limited; None for all.
        """

    async def next_due_at(self) -> datetime | None:
        """Give the time at which the next thing becomes due that is not yet."""

    async def claim(self, keys: Sequence[int]) -> list[Parcel]:
        """Take what is still pending of these; nobody else is given them until they are settled."""

    async def settle(self, parcel: Parcel, attempt: Attempt | None, verdict: Verdict) -> bool:
        """Record an attempt and what becomes of the delivery.

        `attempt` is None where none was made. Returns False, and changes nothing, if the claim is
        void: the delivery was deleted, or its job expired, meanwhile.
        """

    async def release(self, parcels: Sequence[Parcel]) -> None:
        """Make claimed deliveries due again, no attempt counted; void claims are ignored."""

    async def recover(self) -> int:
        """Make due what a dead service was sending; call once, before the first claim."""

    async def get(self, delivery_id: str) -> Delivery | None:
        """Give an event's delivery with its attempts, or None; pushes are shown by their items."""

    async def list(
        self,
        client: str,
        *,
        job_id: str | None = None,
        status: DeliveryStatus | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[Sequence[Delivery], str | None]:
        """Give a page of a client's deliveries, newest first, and the cursor of the next page."""

    async def replay(self, delivery_id: str) -> None:
        """Have an event sent again under its id, with a whole schedule of attempts before it.

        One that is being sent in this moment is left alone.
        """

    async def test(self, client: str, webhook: Webhook) -> Delivery:
        """Record an event that says nothing, due at once."""

    def let_go(self) -> None:
        """Let nobody wait any more: from now on, `ended` gives the delivery as it is."""

    async def ended(self, delivery_id: str, timeout_s: float) -> Delivery | None:
        """Give a delivery as soon as it is delivered or dead, or as it is after `timeout_s`."""

    async def purge(self, retention_s: float) -> bool:
        """Remove what ended so long ago, a bounded number at a time; True if there may be more."""
