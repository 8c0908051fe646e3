"""Writes docs/api.md from the OpenAPI document and the examples in api.toml: `make docs`.

tests/docs/test_snippets.py executes the examples. Calls come in the order in which those stand.
"""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from app.errors import CATALOGUE, phrase
from app.main import create_app
from app.ops.registry import load_offered
from app.settings import Settings

HERE = Path(__file__).parent
PAGE = HERE.parent / "api.md"
EXAMPLES: dict[str, str] = tomllib.loads((HERE / "api.toml").read_text("utf-8"))
SECTIONS = {
    "files": "Files",
    "operations": "Operations",
    "jobs": "Jobs",
    "webhooks": "Webhooks",
    "service": "The service",
}
NAMED = "_named"
"""Ends the id of `PUT /v1/<door>/{filename}`, which is told with its `POST`."""

INTRODUCTION = """\
# Every call

<!-- Written by `make docs` from the OpenAPI document and `docs/site/api.toml`. Do not edit. -->

The same, to try, is at `/docs` of a running service, and for programs at `/openapi.json`. With API
keys each call takes `Authorization: Bearer …`, except where it says that no key is asked for. Each
`GET` has its `HEAD`. What fails is a problem document (RFC 9457) with a stable `code`
([errors.md](errors.md)). A query parameter that a call does not read is refused (422).

The examples stand on each other: they begin with two files of yours, `photo.jpg` and `access.log`,
and a service as `OFFLOAD_FETCH_ALLOW_NETWORKS=127.0.0.1/32 make run` starts it.
"""
DOORS = """\
Each has a door of its own; [operations.md](operations.md) has their options, which are query
parameters, and may stand in a form or a document too. Files come as a form (many make one job), as
the body itself, or by `PUT` with their name in the path; `urls` and `file_ids` in a JSON document.
Beside its options each door takes:
"""


def page() -> str:
    """Give the whole page."""
    with tempfile.TemporaryDirectory() as folder:
        document = create_app(Settings(data_dir=Path(folder))).openapi()
    return "\n".join(_page(document)).rstrip("\n") + "\n"


def _page(document: dict[str, Any]) -> Iterator[str]:
    yield INTRODUCTION
    told = list(EXAMPLES)
    calls = sorted(_calls(document), key=lambda call: told.index(_bare(call["operationId"])))
    common = _shared(document, [call for call in calls if _is_door(call)])
    for tag, title in SECTIONS.items():
        yield f"## {title}\n"
        if tag == "operations":
            yield DOORS
            yield from _parameters(common)
        for call in calls:
            if tag in call["tags"] and not call["operationId"].endswith(NAMED):
                yield from _told(document, call, common if _is_door(call) else [])
    yield from _problems()
    yield from _documents(document, calls)


