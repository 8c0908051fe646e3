"""How long the parts of one request take, as aiohttp tells."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import aiohttp

_REUSED = "connection_reuseconn"
_SIGNALS = (
    _REUSED,
    "dns_resolvehost_start",
    "dns_resolvehost_end",
    "connection_create_start",
    "connection_create_end",
)


class Noted(dict[str, float]):
    """When aiohttp did what for one request: seconds of a clock of no meaning, by its signals."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def reused(self) -> bool:
        """Whether it went over a kept connection."""
        return _REUSED in self

    def timings(self) -> dict[str, float | None]:
        """Give seconds by phase; None for one that was not needed."""
        dns_s = self._took_s("dns_resolvehost")
        connect_s = self._took_s("connection_create")
        if connect_s is not None:  # the name's look-up is in it
            connect_s -= dns_s or 0.0
        first_byte_s = time.perf_counter() - self._began
        return {"dns": dns_s, "connect": connect_s, "first_byte": first_byte_s}

    def _took_s(self, what: str) -> float | None:
        ended = self.get(f"{what}_end")
        return None if ended is None else ended - self[f"{what}_start"]


def trace_config() -> aiohttp.TraceConfig:
    """Make aiohttp note in a request's own `Noted` what it does for it."""

    def noting(signal: str) -> Any:
        async def note(_: object, context: SimpleNamespace, __: object) -> None:
            context.trace_request_ctx[signal] = time.perf_counter()

        return note

    trace = aiohttp.TraceConfig()
    for signal in _SIGNALS:
        getattr(trace, f"on_{signal}").append(noting(signal))
    return trace
