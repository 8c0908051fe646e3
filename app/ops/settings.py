"""What the work on one item may use."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.ops.base import Limits


class ItemSettings(BaseModel):
    """OFFLOAD_ITEM_*: what the work on one item may use."""

    timeout_s: float = Field(
        30, gt=0, le=86_400, description="Seconds of work in a worker for one item."
    )
    max_pixels: int = Field(
        50_000_000, ge=1, le=10**10, description="Pixels times frames of a picture, in and out."
    )
    max_output_bytes: int = Field(
        1 << 30, ge=1, le=1 << 40, description="Bytes that one item may produce."
    )
    max_files: int = Field(
        10_000, ge=1, le=1_000_000, description="Files that one item may produce."
    )

    def limits(self, min_free_bytes: int) -> Limits:
        """Give them as an operation knows them, with what the disk is to keep free."""
        return Limits(
            time_s=self.timeout_s,
            max_pixels=self.max_pixels,
            max_output_bytes=self.max_output_bytes,
            max_files=self.max_files,
            min_free_bytes=min_free_bytes,
        )
