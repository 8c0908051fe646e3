"""What the records take in, and how long they keep it."""

from __future__ import annotations

from pydantic import BaseModel, Field


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
