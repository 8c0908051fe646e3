"""Writes what derives from the code's own models: `make docs`.

docs/operations.md comes from the operations' parameters, the table of docs/settings.md from the
settings, the fields of guide.json in docs/guide.md from its models; docs/site/api.py writes
docs/api.md. `make test` fails while one of them is not what these would write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from app.guide import document
from app.ops.base import Offered
from app.ops.registry import load_offered
from app.settings import Settings, variables

PAGE = Path(__file__).with_name("operations.md")
SETTINGS = Path(__file__).with_name("settings.md")
GUIDE = Path(__file__).with_name("guide.md")
GUIDE_PARTS = (
    ("The document", document.Guide),
    ("`machine`", document.Machine),
    ("Each of `situations`", document.Measured),
    ("Each of `rows`", document.Row),
    ("Each of `contenders`", document.Contender),
    ("Each of `missing`", document.Missing),
    ("Each of `advice`", document.Advice),
)
GUIDE_MARKER = "<!-- fields: written by `make docs` -->\n"
MARKERS = ("<!-- settings: written by `make docs` -->\n", "<!-- /settings -->\n")

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
    ours = [o for o in load_offered().values() if o.params.__module__.startswith("app.")]
    return "\n".join([INTRODUCTION, *("\n".join(_operation(operation)) for operation in ours)])


def _operation(operation: Offered) -> Iterator[str]:
    door = f"/v1/{operation.door or operation.name}"
    yield f"## {operation.name}\n"
    yield f"{operation.summary}\n"
    yield f"Door: `POST {door}`. Takes {_accepted(operation)}. {_where(operation)}\n"
    schema = operation.params.model_json_schema()
    yield from _table(schema, schema.get("$defs", {}))
    example = {"op": operation.name, **operation.example}
    yield f"As a step: `{json.dumps(example)}`\n"


def _accepted(operation: Offered) -> str:
    if operation.runs == "async":
        return "URLs"
    if operation.accepts == ("*/*",):
        return "files of any kind"
    return ", ".join(f"`{media_type}`" for media_type in operation.accepts)


def _where(operation: Offered) -> str:
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
    low = _number(field.get("minimum", field.get("exclusiveMinimum")))
    high = _number(field.get("maximum", field.get("exclusiveMaximum")))
    above = "above " if "exclusiveMinimum" in field else ""
    below = "below " if "exclusiveMaximum" in field else ""
    if low is not None and high is not None:
        return f", {above}{low} to {below}{high}"
    if low is not None:
        return f", {above or 'from '}{low}"
    return "" if high is None else f", {below or 'up to '}{high}"


def _number(value: float | None) -> float | None:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _count(field: dict[str, Any]) -> str:
    most = field.get("maxItems")
    return "" if most is None else f", at most {most}"


def settings_table() -> str:
    """Give the table of every variable: default, what it may be, what it means."""
    rows = ["| variable | default | values | meaning |", "| --- | --- | --- | --- |"]
    document = Settings.model_json_schema()
    for variable, field in variables().items():
        default = _shown(field.get_default(call_default_factory=True))
        allowed = _allowed(_schema_of(variable, document))
        rows.append(f"| `{variable}` | {default} | {allowed} | {field.description} |")
    return "\n".join(rows) + "\n"


def _schema_of(variable: str, document: dict[str, Any]) -> dict[str, Any]:
    """Find a variable's place in the schema of all settings: its own, or in a room's."""
    name = variable.removeprefix("OFFLOAD_").lower()
    if name in document["properties"]:
        return document["properties"][name]
    room, _, inner = name.partition("_")
    model = document["properties"][room]["$ref"].rpartition("/")[2]
    return document["$defs"][model]["properties"][inner]


def _allowed(field: dict[str, Any]) -> str:
    """Say within which bounds a value is taken; what has none that can be told has a blank."""
    kind = field.get("type")
    if kind in ("integer", "number"):
        return _range(field).removeprefix(", ")
    if kind == "array":
        each = _range(field.get("items", {})).removeprefix(", ")
        return f"{each} each" if each else _count(field).removeprefix(", ")
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    return "`true`, `false`" if kind == "boolean" else ""


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, frozenset):
        return ",".join(str(part) for part in sorted(default))
    if isinstance(default, tuple) and default:
        return ",".join(default)
    if isinstance(default, float):
        return f"{default:g}"
    return "(none)" if default in ({}, (), None) or not str(default) else str(default)


def settings(text: str) -> str:
    """Give docs/settings.md with the table in its place."""
    start, end = (text.index(marker) for marker in MARKERS)
    return text[: start + len(MARKERS[0])] + "\n" + settings_table() + "\n" + text[end:]


def guide(text: str) -> str:
    """Give docs/guide.md with the fields of guide.json at its end."""
    start = text.index(GUIDE_MARKER) + len(GUIDE_MARKER)
    return text[:start] + "".join(_fields(*part) for part in GUIDE_PARTS)


def _fields(title: str, model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    rows = [
        f"| `{name}` | {_kind(field)} | {field['description']} |"
        for name, field in schema["properties"].items()
    ]
    table = "\n".join(["| field | value | meaning |", "| --- | --- | --- |", *rows])
    return f"\n{title}:\n\n{table}\n"


def _kind(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_kind(kind) for kind in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        return f"list of {_kind(field['items'])}s"
    kinds = {"string": "text", "boolean": "`true`, `false`", "integer": "whole number"}
    return "object" if "$ref" in field else kinds.get(field["type"], field["type"])


if __name__ == "__main__":
    GUIDE.write_text(guide(GUIDE.read_text("utf-8")), "utf-8")
    PAGE.write_text(page(), "utf-8")
    SETTINGS.write_text(settings(SETTINGS.read_text("utf-8")), "utf-8")
