"""Writes docs/operations.md from the operations' own parameter models: `make docs`.

`make test` fails while the page is not what this would write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.ops.base import Operation
from app.ops.registry import load_operations

PAGE = Path(__file__).with_name("operations.md")

INTRODUCTION = """\
# Operations

<!-- Written by `make docs` from the models in `app/ops/`. Do not edit. -->

Each operation has a door of its own, and is usable as a step of `POST /v1/jobs`, in any order:
the results of one step are the inputs of the next. Options are query parameters, form fields
beside the files, or members of a JSON document; lists and objects are JSON there too. The same
is in `GET /v1/operations` as JSON Schema, and in `/docs`.
"""


def page() -> str:
    """Give the whole page."""
    # Operations that an installation adds are not this project's to document.
    ours = [o for o in load_operations().values() if o.params.__module__.startswith("app.")]
    return "\n".join([INTRODUCTION, *("\n".join(_operation(operation)) for operation in ours)])


def _operation(operation: Operation) -> Iterator[str]:
    door = f"/v1/{operation.door or operation.name}"
    yield f"## {operation.name}\n"
    yield f"{operation.summary}\n"
    yield f"Door: `POST {door}`. Takes {_accepted(operation)}. {_where(operation)}\n"
    schema = operation.params.model_json_schema()
    yield from _table(schema, schema.get("$defs", {}))
    example = {"op": operation.name, **operation.example}
    yield f"As a step: `{json.dumps(example)}`\n"


def _accepted(operation: Operation) -> str:
    if operation.runs == "async":
        return "URLs"
    if operation.accepts == ("*/*",):
        return "files of any kind"
    return ", ".join(f"`{media_type}`" for media_type in operation.accepts)


def _where(operation: Operation) -> str:
    joined = "It makes one thing of all the inputs of a job. " if operation.joins else ""
    homes = {
        "process": "Its work runs in the process pool.",
        "thread": "Its work runs in a thread.",
        "async": "It waits on the event loop.",
    }
    return joined + homes[operation.runs]


def _table(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    properties = schema.get("properties", {})
    if not properties:
        yield "It has no options.\n"
        return
    required = set(schema.get("required", ()))
    yield "| option | default | values | |"
    yield "| --- | --- | --- | --- |"
    nested: dict[str, dict[str, Any]] = {}
    for name, field in properties.items():
        default = "required" if name in required else _default(field)
        values = _values(field, definitions, nested, name)
        text = field.get("description", "").replace("|", "\\|").replace("\n", " ")
        yield f"| `{name}` | {default} | {values} | {text} |"
    yield ""
    for name, inner in nested.items():
        yield f"Each of `{name}`:\n"
        yield from _table(inner, definitions)


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _values(
    field: dict[str, Any],
    definitions: dict[str, Any],
    nested: dict[str, dict[str, Any]],
    name: str,
) -> str:
    if "$ref" in field:
        field = definitions[field["$ref"].rpartition("/")[2]]
    if "anyOf" in field:
        kinds = [_values(kind, definitions, nested, name) for kind in field["anyOf"]]
        return ", ".join(dict.fromkeys(kind for kind in kinds if kind))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    kind = field.get("type")
    if kind == "array":
        items = field.get("items", {})
        return f"list of {_values(items, definitions, nested, name) or 'values'}{_count(field)}"
    if kind == "object" and "properties" in field:
        nested[name] = field
        return "objects, see below"
    if kind in ("integer", "number"):
        return f"{'whole number' if kind == 'integer' else 'number'}{_range(field)}"
    return {"boolean": "`true`, `false`", "string": "text", "object": "object"}.get(kind or "", "")


def _range(field: dict[str, Any]) -> str:
    low = field.get("minimum", field.get("exclusiveMinimum"))
    high = field.get("maximum", field.get("exclusiveMaximum"))
    above = "above " if "exclusiveMinimum" in field else ""
    below = "below " if "exclusiveMaximum" in field else ""
    if low is not None and high is not None:
        return f", {above}{low} to {below}{high}"
    if low is not None:
        return f", {above or 'from '}{low}"
    return "" if high is None else f", {below or 'up to '}{high}"


def _count(field: dict[str, Any]) -> str:
    most = field.get("maxItems")
    return "" if most is None else f", at most {most}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
