"""How long the parts of one request take, as aiohttp tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp


@dataclass(slots=True)
class Noted:
    """What aiohttp did for one request, and when, in seconds of a clock of no meaning."""

    began: float = field(default_factory=time.perf_counter)
    reused: bool = False
    """Whether it went over a kept connection."""
    dns_began: float = 0.0
    dns_s: float | None = None
    connect_began: float = 0.0
    connect_s: float | None = None
    """With the name's look-up in it."""

    def timings(self) -> dict[str, float | None]:
        """Give seconds by phase; None for one that was not needed."""
        connect_s = None if self.connect_s is None else self.connect_s - (self.dns_s or 0.0)
        first_byte_s = time.perf_counter() - self.began
        return {"dns": self.dns_s, "connect": connect_s, "first_byte": first_byte_s}


def trace_config() -> aiohttp.TraceConfig:
    """Make aiohttp note in a request's own record what it does for it."""

    def noting(note: Callable[[Noted, float], None]) -> Any:
        async def noted(_: object, context: SimpleNamespace, __: object) -> None:
            note(context.trace_request_ctx, time.perf_counter())

        return noted

    def reused(noted: Noted, _: float) -> None:
        noted.reused = True

    def dns_began(noted: Noted, now: float) -> None:
        noted.dns_began = now

    def dns_ended(noted: Noted, now: float) -> None:
        noted.dns_s = now - noted.dns_began

    def connect_began(noted: Noted, now: float) -> None:
        noted.connect_began = now

    def connect_ended(noted: Noted, now: float) -> None:
        noted.connect_s = now - noted.connect_began

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(noting(reused))
    trace.on_dns_resolvehost_start.append(noting(dns_began))
    trace.on_dns_resolvehost_end.append(noting(dns_ended))
    trace.on_connection_create_start.append(noting(connect_began))
    trace.on_connection_create_end.append(noting(connect_ended))
    return trace
