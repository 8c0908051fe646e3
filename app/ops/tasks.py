"""What goes to a worker, and what comes back: values that pickle, whatever happened."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from app.errors import Refusal, from_code
from app.ops.base import Limits, Source, pickled_by_fields
from app.ops.registry import load_operations

MAX_TOLD = 1_000
"""Of the parts of one item, so many are described one by one."""


_UNWEIGHED_MS = 1_000.0
"""More than goes together with anything."""


@dataclass(frozen=True, slots=True)
class ChainStep:
    """One operation and its parameters, as JSON."""

    op: str
    params: dict[str, Any] = field(default_factory=dict)


@pickled_by_fields
@dataclass(frozen=True, slots=True)
class ChainTask:
    """What a worker is to do: pass files and values through steps."""

    sources: tuple[Source, ...]
    steps: tuple[ChainStep, ...]
    folder: Path | str
    """Empty or not there yet, and private to this task; its parent is there, on the data disk.
    Removed by the caller, if it was made. Text costs the worker less than a `Path`."""
    limits: Limits
    asides: Mapping[str, Source] = field(default_factory=dict)
    """See `Work.asides`: those of all steps."""
    small_bytes: int | None = None
    """Results of at most so many bytes come back as values; None: all as files."""
    deaths: int = 0
    """How many children have died under it: what they left in the folder is not to be met."""

    @property
    def weight_ms(self) -> float:
        """CPU milliseconds that it will take, roughly: see `Operation.weight_ms`."""
        size_bytes = sum(source.size_bytes for source in self.sources)
        known = load_operations()
        try:
            return sum(known[step.op].weight_ms(size_bytes, step.params) for step in self.steps)
        except Exception:  # noqa: BLE001 - no such operation, or no such parameter: told in time
            return _UNWEIGHED_MS


@pickled_by_fields
@dataclass(frozen=True, slots=True)
class StoredOutput:
    """One result, finished and hashed: a file to be taken over by rename, or a value."""

    path: Path
    """`NOWHERE` of a value."""
    name: str
    media_type: str
    size_bytes: int
    sha256: str
    """Hexadecimal."""
    data: bytes | None = None
    """All of it, where it is a value: see `ChainTask.small_bytes`."""


@pickled_by_fields
@dataclass(frozen=True, slots=True)
class Finished:
    """All steps are through."""

    outputs: tuple[StoredOutput, ...]
    facts: dict[str, dict[str, Any]]
    """By the step's operation; a second step of the same one is `<op>.2`. Of a step that several
    files went through, `files` has them one by one, the first `MAX_TOLD`."""
    refused: tuple[Refusal, ...] = ()
    """Parts that failed alone, the first `MAX_TOLD`; a part is named by all the files it is in."""
    log_detail: str = ""
    """For the operator."""


@pickled_by_fields
@dataclass(frozen=True, slots=True)
class Refused:
    """A step failed; `app.errors.from_code` makes the error again."""

    code: str
    detail: str
    """For the client."""
    log_detail: str = ""
    """For the operator."""
    extra: dict[str, Any] = field(default_factory=dict)


def unwrapped(result: Finished | Refused) -> Finished:
    """Give what a chain finished with; raise, on this side of the pipe, what it refused with."""
    if isinstance(result, Refused):
        raise from_code(result.code, result.detail, log_detail=result.log_detail, **result.extra)
    return result


def add_facts(facts: dict[str, dict[str, Any]], more: dict[str, dict[str, Any]]) -> None:
    """Add the facts of later steps; what is there under the same name stays, see `Finished`."""
    for op, told in more.items():
        key, times = op, 1
        while key in facts:
            times += 1
            key = f"{op}.{times}"
        facts[key] = told


def as_json(value: dict[str, Any]) -> dict[str, Any]:
    """Give what an operation said as JSON has it, or fail here: not all else pickles.

    A number that is not finite is none: JSON has no such numbers.

    Raises:
        TypeError, ValueError: JSON cannot say it.
    """
    if _is_json(value):
        return value
    copied = json.loads(json.dumps(value), parse_constant=lambda _: None)
    return cast("dict[str, Any]", copied)


_SCALARS = frozenset({str, int, bool, type(None)})


def _is_json(value: Any) -> bool:
    """Tell whether a value comes back from JSON as it is: nearly all do, and are not copied."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        return all(type(key) is str and _is_json(one) for key, one in value.items())
    return kind is list and all(map(_is_json, value))
