"""An operation's options as those of a command: from the JSON Schema of its parameters alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of a command, and how what is typed becomes a parameter."""

    name: str
    """Of the parameter."""
    annotation: Any
    """As typer reads it."""
    kinds: tuple[Schema, ...]

    def value(self, given: Any) -> Any:
        """Give a parameter of what was typed; the operation's model judges it."""
        if isinstance(given, list):
            return [_read(one, self._items) for one in given] if len(given) > 1 else given[0]
        return _read(given, self.kinds) if isinstance(given, str) else given

    @property
    def _items(self) -> tuple[Schema, ...]:
        return tuple(one.get("items", {}) for one in self.kinds if one.get("type") == "array")


def choices(operation: Mapping[str, Any], taken: frozenset[str]) -> Iterator[Choice]:
    """Give the options of an operation.

    Args:
        operation: as `GET /v1/operations` describes it.
        taken: names that every command has; an option of such a name gets the operation's before.
    """
    schema = operation["params"]
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        kinds = tuple(_kinds(field, schema.get("$defs", {})))
        flag = name.replace("_", "-")
        flag = f"--{operation['name']}-{flag}" if name in taken else f"--{flag}"
        yield Choice(name, _annotation(field, kinds, flag, required=name in required), kinds)


def _kinds(field: Schema, definitions: Schema) -> Iterator[Schema]:
    """Give what a value may be, references and alternatives followed, without null."""
    if "$ref" in field:
        field = definitions[field["$ref"].rpartition("/")[2]]
    for one in field.get("anyOf", [field]):
        if "$ref" in one or "anyOf" in one:
            yield from _kinds(one, definitions)
        elif one.get("type") != "null":
            yield one


def _annotation(field: Schema, kinds: tuple[Schema, ...], flag: str, *, required: bool) -> Any:
    help_text = _help(field, required=required)
    types = {one.get("type") for one in kinds}
    if types == {"boolean"}:
        both = f"{flag}/--no-{flag.removeprefix('--')}"
        return Annotated[bool | None, typer.Option(both, help=help_text)]
    if all("enum" in one for one in kinds) and types == {"string"}:
        words = tuple(word for one in kinds for word in one["enum"])
        # Whatever Literal holds is what typer offers, and all else it refuses.
        return Annotated[Literal[words] | None, typer.Option(flag, help=help_text)]
    if len(kinds) == 1 and types <= {"integer", "number"}:
        return _number(kinds[0], flag, help_text)
    shown = "|".join(dict.fromkeys(_shown(one) for one in kinds))
    option = typer.Option(flag, help=help_text, metavar=shown)
    return _typed(list[str] if types == {"array"} else str, option)


def _number(kind: Schema, flag: str, help_text: str) -> Any:
    option = typer.Option(flag, help=help_text, min=kind.get("minimum"), max=kind.get("maximum"))
    return _typed(int if kind["type"] == "integer" else float, option)


def _typed(kind: type, option: Any) -> Any:
    return Annotated[kind | None, option]


def _shown(kind: Schema) -> str:
    """Say in a word what may be typed."""
    if "enum" in kind:
        return "|".join(map(str, kind["enum"]))
    low, high = kind.get("minimum"), kind.get("maximum")
    if kind.get("type") in ("integer", "number"):
        return f"{low}-{high}" if low is not None and high is not None else "NUMBER"
    if kind.get("type") == "array":
        inner = kind.get("items", {})
        return f"{_shown(inner)},..." if inner.get("type") == "string" else "JSON"
    return {"boolean": "true|false", "string": "TEXT"}.get(str(kind.get("type")), "JSON")


def _help(field: Schema, *, required: bool) -> str:
    text = " ".join(str(field.get("description", "")).split())
    default = field.get("default")
    if required:
        return f"{text} Required."
    if default in (None, [], "") or isinstance(default, dict):
        return text
    shown = default if isinstance(default, str) else json.dumps(default)
    return f"{text} [default: {shown}]"


def _read(text: str, kinds: tuple[Schema, ...]) -> Any:
    """Read text as the first thing that it can be: a number, true or false, JSON, or itself."""
    types = {one.get("type") for one in kinds}
    if types & {"integer", "number"}:
        try:
            return int(text) if text.lstrip("-").isdecimal() else float(text)
        except ValueError:
            pass
    if "boolean" in types and text in ("true", "false"):
        return text == "true"
    if types & {"array", "object"} and text.lstrip().startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
