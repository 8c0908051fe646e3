"""Where this process tells what it counts."""

from __future__ import annotations

import re

from pydantic import BaseModel, Field, field_validator

_BIND = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]/]+)):(\d{1,5})")


class MetricsSettings(BaseModel):
    """OFFLOAD_METRICS_*: what is told to Prometheus."""

    bind: str = Field(
        "",
        max_length=300,
        description="Address and port of `/metrics`, as 127.0.0.1:9464 or [::1]:9464; port 0 picks "
        "a free one. Each process has one of its own, and asks for no key. Empty: there is none.",
    )

    @field_validator("bind")
    @classmethod
    def _an_address(cls, value: str) -> str:
        found = _BIND.fullmatch(value)
        if value and (not found or int(found[3]) > 65_535):
            raise ValueError("write an address and a port, as 127.0.0.1:9464")
        return value

    @property
    def address(self) -> tuple[str, int] | None:
        """Give host and port, if metrics are asked for."""
        found = _BIND.fullmatch(self.bind)
        return (found[1] or found[2], int(found[3])) if found else None
