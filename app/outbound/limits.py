"""OFFLOAD_FETCH_*: the operator's limits for fetching."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from app import __version__
from app.ops.fetch import FetchParams
from app.outbound.guard import GuardSettings
from app.outbound.proxy import Proxy


class FetchSettings(GuardSettings):
    """The operator's limits for fetching; a batch's own parameters only tighten them."""

    timeout_s: float = Field(
        default=15.0,
        gt=0,
        le=86_400,
        description="Deadline for one URL in seconds, redirects, retries and the waits between "
        "them included; waiting for the host's turn, and storing, are not.",
    )
    connect_timeout_s: float = Field(
        default=5.0,
        gt=0,
        le=3600,
        description="Longest wait for a connection, TLS included, in seconds.",
    )
    read_timeout_s: float = Field(
        default=10.0, gt=0, le=3600, description="Longest silence of an origin, in seconds."
    )
    max_bytes: int = Field(
        default=32 << 20, ge=1, le=1 << 40, description="Largest decoded body, in bytes."
    )
    max_redirects: int = Field(default=5, ge=0, le=20, description="Redirects followed.")
    retries: int = Field(default=2, ge=0, le=10, description="Further tries after the first.")
    retry_after_cap_s: float = Field(
        default=5.0,
        ge=0,
        le=86_400,
        description="Longest Retry-After that is waited for, in seconds.",
    )
    concurrency: int = Field(default=64, ge=1, le=1000, description="URLs under way in one node.")
    per_host_concurrency: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="Requests under way to one scheme, host and port, of all nodes together.",
    )
    user_agent: str = Field(
        default=f"offload/{__version__}",
        pattern=r"^[\x21-\x7e]([\x20-\x7e]{0,254}[\x21-\x7e])?$",
        description="The User-Agent that is sent.",
    )
    proxy_url: SecretStr = Field(
        default=SecretStr(""),
        description="Proxy through which everything outbound goes, webhooks and pushes too: "
        "`http://[user:password@]host:port`. It has to allow CONNECT to OFFLOAD_FETCH_PORTS.",
    )

    @field_validator("proxy_url")
    @classmethod
    def _a_proxy(cls, url: SecretStr) -> SecretStr:
        if url:
            Proxy.parse(url.get_secret_value())
        return url

    @property
    def proxy(self) -> Proxy | None:
        """Give the proxy, if there is one."""
        return Proxy.parse(self.proxy_url.get_secret_value()) if self.proxy_url else None

    def tightened(self, params: FetchParams) -> FetchSettings:
        """Give these settings with each of `params` that is stricter put in its place."""
        asked = {name: getattr(params, name) for name in _LIMITS}
        return self.model_copy(
            update={
                name: min(value, getattr(self, name))
                for name, value in asked.items()
                if value is not None
            }
        )


_LIMITS = tuple(FetchParams.model_fields.keys() & FetchSettings.model_fields.keys())
"""What both a batch and the operator can bound."""
