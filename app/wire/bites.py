"""Tells the operator that a limit bit, without letting strangers fill the log."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Any

import structlog

from app.logs import Sparingly

log = structlog.get_logger(__name__)

LINES_PER_MINUTE = 6


class Bites:
    """A few lines a minute for each kind of limit; the next one counts those left out."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._kinds: dict[str, Sparingly] = defaultdict(partial(Sparingly, LINES_PER_MINUTE))

    def note(self, limit: str, **facts: Any) -> None:
        """Tell, or count, that `limit` bit: one of a few names, never a stranger's word."""
        held_back = self._kinds[limit].held_back()
        if held_back is not None:
            log.warning("limit_bit", limit=limit, **facts, held_back=held_back)
