"""Flow control that says when reading goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """uvicorn's, which tells when reading goes on after a pause."""

    def __init__(self, transport: asyncio.Transport, resumed: Callable[[], None]) -> None:
        """Control `transport`; `resumed` is called each time."""
        super().__init__(transport)
        self._resumed = resumed

    def resume_reading(self) -> None:
        """Read again, if that was paused."""
        if self.read_paused:
            super().resume_reading()
            self._resumed()
