"""Webhooks as Standard Webhooks 1.0 has them: what is said, how it is signed, what is set up."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic import model_validator as validates_model

from app.model.deliveries import EVENTS, JOB_EVENTS, Parcel
from app.moments import rfc3339
from app.outbound.addresses import Network

SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with
SECRET_BYTES = range(24, 65)
"""How long a secret is, decoded."""
MAX_SECRETS = 2
"""The new one and the old one, while receivers change over."""


def secret_key(secret: str) -> bytes:
    """Give the key of a `whsec_` secret: base64, padded or not.

    Raises:
        ValueError: it is not one, or too short or too long to be one.
    """
    coded = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except ValueError:
        key = b""
    if coded == secret or len(key) not in SECRET_BYTES:
        message = "a webhook secret is `whsec_` and the base64 of 24 to 64 random bytes"
        raise ValueError(message)
    return key


def signatures(secrets: Iterable[str], message_id: str, at: datetime, body: bytes) -> str:
    """Sign a message with every secret; what goes into `webhook-signature`."""
    signed = f"{message_id}.{int(at.timestamp())}.".encode() + body
    made = (hmac.digest(secret_key(secret), signed, hashlib.sha256) for secret in secrets)
    return " ".join("v1," + base64.b64encode(signature).decode() for signature in made)


def message(parcel: Parcel, base_url: str) -> bytes:
    """Write an event down: the same bytes at every attempt.

    `base_url` goes before each link's path; empty leaves them relative to this service.
    """
    data = dict(parcel.data)
    if job_id := data.get("job_id"):
        job = f"{base_url}/v1/jobs/{job_id}"
        data["links"] = {"job": job, "items": f"{job}/items"}
        if (index := data.get("index")) is not None:
            after = f"cursor={index - 1}&" if index else ""
            data["links"]["items"] += f"?{after}limit=1"
    said: dict[str, Any] = {
        "type": parcel.event,
        "timestamp": rfc3339(parcel.created_at),
        "data": data,
    }
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def headers(parcel: Parcel, secrets: Iterable[str], at: datetime, body: bytes) -> dict[str, str]:
    """Give what is sent with a message; it is signed anew at each attempt, under the same id."""
    return {
        "content-type": "application/json",
        "webhook-id": parcel.id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signatures(secrets, parcel.id, at, body),
    }


def _known(event: str) -> str:
    if event not in EVENTS:
        raise ValueError("must be one of " + ", ".join(EVENTS))
    return event


Event = Annotated[str, Field(max_length=100), AfterValidator(_known)]


class WebhookSettings(BaseModel):
    """OFFLOAD_WEBHOOKS_*: who is told of jobs that name nobody, and how all are told."""

    model_config = ConfigDict(frozen=True)

    url: str = Field(
        default="",
        description="Endpoint that is told of every job without a `webhook` of its own.",
    )
    secrets: tuple[SecretStr, ...] = Field(
        default=(),
        max_length=MAX_SECRETS,
        description="Signing secrets, `whsec_` and base64; two while you change them over, each "
        "signs. Needed for that endpoint, and for jobs that bring no secret.",
    )
    events: tuple[Event, ...] = Field(
        default=JOB_EVENTS,
        min_length=1,
        description="What is told of a job that does not say; there are also item.succeeded, "
        "item.failed, push.succeeded and push.failed.",
    )
    base_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s?#]*[^\s?#/])?$",
        description="Where clients reach this service; goes before the links in events.",
    )
    allow_networks: tuple[Network, ...] = Field(
        default=(),
        description="Networks in which that endpoint, and nothing else, may be besides "
        "OFFLOAD_FETCH_ALLOW_NETWORKS.",
    )
    timeout_s: float = Field(
        default=15.0, gt=0, le=300, description="Seconds in which an endpoint has to answer."
    )
    concurrency: int = Field(
        default=128, ge=2, le=1000, description="Deliveries under way in one node."
    )
    per_endpoint_concurrency: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="Deliveries under way to one URL, of all nodes together; twice as many to one "
        "host.",
    )
    retry_after_cap_s: float = Field(
        default=86_400,
        ge=0,
        le=31_536_000,
        description="Longest Retry-After that is respected, in seconds.",
    )
    retention_s: float = Field(
        default=604_800,
        gt=0,
        le=315_360_000,
        description="Seconds that the record of an ended delivery stays.",
    )

    @field_validator("secrets", "events", "allow_networks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            [part for part in re.split(r"[,\s]+", value) if part]
            if isinstance(value, str)
            else value
        )

    @field_validator("secrets")
    @classmethod
    def _usable(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            secret_key(secret.get_secret_value())
        return secrets

    @validates_model(mode="after")
    def _signed(self) -> Self:
        if self.url and not self.secrets:
            message = "OFFLOAD_WEBHOOKS_URL is set; set OFFLOAD_WEBHOOKS_SECRETS to sign with"
            raise ValueError(message)
        return self

    @property
    def signing(self) -> tuple[str, ...]:
        """Give the secrets in clear."""
        return tuple(secret.get_secret_value() for secret in self.secrets)


class PushSettings(BaseModel):
    """OFFLOAD_PUSH_*: how results are put elsewhere."""

    timeout_s: float = Field(
        default=600.0,
        gt=0,
        le=86_400,
        description="Seconds that one attempt to put a result may take.",
    )
