"""The parts of the OpenAPI document that derive from the operations' own models."""

from __future__ import annotations

from typing import Any

from app.api import labels
from app.api.destinations import WebhookInput
from app.api.inputs import DoorInput, JobInput
from app.api.problems import documented
from app.api.schemas import JobView
from app.ops.base import Operation

DONE = "The job is done (after a `wait`); with `download`, its single result itself."
DOOR_ERRORS = (400, 401, 404, 408, 409, 413, 415, 422, 429, 503, 507)


def params_schema(operation: Operation) -> dict[str, Any]:
    """Give the JSON Schema of an operation's parameters, whole in itself."""
    return operation.params.model_json_schema()


def _properties(operation: Operation) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the parameters' properties, and the definitions that they lean on."""
    schema = params_schema(operation)
    return schema.get("properties", {}), schema.get("$defs", {})


def door(operation: Operation) -> dict[str, Any]:
    """Describe a one-shot door."""
    properties, definitions = _properties(operation)
    document = DoorInput.model_json_schema()
    document["properties"] |= properties
    document["additionalProperties"] = False
    document.setdefault("$defs", {}).update(definitions)
    content: dict[str, Any] = {
        "application/json": {
            "schema": _inlined(document),
            "example": {"urls": ["https://example.com/a"], **operation.example},
        }
    }
    if operation.runs == "async":
        content |= _lines(document["properties"]["urls"])
    else:
        form = {
            "type": "object",
            "properties": {
                "file": {
                    "type": "array",
                    "items": {"type": "string", "format": "binary"},
                    "description": "One part for each file; any field name does.",
                },
                **labels.LABEL_SCHEMAS,
                **properties,
            },
            "required": ["file"],
            "$defs": definitions,
        }
        content = {
            "multipart/form-data": {"schema": _inlined(form)},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            **content,
        }
    parameters = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": _inlined({**schema, "$defs": definitions}),
            "description": schema.get("description", ""),
        }
        for name, schema in properties.items()
    ]
    return {
        "summary": operation.summary,
        "status_code": 202,
        "response_description": "The job is on disk and will be done.",
        "responses": {
            202: {"model": JobView},
            200: {"model": JobView, "description": DONE},
            303: {"description": "The way to the single result (`redirect`)."},
            **documented(*DOOR_ERRORS),
        },
        "response_model": None,
        "openapi_extra": {
            "parameters": [*parameters, *labels.query_parameters()],
            "requestBody": {"required": True, "content": content},
        },
    }


def general_door(operations: list[Operation]) -> dict[str, Any]:
    """Describe the request body of `POST /v1/jobs`."""
    document = JobInput.model_json_schema()
    kinds = []
    for operation in operations:
        properties, definitions = _properties(operation)
        document.setdefault("$defs", {}).update(definitions)
        kinds.append(
            {
                "title": operation.name,
                "type": "object",
                "description": operation.summary,
                "properties": {"op": {"const": operation.name}, **properties},
                "required": ["op"],
                "additionalProperties": False,
            }
        )
    document["properties"]["steps"]["items"] = {"oneOf": kinds}
    schema = _inlined(document)
    return {
        "parameters": labels.query_parameters(),
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": schema,
                    "example": {
                        "items": [{"url": "https://example.com/a.jpg"}],
                        "steps": [
                            {"op": "image", "width": 800, "height": 600},
                            {"op": "compress", "format": "zstd"},
                        ],
                    },
                },
                **_lines(DoorInput.model_json_schema()["properties"]["urls"]),
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "job": {**schema, "description": "The document, as a form field."},
                            "file": {
                                "type": "array",
                                "items": {"type": "string", "format": "binary"},
                            },
                        },
                        "required": ["job"],
                    }
                },
            },
        },
    }


def endpoint_body() -> dict[str, Any]:
    """Describe the request body of `POST /v1/webhooks/test`."""
    schema = _inlined(WebhookInput.model_json_schema())
    return {"requestBody": {"required": False, "content": {"application/json": {"schema": schema}}}}


def _lines(urls: dict[str, Any]) -> dict[str, Any]:
    """Describe a body with one URL a line."""
    line = _inlined({**urls["items"], "$defs": DoorInput.model_json_schema()["$defs"]})
    return {
        "application/x-ndjson": {
            "schema": {
                "type": "string",
                "description": "One URL a line, for very many: JSON strings, or objects as in "
                "JSON. Options are in the query.",
                "contentMediaType": "application/x-ndjson",
                "x-line": line,
            },
            "example": '"https://example.com/a"\n{"url": "https://example.com/b"}\n',
        }
    }


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Put the definitions where they are referred to: OpenAPI has no local `$defs`."""
    definitions = schema.get("$defs", {})

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                name = str(node["$ref"]).rpartition("/")[2]
                rest = {k: v for k, v in node.items() if k != "$ref"}
                return walk({**definitions[name], **rest})
            return {key: walk(value) for key, value in node.items() if key != "$defs"}
        return [walk(value) for value in node] if isinstance(node, list) else node

    inlined: dict[str, Any] = walk(schema)
    return inlined