def _calls(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            yield {**call, "title": f"{method.upper()} {path}"}


def _bare(operation_id: str) -> str:
    return operation_id.removesuffix(NAMED)


def _is_door(call: dict[str, Any]) -> bool:
    return "operations" in call["tags"] and call["operationId"] in load_offered()


def _shared(document: dict[str, Any], doors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give those parameters that two doors or more take, which are told once."""
    seen: dict[str, int] = {}
    for door in doors:
        for said in door["parameters"]:
            if "$ref" in said:
                seen[said["$ref"]] = seen.get(said["$ref"], 0) + 1
    return [_found(document, {"$ref": ref}) for ref, count in seen.items() if count > 1]


def _found(document: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference into the components."""
    if "$ref" not in said:
        return said
    kind, name = said["$ref"].split("/")[-2:]
    found: dict[str, Any] = document["components"][kind][name]
    return found


def _told(
    document: dict[str, Any], call: dict[str, Any], common: list[dict[str, Any]]
) -> Iterator[str]:
    named = [
        other["title"]
        for other in _calls(document)
        if other["operationId"] == call["operationId"] + NAMED
    ]
    yield f"### {', '.join(f'`{title}`' for title in (call['title'], *named))}\n"
    # What all doors say of themselves stands above the first one.
    more = "" if _is_door(call) else call.get("description", "")
    yield f"{call['summary'].rstrip('.')}. {more}".strip() + "\n"
    if "security" not in call:
        yield "No key is asked for.\n"
    own = [one for one in _all_parameters(document, call) if one not in common]
    if _is_door(call):
        name = call["operationId"]
        yield f"Options: [{name}](operations.md#{name}).\n"
    else:
        yield from _parameters(own)
    if body := call.get("requestBody"):
        yield f"Body: {_bodies(body['content'])}.\n"
    yield from _answers(document, call["responses"])
    yield f"```console\n{EXAMPLES[call['operationId']].strip()}\n```\n"


def _all_parameters(document: dict[str, Any], call: dict[str, Any]) -> list[dict[str, Any]]:
    return [_found(document, said) for said in call.get("parameters", [])]


def _parameters(known: Iterable[dict[str, Any]]) -> Iterator[str]:
    rows = [
        f"| `{one['name']}` | {one['in']} | {_values(one['schema'])} | {_text(one)} |"
        for one in known
    ]
    if rows:
        yield "\n".join(["| takes | in | values | |", "| --- | --- | --- | --- |", *rows]) + "\n"


def _text(one: dict[str, Any]) -> str:
    said = one.get("description") or one.get("schema", {}).get("description", "")
    return " ".join(said.split()).replace("|", "\\|")


def _values(schema: dict[str, Any]) -> str:
    """Say of what kind a value is, and within which bounds."""
    if "$ref" in schema:
        return _link(schema["$ref"])
    if "anyOf" in schema:
        return " or ".join(_values(kind) for kind in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_values(schema.get('items', {}))}"
    kinds = {"string": "text", "boolean": "`true`, `false`", "integer": "whole number"}
    kind = schema.get("type", "anything")
    bounds = [schema.get(name) for name in ("minimum", "maximum")]
    between = f", {bounds[0]:g} to {bounds[1]:g}" if None not in bounds else ""
    default = schema.get("default")
    given = f"; {json.dumps(default)} by default" if isinstance(default, int | str) else ""
    return kinds.get(kind, kind).replace("null", "nothing") + between + given


def _link(ref: str) -> str:
    name = ref.rpartition("/")[2]
    return f"[{name}](#{name.lower()})"


def _bodies(content: dict[str, Any]) -> str:
    return ", ".join(f"`{kind}`" for kind in content)


def _answers(document: dict[str, Any], responses: dict[str, Any]) -> Iterator[str]:
    rows, problems = [], []
    for status, said in responses.items():
        answer = _found(document, said)
        kinds = answer.get("content", {})
        if "application/problem+json" in kinds:
            problems += [] if status == "default" else [status]
            continue
        meaning = answer["description"].replace("Successful Response", phrase(int(status)))
        shown = [
            _values(one["schema"]) if "$ref" in one.get("schema", {}) else f"`{kind}`"
            for kind, one in kinds.items()
        ]
        rows.append(f"| {status} | {', '.join(shown)} | {meaning} |")
    yield "\n".join(["| answers | | |", "| --- | --- | --- |", *rows]) + "\n"
    if problems:
        yield f"[Problems](#problems-by-status): {', '.join(problems)}.\n"


def _problems() -> Iterator[str]:
    yield "## Problems by status\n"
    by_status: dict[int, list[str]] = {}
    for code, error in sorted(CATALOGUE.items()):
        by_status.setdefault(error.status, []).append(f"`{code}`")
    rows = [
        f"| {status} {phrase(status)} | {', '.join(codes)} |"
        for status, codes in sorted(by_status.items())
    ]
    yield "An item that fails has one of the same codes, with the status that it would be.\n"
    yield "\n".join(["| status | codes ([errors.md](errors.md)) |", "| --- | --- |", *rows]) + "\n"


def _documents(document: dict[str, Any], calls: list[dict[str, Any]]) -> Iterator[str]:
    """Tell the fields of every document that an answer has, or a parameter names."""
    yield "## Documents\n"
    schemas, told, open_refs = document["components"]["schemas"], [], _refs(calls)
    while open_refs:
        name = open_refs.pop(0)
        if name not in told:
            told.append(name)
            open_refs += _refs(schemas[name])
    for name in sorted(told):
        schema = schemas[name]
        yield f"### {name}\n"
        if "enum" in schema:
            yield f"One of {_values(schema)}.\n"
            continue
        rows = [
            f"| `{field}` | {_values(said)} | {_text(said)} |"
            for field, said in schema.get("properties", {}).items()
        ]
        yield "\n".join(["| field | value | |", "| --- | --- | --- |", *rows]) + "\n"


def _refs(part: Any) -> list[str]:
    """Give the names of all schemas to which something leads; steps have a page of their own."""
    if isinstance(part, list):
        return [name for one in part for name in _refs(one)]
    if not isinstance(part, dict):
        return []
    found = [name for one in part.values() for name in _refs(one)]
    ref = part.get("$ref", "")
    return found + ([ref.rpartition("/")[2]] if ref.startswith("#/components/schemas/") else [])


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
