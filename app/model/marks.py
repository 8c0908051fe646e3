"""What clients hang on jobs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

MAX_TAG_CHARACTERS = 100


class Marks(BaseModel):
    """What a client hangs on a job and gets back with it, and with its events.

    Each is a column of `jobs` by its name: a text, or JSON.
    """

    tag: str | None = Field(
        default=None, max_length=MAX_TAG_CHARACTERS, description="For finding it in the list."
    )
    metadata: dict[str, Any] = Field(default={}, description="Given back as it came; 16 KiB.")
