"""What may be said in several places: in the query, in a form, in a JSON document.

Swagger UI and generated clients send a value from every place that they know of, defaults
included. Saying the same twice is therefore as good as saying it once; saying two things is
refused, and the places are named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from app.api.making import make_step
from app.api.names import PATHS, Paths
from app.api.nearest import shown
from app.errors import InvalidParameter
from app.ops.base import Offered
from app.ops.jsontext import MAX_CHARACTERS

QUERY, FORM, DOCUMENT = "query", "form", "document"
"""Where a value may stand."""


@cache
def lists(params: type[BaseModel]) -> frozenset[str]:
    """Name the parameters that are lists.

    A query or a form may have their elements one by one: so OpenAPI's `explode` writes them.
    """
    properties = params.model_json_schema().get("properties", {})
    return frozenset(
        name
        for name, said in properties.items()
        if any(kind.get("type") == "array" for kind in said.get("anyOf", [said]))
    )


def texts(
    said: Iterable[tuple[str, str]],
    place: str,
    *,
    many: Collection[str] = (),
    most: int = MAX_CHARACTERS,
) -> dict[str, str | list[str]]:
    """Give what stands in one place by name; a name of `many` that stands there twice is a list.

    Raises `InvalidParameter` where another name has two values, or a value more than `most`
    characters.
    """
    found: dict[str, list[str]] = {}
    for name, value in said:
        if len(value) > most:
            raise InvalidParameter(f"`{shown(name)}` is longer than {most} characters.")
        found.setdefault(name, []).append(value)
    for name, values in found.items():
        if name not in many and len(set(values)) > 1:
            raise two_values(name, place, place)
    return {
        name: values if name in many and len(values) > 1 else values[0]
        for name, values in found.items()
    }


def filled(said: Iterable[tuple[str, str]], known: Collection[str]) -> Iterable[tuple[str, str]]:
    """Leave out the fields of a form that nobody has filled in: browsers send them empty."""
    return ((name, value) for name, value in said if value or name not in known)


def together(
    operation: Offered, query: Mapping[str, Any], body: Mapping[str, Any], place: str
) -> dict[str, Any]:
    """Give the options of a request whose body says some of them in `place`.

    Two values are compared by what they mean: 9 is "9", and ["a", "b"] is "a,b".

    Raises `InvalidParameter` where they mean two things.
    """
    if twice := [name for name in query.keys() & body.keys() if query[name] != body[name]]:
        known = {operation.name: operation}
        one = make_step(known, operation.name, {**body, **query}).params
        other = make_step(known, operation.name, {**query, **body}).params
        if two := [name for name in twice if one[name] != other[name]]:
            raise two_values(min(two), QUERY, place)
    return {**query, **body}


def two_values(name: str, one: str, other: str) -> InvalidParameter:
    """Say that something is given twice, differently, and where."""
    where = f"twice in the {one}" if one == other else f"in the {one} and in the {other}"
    said = f"`{shown(name)}` has two values: {where}. Give one."
    errors = [{"loc": [place, shown(name)], "msg": said} for place in dict.fromkeys((one, other))]
    return InvalidParameter(said, errors=errors)


def paths_of(asked: Paths | None, fields: Sequence[tuple[str, str]]) -> Paths | None:
    """Give what the query asked, or the fields of a form, with which it may be repeated.

    Raises `InvalidParameter` where they say two things, or nothing that is known.
    """
    for name, value in fields:
        if name != PATHS:
            continue
        known = next((one for one in get_args(Paths) if one == value), None)
        if known is None:
            raise InvalidParameter(f"`{PATHS}` is `strip` or `keep`.")
        if asked is not None and asked != known:
            raise two_values(PATHS, QUERY, FORM)
        asked = known
    return asked
