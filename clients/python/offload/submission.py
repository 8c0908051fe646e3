"""What is said to the service: the document of a job, and what may be hung on it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

import httpx

from offload.inputs import Stored, Url
from offload.multipart import Form

if TYPE_CHECKING:
    from offload.documents import StoreInput, WebhookInput

MARKS = ("tag", "metadata", "webhook", "store")


class OtherLabels(TypedDict, total=False):
    """What may be said of a job, whatever its work is; but for `metadata`."""

    tag: str | None
    """For finding it in the list."""
    webhook: WebhookInput | str | None
    """Who is told of its events."""
    store: StoreInput | str | None
    """Where its results are put too."""
    paths: Literal["strip", "keep"] | None
    """Whether the folders in the names of files are kept."""
    idempotency_key: str | None
    """The same key with the same request gives the same job for 24 hours. Each call has one of its
    own; give one to make a call again in another process."""
    wait_s: float | None
    """How long the service may hold its answer until the job is over; at most what it allows."""


class Labels(OtherLabels, total=False):
    """What may be said of a job, whatever its work is."""

    metadata: Mapping[str, Any] | None
    """Given back as it came."""


def parted(options: Mapping[str, Any], labels: OtherLabels) -> tuple[dict[str, Any], Labels]:
    """Give the options that are said, and the labels.

    `metadata` is an option of some operations as well: then it is a word, and the job's an object.
    """
    said = {name: value for name, value in options.items() if value is not None}
    marks = cast("Labels", dict(labels))
    if isinstance(said.get("metadata"), Mapping):
        marks["metadata"] = said.pop("metadata")
    return said, marks


def job_document(
    items: Sequence[Url | Stored], steps: Sequence[Mapping[str, Any]], labels: Labels
) -> str:
    """Give the document of a job, as JSON. Raises `ValueError` for what JSON cannot say."""
    said: dict[str, Any] = {"steps": [dict(step) for step in steps]}
    said["items"] = [
        {"file_id": one.file_id} if isinstance(one, Stored) else one.document() for one in items
    ]
    said |= {name: one for name in MARKS if (one := labels.get(name)) is not None}
    return json.dumps(said, allow_nan=False)


def submission(document: str, form: Form | None, labels: Labels, key: str) -> dict[str, Any]:
    """Give the request that submits a job, for `ask`."""
    wait_s = labels.get("wait_s") or 0
    params = {"paths": labels.get("paths"), "wait": wait_s or None}
    body = {"document": json.loads(document)} if form is None else {"form": form}
    return {"params": params, "headers": {"Idempotency-Key": key}, "wait_s": wait_s, **body}


def checked_server(server: str) -> str:
    """Give the address without a slash at its end. Raises `ValueError`."""
    try:
        url = httpx.URL(server.strip())
    except httpx.InvalidURL as error:
        raise ValueError(f"The server's address cannot be read: {error}.") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("The server's address begins with http:// or https:// and a name.")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("The server's address has no user, query or fragment.")
    return str(url).rstrip("/")


def checked_key(key: str | None) -> str | None:
    """Give the key if it can be sent. Raises `ValueError`, which does not show it."""
    if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
        raise ValueError("The key has to be printable ASCII without spaces.")
    return key
