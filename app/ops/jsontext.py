r"""JSON text from outside, one bounded value at a time: RFC 8259, and what I-JSON adds to it.

Python's own reader takes more than JSON (`NaN`), gives less than it says (`1e999` is an infinity,
`"\ud800"` half a character) and goes as deep as the stack. What passes here can be stored, sent on
and written as JSON again by anybody.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from app.errors import InvalidParameter, MalformedBody

MAX_CHARACTERS = 64 << 10
"""Longest text of one value."""
MAX_PARTS = 2_000
"""Most values inside one: what is wrong with each of them would be an error of its own."""
MAX_DEPTH = 64
MAX_DIGITS = 20
"""Of a whole number: those of 64 bits."""

_EXPECTED = {
    "Expecting value": "a value is expected",
    "Expecting property name enclosed in double quotes": "a name in double quotes is expected",
    "Illegal trailing comma before end of object": "a name in double quotes is expected",
    "Illegal trailing comma before end of array": "a value is expected",
    "Expecting ',' delimiter": "`,` is expected",
    "Expecting ':' delimiter": "`:` is expected",
}
"""What Python's reader says, in the words of the others here; the same for each Python."""

_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def _no_json(name: str) -> NoReturn:
    raise MalformedBody(f"{name} is not JSON: its numbers are finite.")


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise MalformedBody(f"A number has {len(digits)} digits; 64 bits are the most.")
    return int(digits)


def _finite(text: str) -> float:
    if math.isfinite(number := float(text)):
        return number
    raise MalformedBody(f"The number {text[:40]} is too large.")


_DECODER = json.JSONDecoder(parse_constant=_no_json, parse_int=_whole, parse_float=_finite)


def value_at(text: str, start: int, max_parts: int = MAX_PARTS) -> tuple[Any, int]:
    """Read the value that begins at `start`; gives it and where it ends.

    Raises:
        json.JSONDecodeError: there is none, or it is not whole.
        MalformedBody: a number of it is beyond 64 bits or a double's range, or none in JSON, a
            string has half of a surrogate pair, or it is nested too deep.
        InvalidParameter: it is too long, or in too many parts.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise _too_deep() from None
    check_length(end - start)
    if end - start > MAX_DEPTH:  # each value takes a character at least
        _check_shape(value, max_parts)
    if _HALF.search(text, start, end):
        _check_characters(value)
    return value, end


def value_of(text: str) -> Any:
    """Read a text that is one value, such as that of a form field.

    Raises:
        ValueError: it is not JSON, or more than `value_at` takes.
    """
    try:
        check_length(len(text))
        stripped = text.strip(" \t\r\n")
        value, end = value_at(stripped, 0)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON: {said_of(error)}") from None
    except (InvalidParameter, MalformedBody) as error:
        raise ValueError(error.detail) from None
    if end < len(stripped):
        raise ValueError(f"it is not valid JSON: something follows at character {end + 1}")
    return value


def said_of(error: json.JSONDecodeError, before: int = 0) -> str:
    """Say what is wrong and where, `before` characters having come before the text."""
    said = _EXPECTED.get(error.msg, error.msg[:1].lower() + error.msg[1:])
    # Of a comma too many, Python 3.13 names the place, and others what follows.
    at = before + error.pos + (2 if "trailing comma" in error.msg else 1)
    return f"{said} at character {at}"


def check_length(characters: int) -> None:
    """Raise `InvalidParameter` for a value that is too long."""
    if characters > MAX_CHARACTERS:
        raise too_long()


def too_long() -> InvalidParameter:
    """Give what a value that is too long is refused with."""
    return InvalidParameter(f"One value is longer than {MAX_CHARACTERS} characters.")


def _check_shape(value: Any, max_parts: int) -> None:
    level, parts = [value], 0
    for _ in range(MAX_DEPTH + 1):
        parts += len(level)
        if parts > max_parts:
            raise InvalidParameter(f"One value has more than {max_parts} parts.")
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> MalformedBody:
    return MalformedBody(f"A value is nested more than {MAX_DEPTH} deep.")


def _check_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise MalformedBody("A string has half of a surrogate pair.") from None
