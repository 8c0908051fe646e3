"""What the OpenAPI document says of the routes that take work.

An option is told once: as a query parameter, beside whatever body there is. That it may stand in a
form or in a JSON document as well is said in words: a generator that found it in two places would
have clients send it from both.
"""

from __future__ import annotations

from typing import Any

from app.api import components, labels
from app.api.components import BINARY
from app.api.problems import documented
from app.api.schemas import JobView
from app.ops.base import Offered

DONE = "The job is done (after a `wait`); with `download`, its single result itself."
ACCEPTED = "The job is on disk and will be done."
DOOR_ERRORS = (400, 401, 404, 408, 409, 413, 415, 422, 429, 503, 507)

SUBMITTED: dict[str, Any] = {
    "status_code": 202,
    "response_description": ACCEPTED,
    "response_model": None,
    "responses": {
        202: {"model": JobView},
        200: {"model": JobView, "description": DONE},
        303: {"description": "The way to the single result (`redirect`)."},
        **documented(*DOOR_ERRORS),
    },
}
"""How every route answers that makes a job."""

TAGS = [
    {
        "name": "operations",
        "description": "One door for each operation: files or URLs in, a job out.",
    },
    {"name": "jobs", "description": "Several steps in one job; poll, wait, stream, cancel, retry."},
    {"name": "files", "description": "Store inputs once, and download results."},
    {"name": "webhooks", "description": "What was told to endpoints, and what did not arrive."},
    {"name": "service", "description": "What there is, how much is allowed, and is it well."},
]
"""The groups of routes, in the order in which a reader meets them."""

ANSWERED = (
    "The answer is the job, at once (202). With `wait` it comes when the job is done; with "
    "`download` as well, it is the single result itself."
)
OF_FILES = (
    "Send files as a form, one as the body itself, or URLs and ids of stored files in a document; "
    "options are in the query."
)
OF_URLS = "Send URLs in a document, or one a line; options are in the query."
RAW = {"application/octet-stream": {"schema": BINARY}}
LINES = {
    "application/x-ndjson": {
        "schema": {
            "type": "string",
            "description": "One URL a line, for very many: JSON strings, or objects as in "
            "JSON. Options are in the query.",
            "contentMediaType": "application/x-ndjson",
            "x-line": {"anyOf": [{"type": "string"}, components.schema("UrlInput")]},
        },
        "example": '"https://example.com/a"\n{"url": "https://example.com/b"}\n',
    },
    "text/plain": {
        "schema": {"type": "string", "description": "One URL a line, as it is."},
        "example": "https://example.com/a\nhttps://example.com/b\n",
    },
}
FORM = "multipart/form-data"


def params_schema(operation: Offered) -> dict[str, Any]:
    """Give the JSON Schema of an operation's parameters, whole in itself."""
    return operation.params.model_json_schema()


def door(operation: Offered) -> dict[str, Any]:
    """Describe a one-shot door."""
    document = {
        "application/json": {
            "schema": components.schema("DoorInput"),
            "example": {"urls": ["https://example.com/a"]},
        }
    }
    if operation.runs == "async":
        return _door(operation, {**document, **LINES}, f"{OF_URLS} {ANSWERED}")
    files = {FORM: {"schema": components.schema("FilesForm")}}
    return _door(operation, {**files, **RAW, **document}, f"{OF_FILES} {ANSWERED}")


def raw_door(operation: Offered) -> dict[str, Any]:
    """Describe a door that takes one file as the body itself."""
    said = f"As `POST`, for one file: the body, named in the path. {ANSWERED}"
    summary = f"{operation.summary.rstrip('.')} (one file, by its name)"
    return {**_door(operation, RAW, said), "summary": summary}


def _door(operation: Offered, content: dict[str, Any], description: str) -> dict[str, Any]:
    return {
        "summary": operation.summary,
        "description": description,
        **SUBMITTED,
        "openapi_extra": {
            "parameters": [*components.options(operation), *labels.query_parameters()],
            "requestBody": {"required": True, "content": content},
        },
    }


def general_door() -> dict[str, Any]:
    """Describe `POST /v1/jobs`."""
    document = {
        "schema": components.schema("JobInput"),
        "example": {
            "items": [{"url": "https://example.com/a.jpg"}],
            "steps": [
                {"op": "image", "width": 800, "height": 600},
                {"op": "compress", "format": "zstd"},
            ],
        },
    }
    form = {FORM: {"schema": components.schema("JobForm")}}
    content = {"application/json": document, **LINES, **form}
    return {
        "description": "Each item goes through all steps, each with the results of the one "
        f"before; `archive` joins all that came. {ANSWERED}",
        **SUBMITTED,
        "openapi_extra": {
            "parameters": labels.query_parameters(),
            "requestBody": {"required": True, "content": content},
        },
    }


def endpoint_body() -> dict[str, Any]:
    """Describe the request body of `POST /v1/webhooks/test`."""
    content = {"application/json": {"schema": components.schema("WebhookInput")}}
    return {"requestBody": {"required": False, "content": content}}
