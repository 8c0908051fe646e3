"""Composes the rooms' own settings; the only reader of the environment."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.blobs.base import BlobSettings
from app.cpu import PoolSettings
from app.jobs.base import JobSettings
from app.outbound.fetch import FetchSettings


class UploadSettings(BaseModel):
    """OFFLOAD_UPLOAD_*: what a request body may be."""

    max_bytes: int = Field(
        100 << 20, ge=1, description="Largest request body, and so largest file, in bytes."
    )
    max_files: int = Field(1_000, ge=1, description="Most file parts in one multipart body.")
    stall_timeout_s: float = Field(
        20, gt=0, description="Seconds without a byte after which an upload is cut off."
    )


class ItemSettings(BaseModel):
    """OFFLOAD_ITEM_*: what the work on one item may use."""

    timeout_s: float = Field(30, gt=0, description="Seconds of work in a worker for one item.")
    max_pixels: int = Field(
        50_000_000, ge=1, description="Pixels times frames of a picture, in and out."
    )
    max_output_bytes: int = Field(1 << 30, ge=1, description="Bytes that one item may produce.")


class Settings(BaseSettings):
    """Every setting, from `OFFLOAD_*` variables: OFFLOAD_FETCH_TIMEOUT_S is `fetch.timeout_s`."""

    model_config = SettingsConfigDict(
        env_prefix="OFFLOAD_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="forbid",
        frozen=True,
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    data_dir: Path = Field(
        Path("data"), description="Folder of the database and of all stored bytes."
    )
    api_keys: dict[str, SecretStr] = Field(
        default_factory=dict,
        description='Clients and their keys as JSON: {"shop": "a-long-secret"}. Empty: no '
        "key is asked for.",
    )
    allow_anonymous: bool = Field(
        default=False,
        description="Allow an address other than loopback without any API key.",
    )
    drain_timeout_s: float = Field(
        5, ge=0, description="Seconds that work under way gets to finish after SIGTERM."
    )
    log_format: Literal["console", "json"] = Field("console", description="How log lines look.")
    upload: UploadSettings = UploadSettings()
    item: ItemSettings = ItemSettings()
    jobs: JobSettings = JobSettings()
    pool: PoolSettings = PoolSettings()
    blobs: BlobSettings = BlobSettings()
    fetch: FetchSettings = FetchSettings()

    @model_validator(mode="after")
    def _no_open_door_by_accident(self) -> Self:
        if self.api_keys or self.allow_anonymous or is_loopback(self.host):
            return self
        message = (
            f"OFFLOAD_HOST is {self.host}, which others can reach, and there are no API keys. "
            "Set OFFLOAD_API_KEYS, or OFFLOAD_ALLOW_ANONYMOUS=true if something in front of this "
            "service lets only the right clients through."
        )
        raise ValueError(message)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
