"""What an operator can set of the worker processes."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import BaseModel, Field

Executor = Literal["process", "thread", "interpreter"]


class PoolSettings(BaseModel):
    """OFFLOAD_POOL_*: the worker processes."""

    executor: Executor = Field(
        "process",
        description="What the workers are: processes, threads of the service itself, or threads "
        "with interpreters of their own; docs/concurrency.md says what the last two give up.",
    )
    workers: int = Field(
        0, ge=0, le=256, description="Worker processes; 0 is one per available core."
    )
    memory_bytes: int = Field(
        1 << 30,
        ge=256 << 20,
        le=1 << 40,
        description="Address space of one worker (RLIMIT_AS).",
    )
    recycle_after: int = Field(
        500,
        ge=1,
        le=1_000_000,
        description="Items per worker after which the workers are replaced; those of a few "
        "milliseconds count for less.",
    )
    kill_grace_s: float = Field(
        5,
        gt=0,
        le=3600,
        description="Seconds past an item's deadline until its worker is killed.",
    )

    @property
    def worker_count(self) -> int:
        """How many children that makes on this machine."""
        return self.workers or len(os.sched_getaffinity(0))
