"""What a connection may send and how long it may take."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

ORIGIN = r"https?://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[1-9]\d{0,4})?"


class HttpSettings(BaseModel):
    """OFFLOAD_HTTP_*: what is held against every connection, before anybody asks who it is."""

    model_config = ConfigDict(frozen=True)

    max_line_bytes: int = Field(
        16 << 10,
        ge=1 << 10,
        le=1 << 20,
        description="Longest request line, header, trailer or chunk extension, in bytes; more is "
        "answered 431.",
    )
    max_head_bytes: int = Field(
        64 << 10,
        ge=4 << 10,
        le=16 << 20,
        description="All of them of one request together, in bytes.",
    )
    max_headers: int = Field(
        100, ge=10, le=10_000, description="Most headers and trailers of a request."
    )
    head_timeout_s: float = Field(
        20,
        gt=0,
        le=3600,
        description="Seconds in which a request's head has to arrive whole, from the connection's "
        "beginning or the head's first byte.",
    )
    body_min_bytes_s: int = Field(
        100,
        ge=0,
        le=1 << 30,
        description="Bytes a second that a body has to arrive with, on average over "
        "OFFLOAD_UPLOAD_STALL_TIMEOUT_S; the time in which the service does not read is left out.",
    )
    send_timeout_s: float = Field(
        60,
        gt=0,
        le=3600,
        description="Seconds in which a client has to take something of its answer.",
    )
    keep_alive_s: int = Field(
        65,
        ge=1,
        le=3600,
        description="Seconds that a connection stays open between requests; longer than a proxy "
        "in front keeps its own, or that one loses requests.",
    )
    max_connections: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Most connections; 0 is as many as the process may have files for (`ulimit "
        "-n`). Those that ask for nothing make room for new ones, then new ones are answered 503.",
    )

    @model_validator(mode="after")
    def _a_line_fits_into_a_head(self) -> Self:
        if self.max_line_bytes > self.max_head_bytes:
            message = "OFFLOAD_HTTP_MAX_LINE_BYTES is more than OFFLOAD_HTTP_MAX_HEAD_BYTES"
            raise ValueError(message)
        return self


class UploadSettings(BaseModel):
    """OFFLOAD_UPLOAD_*: what a request body may be."""

    max_bytes: int = Field(
        100 << 20,
        ge=1,
        le=1 << 40,
        description="Largest request body, and so largest file, in bytes.",
    )
    max_files: int = Field(
        1_000, ge=1, le=100_000, description="Most file parts in one multipart body."
    )
    stall_timeout_s: float = Field(
        20, gt=0, le=3600, description="Seconds without a byte after which an upload is cut off."
    )


def _an_origin(text: str) -> str:
    """Take what a browser sends as `Origin`, letter by letter: anything else would match nothing.

    Raises `ValueError` for `*` and `null` too: any page could then use a service without keys.
    """
    if not re.fullmatch(ORIGIN, text):
        raise ValueError(
            "write each origin as browsers send it, such as https://app.example.com or "
            "http://localhost:3000: scheme, host in small letters, port if it is not the usual "
            "one, and no path"
        )
    if text.startswith("http:") and text.endswith(":80"):
        raise ValueError("leave out port 80, as browsers do")
    if text.startswith("https:") and text.endswith(":443"):
        raise ValueError("leave out port 443, as browsers do")
    return text


def listed(value: object) -> object:
    """Take `a, b` as well: the form in which an environment variable is easily written."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


class CorsSettings(BaseModel):
    """OFFLOAD_CORS_*: pages of other origins."""

    model_config = ConfigDict(frozen=True)

    origins: Annotated[
        tuple[Annotated[str, AfterValidator(_an_origin)], ...], BeforeValidator(listed)
    ] = Field(
        (),
        max_length=100,
        description="Origins whose pages may call this service from the browser, e.g. "
        '"https://app.example.com,http://localhost:3000". Empty: none but its own.',
    )
