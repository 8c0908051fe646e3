"""What the OpenAPI document says once, under `components`, and how it is said.

Generators read it: every schema that they would make a type of has one name, an option that may be
left out has no `null` beside its type, and choices of words are one list.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI

from app.api.inputs import DoorInput, JobInput
from app.ops.base import Offered
from app.ops.jsontext import MAX_CHARACTERS

SCHEMAS = "#/components/schemas/"
PARAMETERS = "#/components/parameters/"
RESPONSES = "#/components/responses/"

BINARY = {"type": "string", "format": "binary"}
FILES = {
    "type": "array",
    "items": BINARY,
    "description": "One part for each file; any field name does.",
}


def install(app: FastAPI, operations: Iterable[Offered]) -> None:
    """Have `app` describe these operations; its document is made when it is first asked for."""
    described, known = app.openapi, list(operations)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _refer(described(), known)
        assert app.openapi_schema is not None  # noqa: S101 - FastAPI keeps what it has described
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way


def _refer(document: dict[str, Any], known: list[Offered]) -> None:
    """Give the document its components, and let its routes refer to what several of them say."""
    components = document["components"]
    components["schemas"] |= schemas(known)
    components["parameters"] = parameters(known)
    components["responses"] = {}
    routes = [route for path in document["paths"].values() for route in path.values()]
    for route in routes:
        route["parameters"] = [
            said if "$ref" in said else {**said, "schema": plain(said["schema"])}
            for said in route.get("parameters", [])
        ]
    said = Counter(_text(one) for route in routes for one in route["parameters"])
    for route in routes:
        route["parameters"] = [
            _once(one, one["name"], PARAMETERS, components)
            if "$ref" not in one and said[_text(one)] > 1
            else one
            for one in sorted(route["parameters"], key=_rank)
        ]
        for status, response in route["responses"].items():
            if status == "default" or status >= "400":
                key = "problem" if status == "default" else f"problem_{status}"
                route["responses"][status] = _once(response, key, RESPONSES, components)


def _rank(parameter: dict[str, Any]) -> int:
    """Order parameters as a reader looks for them: the path's, an operation's options, others."""
    return 0 if parameter.get("in") == "path" else 1 if "$ref" in parameter else 2


def _once(said: dict[str, Any], key: str, where: str, components: dict[str, Any]) -> dict[str, Any]:
    """Refer to what is said so under `key`, and say it there; give it back if that is taken."""
    there = components[where.split("/")[-2]]
    return {"$ref": where + key} if there.setdefault(key, said) == said else said


def _text(said: dict[str, Any]) -> str:
    return json.dumps(said, sort_keys=True)


def schema(name: str) -> dict[str, str]:
    """Refer to a schema."""
    return {"$ref": SCHEMAS + name}


def step_name(operation: Offered) -> str:
    """Give the name of the schema of a step of this operation."""
    return "".join(word.title() for word in re.split("[^A-Za-z0-9]+", operation.name)) + "Step"


def options(operation: Offered) -> list[dict[str, str]]:
    """Refer to an operation's options as query parameters."""
    return [{"$ref": PARAMETERS + key} for key in parameters([operation])]


def parameters(operations: Iterable[Offered]) -> dict[str, Any]:
    """Describe the options of operations as query parameters, by name."""
    found = {}
    for operation in operations:
        for name, described in _whole(operation.params)[0]["properties"].items():
            found[f"{operation.name}_{name}"] = _option(name, described)
    return found


def _option(name: str, described: dict[str, Any]) -> dict[str, Any]:
    parameter = {
        "name": name,
        "in": "query",
        "required": False,
        "description": described.get("description", ""),
        "schema": described,
    }
    if _has_object(described):
        # A query has none but as text. No `contentMediaType`: Swagger UI would ask for a file.
        return {**parameter, "schema": {"type": "string", "maxLength": MAX_CHARACTERS}}
    if described.get("type") == "array":
        return {**parameter, "style": "form", "explode": False}
    return parameter


def _has_object(described: Any) -> bool:
    if not isinstance(described, dict):
        return False
    if "$ref" in described or described.get("type") == "object":
        return True
    return any(_has_object(part) for part in (described.get("items"), *described.get("anyOf", [])))


def schemas(operations: Iterable[Offered]) -> dict[str, Any]:
    """Describe what requests bring, by name."""
    found: dict[str, Any] = {}
    for model in (DoorInput, JobInput):
        whole, definitions = _whole(model)
        found |= {**definitions, model.__name__: whole}
    steps = {step_name(operation): operation for operation in operations}
    for name, operation in steps.items():
        whole, definitions = _whole(operation.params)
        found |= {
            **definitions,
            name: {
                "title": name,
                "type": "object",
                "description": operation.summary,
                "properties": {
                    "op": {"type": "string", "const": operation.name},
                    **whole["properties"],
                },
                "required": ["op"],
                "additionalProperties": False,
            },
        }
    del found["StepInput"]
    found["JobInput"]["properties"]["steps"]["items"] = {
        "oneOf": [schema(name) for name in steps],
        "discriminator": {
            "propertyName": "op",
            "mapping": {op.name: SCHEMAS + name for name, op in steps.items()},
        },
    }
    found["DoorInput"]["description"] = (
        "What is to be worked on, and labels. The options of the query may stand here as well."
    )
    found["FilesForm"] = {
        "title": "FilesForm",
        "type": "object",
        "description": "Files. The options of the query may be fields as well.",
        "properties": {"file": FILES},
        "required": ["file"],
    }
    found["JobForm"] = {
        "title": "JobForm",
        "type": "object",
        "properties": {"job": schema("JobInput"), "file": FILES},
        "required": ["job"],
    }
    return found


def _whole(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the schema of a model, and of those it refers to by name."""
    whole = plain(model.model_json_schema(ref_template=SCHEMAS + "{model}"))
    definitions: dict[str, Any] = whole.pop("$defs", {})
    for name, definition in {model.__name__: whole, **definitions}.items():
        definition["title"] = name
    return whole, definitions


def plain(described: Any) -> Any:
    """Say a schema of something that a client sends in the simplest way, and without titles.

    What may be null may be left out, so `null` is not told; words from several lists are one
    list.
    """
    if isinstance(described, list):
        return [plain(part) for part in described]
    if not isinstance(described, dict):
        return described
    simpler = {
        # The keys of `properties` and of the like are names, whatever they are.
        key: {name: plain(inner) for name, inner in value.items()}
        if key in ("properties", "$defs")
        else value
        if key in ("default", "example", "examples", "enum", "const")
        else plain(value)
        for key, value in described.items()
        if key != "title"
    }
    if "anyOf" not in simpler:
        return simpler
    kinds = [kind for kind in simpler.pop("anyOf") if kind != {"type": "null"}]
    if simpler.get("default", ...) is None:
        del simpler["default"]
    words = [_words(kind) for kind in kinds]
    if len(kinds) == 1:
        return {**kinds[0], **simpler}
    if all(words):
        return {"type": "string", "enum": [w for several in words for w in several], **simpler}
    return {"anyOf": kinds, **simpler}


def _words(kind: dict[str, Any]) -> list[str]:
    words = kind.get("enum", [kind["const"]] if "const" in kind else [])
    return words if kind.get("type") == "string" else []
