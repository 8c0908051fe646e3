"""What validation found, in this service's own words.

pydantic speaks to programmers: of dictionaries, tuples, branches of unions, classes. Here each of
its errors becomes a half sentence that goes behind the place that it is about, and the place
becomes one that the client has written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core.core_schema import ErrorType

from app.api.nearest import hint, nearest, shown

Loc = Sequence[str | int]

UNKNOWN = "is not known here"

_SENTENCES = {
    "missing": "is missing",
    "string_type": "must be a string",
    "string_unicode": "must be UTF-8 text",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must fit the pattern {pattern}",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "none_required": "must be null",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "too_long": "must have at most {max_length} entries",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dataclass_type": "must be an object",
    "dict_type": "must be an object",
    "mapping_type": "must be an object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "iterable_type": "must be a list",
    "recursion_loop": "is nested too deeply",
    "recursion_depth_exceeded": "is nested too deeply",
    "json_invalid": "is not valid JSON: {error}",
    "json_type": "must be JSON",
    "date_type": "must be a date, as 2026-01-31",
    "date_parsing": "must be a date, as 2026-01-31",
    "datetime_type": "must be a time, as 2026-01-31T12:00:00Z",
    "datetime_parsing": "must be a time, as 2026-01-31T12:00:00Z",
    "timezone_aware": "must be a time with a zone, as 2026-01-31T12:00:00Z",
    "url_type": "must be a URL",
    "url_parsing": "must be a URL",
    "url_scheme": "must be a URL that begins with {expected_schemes}",
    "ip_v4_network": "must be a network, as 10.20.0.0/16 or fd00::/8",
    "ip_v6_network": "must be a network, as 10.20.0.0/16 or fd00::/8",
    "uuid_type": "must be a UUID",
    "uuid_parsing": "must be a UUID",
}
"""Of pydantic's types of errors, with their own members filled in. Another one `is not valid`."""

_OF_PYDANTIC = frozenset(get_args(ErrorType))
"""Another error is one that a model of ours has put into words."""

_GOES_ON = ("is ", "must ", "needs ", "has ", "cannot ")
"""How a half sentence begins that follows the place without a colon."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was validated, for saying more of it than an error does."""

    model: Any
    """A model, or an annotation with models in it: which parts of a place are a client's, and
    which names there are."""
    given: Any = None
    """The value, as far as it may be told of: what is nearest to a choice that there is not."""
    also: Collection[str] = ()
    """Names that are known at the top beside the model's own."""


def complaint(error: Mapping[str, Any], judged: Judged) -> tuple[list[str | int], str]:
    """Give the place of an error as a client wrote it, and what is wrong there, without a stop.

    `error` is one of `ValidationError.errors()`.
    """
    place, names = _place(error["loc"], judged.model)
    if len(place) == 1:
        names |= set(judged.also)
    kind, ctx = error["type"], error.get("ctx") or {}
    if kind == "extra_forbidden":
        return place, UNKNOWN + hint(str(place[-1]), names).removesuffix(".")
    if kind == "missing" and place and isinstance(place[-1], int):
        return place[:-1], f"needs more than {place[-1]} entries"
    if kind in ("literal_error", "enum"):
        return place, _choice(
            str(ctx.get("expected", "")), error.get("input") or _value_at(judged.given, place)
        )
    if kind in ("too_short", "string_too_short"):
        return place, _too_short(kind, int(ctx.get("min_length", 1)))
    if kind == "value_error":
        return place, str(ctx.get("error", "")) or "is not valid"
    if kind not in _OF_PYDANTIC and kind not in _SENTENCES:
        return place, str(error["msg"])
    said = {name: _number(value) for name, value in ctx.items()}
    return place, _SENTENCES.get(kind, "is not valid").format_map(said)


def sentence(place: Loc, what: str) -> str:
    """Put the place of a complaint before it; ends with a stop."""
    name = ".".join(str(part) for part in place)
    stop = "" if what.endswith((".", "?", "!")) else "."
    if not name:
        if what.startswith(_GOES_ON):
            return f"The document {what}{stop}"
        return what[:1].upper() + what[1:] + stop
    return f"`{name}`{' ' if what.startswith(_GOES_ON) else ': '}{what}{stop}"


def _place(loc: Loc, model: Any) -> tuple[list[str | int], set[str]]:
    """Give a place without what pydantic has put into it, and the names that are known there."""
    said: list[str | int] = []
    here, known = set(_models(model)), set[str]()
    for at, part in enumerate(loc):
        if isinstance(part, int):
            said.append(part)
            continue
        fields = [kind.model_fields[part] for kind in here if part in kind.model_fields]
        branch = {kind for kind in here if kind.__name__ == part}
        if fields:
            known = _names(here)
            here = {kind for field in fields for kind in _models(field.annotation)}
        elif branch:
            here = branch
            continue
        elif _is_label(part):
            continue
        elif at == len(loc) - 1:
            known = _names(here)
        said.append(shown(part))
    return said, known


def _value_at(given: Any, place: Loc) -> str | None:
    for part in place:
        if isinstance(given, Mapping):
            given = given.get(part)
        elif isinstance(part, int):  # of a list, or of text that stands for one
            several = given.split(",") if isinstance(given, str) else given
            known = isinstance(several, Sequence) and part < len(several)
            given = several[part] if known else None
    return given.strip() if isinstance(given, str) else None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _names(models: Iterable[type[BaseModel]]) -> set[str]:
    return {name for kind in models for name in kind.model_fields}


def _is_label(part: str) -> bool:
    """Tell what names a branch of a union: `<url>` here, `literal['a']`, `list[str]` elsewhere."""
    return bool(re.fullmatch(r"<\w+>|[\w-]+\[.*\]", part))


def _choice(expected: str, given: Any) -> str:
    """Say what there is to choose from; `expected` is pydantic's "'a', 'b' or 'c'"."""
    names = re.findall(r"'([^']*)'", expected)
    said = f"must be {expected.replace(chr(39), '')}"
    if isinstance(given, str) and given and (meant := nearest(given, names)):
        return f"{said}; did you mean {meant}?"
    return said


def _too_short(kind: str, least: int) -> str:
    if least == 1:
        return "must not be empty"
    return f"must have at least {least} {'characters' if kind == 'string_too_short' else 'entries'}"


def _number(value: Any) -> Any:
    """Give 360.0 as 360; a bound is written as a person writes it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
