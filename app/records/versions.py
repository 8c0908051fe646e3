"""Which version of a URL a client fetched last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from app.model.jobs import Version
from app.records import files, rows
from app.stores.base import Tx


def key_of(url: str, headers: Mapping[str, str] | None, *more: Any) -> bytes:
    """Digest what makes two fetches of a client ask for the same: 32 bytes.

    `more` are the terms, beside the request, that its result depends on.
    """
    asked = [url, sorted((name.lower(), value) for name, value in (headers or {}).items()), *more]
    return hashlib.sha256(json.dumps(asked).encode()).digest()


def remember(tx: Tx, job_id: str, version: Version) -> None:
    """Note, for the job's client, what a URL had when it was fetched.

    The bytes stay as long as some record has them, not for the version's sake.
    """
    tx.run(
        "put_version",
        job_id=job_id,
        key=version.key,
        **files.columns(version.blob),
        facts=rows.dump(version.facts),
        now_ms=tx.now(),
    )


def recall(tx: Tx, job_id: str, key: bytes) -> Version | None:
    """Give what was last noted for the job's client under a key."""
    found = tx.run("get_version", job_id=job_id, key=key)
    return rows.version(found[0]) if found else None
