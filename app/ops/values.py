"""Values of parameters as queries and forms spell them: all text."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import WithJsonSchema

from app.ops.jsontext import value_of

LevelNumber = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 22})]
"""What `level` lets through; each codec has its own range inside."""


def listed(value: Any) -> Any:
    """Take `a, b` for a list of two, and the JSON text `["a", "b"]` too."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return value_of(value)
        except ValueError:
            pass  # a glob may begin so as well
    return [part.strip() for part in value.split(",") if part.strip()]


def level(value: Any) -> Any:
    """Take the text "9" for 9; raises `ValueError` that says once, and whole, what is valid."""
    if isinstance(value, str):
        if value in ("balanced", "fast", "best"):
            return value
        if re.fullmatch(r"[+-]?[0-9]{1,6}", value.strip(), re.ASCII):
            return int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("must be fast, balanced, best or a whole number")
