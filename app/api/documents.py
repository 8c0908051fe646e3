"""JSON documents from outside, made into models: the one way in for all of them.

A document is read in pieces, none larger than a value may be (`app/ops/jsontext.py`): its members
one by one, and those of its lists that may be long a few elements at a time, each validated before
the next ones are read. So what a document costs is bounded by what a valid one does, whatever is
in it, and no single step holds up the other threads.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from app.api.problems import Findings
from app.errors import InvalidParameter, MalformedBody, TooManyItems
from app.ops.jsontext import MAX_CHARACTERS, said_of, too_long, value_at
from app.runtime import Runtime

MAX_MEMBERS = 200
SMALL_BYTES = 16 << 10
"""Such a document is understood in a millisecond or two: on the event loop."""
ELEMENTS_AT_ONCE = 64
CHARACTERS_AT_ONCE = 8 << 10

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_SPACE = re.compile(r"[ \t\r\n]*")
_CUT_SHORT = 12
"""So many characters before the end of what is read so far, a value that is no JSON may be one that
goes on: those of a `\\u` escape, or of `Infinity`."""


async def aside(runtime: Runtime, size_bytes: int, work: Callable[[], T]) -> T:
    """Do `work` on `size_bytes` of text: at once if that is little, else beside the event loop.

    In the one thread for it: two of them would take turns on the interpreter, and the event loop
    would wait for both.
    """
    if size_bytes <= SMALL_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(runtime.reader, work)


def parse(model: type[M], document: bytes | str, *, max_items: int = 10_000) -> M:
    """Read a JSON document (RFC 8259); a byte order mark before it is skipped.

    A member that `model` declares as a list may be as long as that says, or have `max_items`; every
    other one is one value in the sense of `jsontext`.

    Raises:
        MalformedBody: it is not JSON in UTF-8.
        TooManyItems: a list is too long.
        InvalidParameter: it does not fit `model`; up to `MAX_ERRORS` of the reasons are told.
    """
    text = _Text(document.encode("utf-8", "replace") if isinstance(document, str) else document)
    given: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {}
    findings = Findings()
    if text.peek() != "{":
        text.value()
        text.end()
        raise InvalidParameter("The document must be a JSON object.")
    for name in text.members():
        if name in given or name in lists:
            raise InvalidParameter(f"`{name[:100]}` is given twice.")
        if len(given) + len(lists) >= MAX_MEMBERS:
            raise InvalidParameter(f"A document has at most {MAX_MEMBERS} members.")
        if text.peek() == "[" and (elements := _elements_of(model, name)):
            limit = elements.max_length or max_items
            lists[name] = _read_list(text, name, elements, limit, findings)
        else:
            given[name] = text.value(name)
    text.end()
    try:
        read = model.model_validate(given)
    except ValidationError as error:
        findings.add(error)
        raise findings.error() from None
    if findings:
        raise findings.error()
    return read.model_copy(update=lists) if lists else read


class _Elements:
    """How the elements of a model's list are validated, a few at a time."""

    def __init__(self, annotation: Any, max_length: int | None) -> None:
        self.validate = TypeAdapter(annotation).validate_python
        self.max_length = max_length


@cache
def _elements_of(model: type[BaseModel], name: str) -> _Elements | None:
    field = model.model_fields.get(name)
    if field is None or get_origin(field.annotation) is not list:
        return None
    limits = [most for said in field.metadata if (most := getattr(said, "max_length", None))]
    return _Elements(field.annotation, min(limits, default=None))


def _read_list(
    text: _Text, name: str, elements: _Elements, limit: int, findings: Findings
) -> list[Any]:
    read: list[Any] = []
    for some in text.elements(name, limit):
        try:
            read += elements.validate(some)
        except ValidationError as error:
            findings.add(error, (name,), first=len(read))
            if findings.full:
                raise findings.error(at_least=True) from None
            read += some
    return read


class _Text:
    """The text of a document, of which no more is decoded than is being read."""

    def __init__(self, document: bytes) -> None:
        self._bytes = memoryview(document)
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._window = ""
        self._at = 0
        self._gone = 0
        """Characters that came before the window."""

    def peek(self) -> str:
        """Give the next character that is no white space; empty at the end."""
        while True:
            self._read_on()
            self._at = _SPACE.match(self._window, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._window) or not self._bytes:
                return self._window[self._at : self._at + 1]

    def value(self, name: str = "") -> Any:
        """Read the value that comes next, of the member `name`."""
        self.peek()
        self._read_on()
        try:
            value, self._at = value_at(self._window, self._at)
        except json.JSONDecodeError as error:
            left = len(self._window) - error.pos
            if self._bytes and (left <= _CUT_SHORT or error.msg.startswith("Unterminated")):
                raise self._named(name, too_long()) from None
            raise self._malformed(said_of(error, self._gone)) from None
        except (InvalidParameter, MalformedBody) as error:
            raise self._named(name, error) from None
        return value

    def members(self) -> Iterator[str]:
        """Read an object: gives each member's name, with the text before its value."""
        self._take("{")
        closing = self.peek() == "}"
        while not closing:
            if self.peek() != '"':
                raise self._unexpected("a name in double quotes")
            name: str = self.value()
            self._take(":")
            yield name
            if not (closing := self.peek() == "}"):
                self._take(",")
        self._take("}")

    def elements(self, name: str, limit: int) -> Iterator[list[Any]]:
        """Read a list of up to `limit` values, some at a time."""
        self._take("[")
        some: list[Any] = []
        count, begun = 0, self._gone + self._at
        closing = self.peek() == "]"
        while not closing:
            count += 1
            if count > limit:
                raise TooManyItems(f"`{name}` has more than {limit} elements.", max_items=limit)
            some.append(self.value(name))
            if not (closing := self.peek() == "]"):
                self._take(",")
            here = self._gone + self._at
            if len(some) >= ELEMENTS_AT_ONCE or here - begun >= CHARACTERS_AT_ONCE:
                yield some
                some, begun = [], here
        if some:
            yield some
        self._take("]")

    def end(self) -> None:
        """Make sure that nothing follows."""
        if self.peek():
            raise self._unexpected("the end")

    def _take(self, character: str) -> None:
        if self.peek() != character:
            raise self._unexpected(f"`{character}`")
        self._at += 1

    def _unexpected(self, expected: str) -> MalformedBody:
        return self._malformed(f"{expected} is expected at character {self._gone + self._at + 1}")

    def _malformed(self, said: str) -> MalformedBody:
        return MalformedBody(f"The document is not valid JSON: {said}.")

    def _named(self, name: str, error: InvalidParameter | MalformedBody) -> Exception:
        if not name:
            return error
        said = error.detail[:1].lower() + error.detail[1:]
        return type(error)(f"`{name[:100]}`: {said}")

    def _read_on(self) -> None:
        """Have the longest value that may come next in the window."""
        while self._bytes and len(self._window) - self._at <= MAX_CHARACTERS:
            some, self._bytes = self._bytes[:MAX_CHARACTERS], self._bytes[MAX_CHARACTERS:]
            try:
                decoded = self._decode(some, final=not self._bytes)
            except UnicodeDecodeError:
                raise self._malformed("it is not in UTF-8") from None
            self._gone += self._at
            self._window, self._at = self._window[self._at :] + decoded, 0
