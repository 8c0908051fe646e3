"""What a node takes of a job, and what it tells of it.

A *chunk* is what a node takes: some items of one job that wait for the same. A *claim* is the right
to run one of them, once; what is told of it is held against its *fence*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.errors import Problem, Refusal
from app.model.blobs import Blob, NamedBlob
from app.model.jobs import Job, Lane, Step

MAX_INTERRUPTIONS = 10
"""How often the service may go down under an item before the item is given up. Work runs in
children with limits of their own, so an item is the last suspect when the service dies; a
restart loop must still end."""


Fence = tuple[int, int, int]
"""What tells a claim from every other: no key of an item does, since an item is taken again."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one item once, as one of a chunk that a node has taken."""

    item_key: int
    job_key: int
    chunk_key: int
    delivery: int
    """Of the chunk: fences, since whoever takes it later raises it."""
    attempt: int
    job_id: str
    index: int
    steps: tuple[Step, ...]
    """What is done with its inputs; the fetch that brings them is none of these."""
    name: str
    inputs: tuple[NamedBlob, ...]
    """The stored file; for an item that joins, all there is to join; for a URL none, or what an
    item that asked for the same has fetched."""
    url: str | None
    headers: dict[str, str]
    fetch: Mapping[str, Any] | None = None
    """How a URL is fetched; None where nothing is."""
    sha256: str | None = None
    max_bytes: int | None = None
    """Both: see `NewItem`."""
    problem: Problem | None = None
    """What it fails with, whenever it runs."""
    submitted_at: datetime | None = None
    """When its job came."""
    client: str = ""
    """Whose it is."""

    @property
    def fence(self) -> Fence:
        """Give what an outcome is held against."""
        return self.chunk_key, self.delivery, self.item_key


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some items of one job that a node runs together."""

    key: int
    delivery: int
    job_key: int
    lane: Lane
    claims: tuple[Claim, ...]
    """None of a chunk that some node died with: its items are taken one by one."""
    deaths: int
    """How often a node died with it."""


@dataclass(frozen=True, slots=True)
class Done:
    """The item succeeded."""

    results: tuple[NamedBlob, ...]
    facts: dict[str, Any]
    refused: tuple[Refusal, ...] = ()
    fetched: Blob | None = None
    """Of a URL: its content, kept like an input where other items wait for it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The item failed, and why."""

    problem: Problem
    facts: dict[str, Any] = field(default_factory=dict)


Outcome = Done | Failed


@dataclass(frozen=True, slots=True)
class Ended:
    """An item is over."""

    claim: Claim
    outcome: Outcome
    worked_s: float = 0.0
    """How long ago its work began."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that is on disk."""

    job: Job
    created: bool
    """False if the idempotency key brought back a job made earlier."""
    chunks: tuple[Chunk, ...] = ()
    """What of it was taken in the same transaction."""
