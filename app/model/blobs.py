"""Bytes and the names that clients know them by; pure and frozen."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from datetime import datetime

BLAKE3_PREFIX = "b3-"
"""Of the digests of bytes whose sha256 nobody asked for."""
SMALL_BYTES = 64 << 10
"""Up to so many bytes are a value, kept in the records: no file, no sync of its own."""


def new_key() -> str:
    """Make the key of a blob: 128 random bits in hex."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Blob:
    """Stored bytes: where they are, and what they are."""

    key: str
    """Where the store has them: made by us, never used again. (Up to 0.2 it was the digest.)"""
    size_bytes: int
    media_type: str
    """By content; of a text, also by what it is called (`app/ops/text_types.py`)."""
    digest: str
    """In lower-case hex: their sha256, or behind `b3-` their BLAKE3."""
    value: bytes | None = field(default=None, repr=False)
    """The bytes themselves, up to `SMALL_BYTES`; None where the blob store has them."""

    @property
    def sha256(self) -> str | None:
        """In lower-case hex; None of bytes that came in and were never asked for it."""
        return None if self.digest.startswith(BLAKE3_PREFIX) else self.digest

    @property
    def repr_digest(self) -> str | None:
        """As the header Repr-Digest says it (RFC 9530); None where there is no `sha256`."""
        if self.sha256 is None:
            return None
        return f"sha-256=:{base64.b64encode(bytes.fromhex(self.sha256)).decode()}:"


@dataclass(frozen=True, slots=True)
class NamedBlob:
    """A blob and the name under which a client knows it; a file before it has a record."""

    blob: Blob
    name: str


@dataclass(frozen=True, slots=True)
class File:
    """A stored blob with a name, for as long as its record lives."""

    id: str
    client: str
    blob: Blob
    name: str
    job_id: str | None
    """The job that it is an input or result of; None for a file stored by itself."""
    created_at: datetime
    expires_at: datetime | None
    """None while its job is still at work."""
