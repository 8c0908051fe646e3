"""Labels outside a document: in the query of every door that makes a job, and as fields of a form.

All of it derives from `Labels`: a field there that text can stand for is a query parameter and a
form field here, known, read, checked and described. `metadata` is an object, and JSON only: some
operations have an option of that name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Request

from app.api.documents import parse
from app.api.inputs import Labels
from app.api.options import QUERY, two_values
from app.ops.jsontext import MAX_CHARACTERS


def _texts() -> dict[str, dict[str, Any]]:
    """Give the labels that are text, or have a short form in text, with their descriptions."""
    found = {}
    for name, schema in Labels.model_json_schema()["properties"].items():
        kinds = schema.get("anyOf", [schema])
        said, most = schema["description"], MAX_CHARACTERS
        if any("$ref" in kind for kind in kinds):
            said += " A URL, or JSON."
        elif texts := [kind for kind in kinds if kind.get("type") == "string"]:
            most = texts[0]["maxLength"]
        else:
            continue
        found[name] = {"type": "string", "maxLength": most, "description": said}
    return found


LABEL_SCHEMAS: Mapping[str, dict[str, Any]] = _texts()
"""JSON Schema of each label as text."""
LABELS = tuple(LABEL_SCHEMAS)
"""Their names."""


def parse_labels(given: Mapping[str, Any]) -> Labels:
    """Check labels that came as text; other names in `given` are none of them.

    Raises `InvalidParameter`.
    """
    said = {name: given[name] for name in LABELS if name in given}
    return parse(Labels, json.dumps(said)) if said else Labels()


async def get_query_labels(request: Request) -> Labels:
    """Give the labels that stand in the query. Raises `InvalidParameter`."""
    return parse_labels(request.query_params)


QueryLabels = Annotated[Labels, Depends(get_query_labels)]


def labels_together(outside: Labels, said: Labels, place: str) -> Labels:
    """Give what a body said in `place`, with what the query said.

    Raises `InvalidParameter` where they say two things.
    """
    found = {name: value for name in LABELS if (value := getattr(outside, name)) is not None}
    for name, value in found.items():
        if getattr(said, name) not in (None, value):
            raise two_values(name, QUERY, place)
    return said.model_copy(update=found)


def query_parameters() -> list[dict[str, Any]]:
    """Give the labels as OpenAPI describes what stands in a query."""
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": {"type": schema["type"], "maxLength": schema["maxLength"]},
            "description": schema["description"],
        }
        for name, schema in LABEL_SCHEMAS.items()
    ]
