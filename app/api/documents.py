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
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from app.api.nearest import shown
from app.api.problems import Findings
from app.api.sentences import Judged
from app.errors import EmptyBody, InvalidParameter, MalformedBody, TooManyItems
from app.ops.jsontext import MAX_CHARACTERS, MAX_PARTS, said_of, too_long, value_at
from app.runtime import Runtime

MAX_MEMBERS = 200
SMALL_BYTES = 16 << 10
"""Such a document is understood in a millisecond or two: on the event loop."""
TINY_BYTES = 4 << 10
"""Such a document is one piece."""
ELEMENTS_AT_ONCE = 64
CHARACTERS_AT_ONCE = 8 << 10
BYTES_AT_ONCE = 16 << 10

FREE_PARTS = 8 << 10
"""Of what no model describes, such as `metadata`: nothing in it can be wrong."""
ITEM_PARTS = 300
"""Of an element of a list that may be long: a URL with all the headers that it may have."""

Document = bytes | str | Sequence[bytes | bytearray]
"""The text of a document; in pieces, where it is long."""
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


def parse(model: type[M], document: Document, *, max_items: int = 10_000) -> M:
    """Read a JSON document (RFC 8259); a byte order mark before it is skipped.

    A member that `model` declares as a list may be as long as that says, or have `max_items`; every
    other one is one value in the sense of `jsontext`.

    Raises:
        EmptyBody: there is none.
        MalformedBody: it is not JSON in UTF-8.
        TooManyItems: a list is too long.
        InvalidParameter: it does not fit `model`; up to `MAX_ERRORS` of the reasons are told.
    """
    if not isinstance(document, bytes | str) and len(document) == 1:
        document = bytes(document[0])
    if isinstance(document, bytes | str) and len(document) <= TINY_BYTES:
        return _validated(model, _whole(document), Findings())
    text = _Text(document)
    given: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {}
    findings = Findings()
    if not text.peek():
        raise _empty()
    if text.peek() != "{":
        text.value()
        text.end()
        raise _no_object()
    for count, name in enumerate(text.members()):
        if count >= MAX_MEMBERS:
            raise InvalidParameter(f"A document has at most {MAX_MEMBERS} members.")
        if text.peek() == "[" and (elements := _lists_of(model).get(name)):
            limit = elements.max_length or max_items
            given.pop(name, None)  # of members with one name the last one counts
            lists[name] = _read_list(text, name, elements, limit, findings)
        else:
            lists.pop(name, None)
            given[name] = text.value(name, FREE_PARTS if _is_free(model, name) else MAX_PARTS)
    text.end()
    read = _validated(model, given, findings)
    return read.model_copy(update=lists) if lists else read


def _whole(document: bytes | str) -> Any:
    try:
        text = document.decode("utf-8-sig") if isinstance(document, bytes) else document
    except UnicodeDecodeError:
        raise _malformed("it is not in UTF-8") from None
    try:
        start = _SPACE.match(text).end()  # type: ignore[union-attr]
        if start == len(text):
            raise _empty()
        value, end = value_at(text, start, FREE_PARTS)
    except json.JSONDecodeError as error:
        raise _malformed(said_of(error)) from None
    end = _SPACE.match(text, end).end()  # type: ignore[union-attr]
    if end < len(text):
        raise _malformed(f"the end is expected at character {end + 1}")
    if not isinstance(value, dict):
        raise _no_object()
    return value


def _validated(model: type[M], given: Any, findings: Findings) -> M:
    try:
        read = model.model_validate(given)
    except ValidationError as error:
        findings.add(error, Judged(model, given))
    if findings:
        raise findings.error() from None
    return read


def _empty() -> EmptyBody:
    return EmptyBody("The body is empty; a JSON document was announced.")


def _malformed(said: str) -> MalformedBody:
    return MalformedBody(f"The document is not valid JSON: {said}.")


def _no_object() -> InvalidParameter:
    return InvalidParameter("The document must be a JSON object.")


class _Elements:
    """How the elements of a model's list are validated, a few at a time."""

    def __init__(self, annotation: Any, max_length: int | None) -> None:
        self.annotation = annotation
        self.validate = TypeAdapter(annotation).validate_python
        self.max_length = max_length


@cache
def _lists_of(model: type[BaseModel]) -> dict[str, _Elements]:
    found = {}
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is list:
            limits = [most for said in field.metadata if (most := getattr(said, "max_length", 0))]
            found[name] = _Elements(field.annotation, min(limits, default=None))
    return found


def _is_free(model: type[BaseModel], name: str) -> bool:
    field = model.model_fields.get(name)
    return field is not None and field.annotation == dict[str, Any]


def _read_list(
    text: _Text, name: str, elements: _Elements, limit: int, findings: Findings
) -> list[Any]:
    read: list[Any] = []
    max_parts = MAX_PARTS if elements.max_length else ITEM_PARTS
    for some in text.elements(name, limit, max_parts):
        try:
            read += elements.validate(some)
        except ValidationError as error:
            findings.add(error, Judged(elements.annotation, some), (name,), first=len(read))
            if findings.full:
                raise findings.error(at_least=True) from None
            read += some
    return read


class _Text:
    """The text of a document, of which no more is decoded than is being read."""

    def __init__(self, document: Document) -> None:
        if isinstance(document, str):
            document = document.encode("utf-8", "replace")
        pieces = [document] if isinstance(document, bytes) else document
        self._coming = (
            memoryview(piece)[at : at + BYTES_AT_ONCE]
            for piece in pieces
            for at in range(0, len(piece), BYTES_AT_ONCE)
        )
        self._more = True
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
            if self._at < len(self._window) or not self._more:
                return self._window[self._at : self._at + 1]

    def value(self, name: str = "", max_parts: int = MAX_PARTS) -> Any:
        """Read the value that comes next, of the member `name`."""
        self.peek()
        self._read_on()
        try:
            value, self._at = value_at(self._window, self._at, max_parts)
        except json.JSONDecodeError as error:
            left = len(self._window) - error.pos
            if self._more and (left <= _CUT_SHORT or error.msg.startswith("Unterminated")):
                raise self._named(name, too_long()) from None
            raise _malformed(said_of(error, self._gone)) from None
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

    def elements(self, name: str, limit: int, max_parts: int) -> Iterator[list[Any]]:
        """Read a list of up to `limit` values, some at a time."""
        self._take("[")
        some: list[Any] = []
        count, begun = 0, self._gone + self._at
        closing = self.peek() == "]"
        while not closing:
            count += 1
            if count > limit:
                raise TooManyItems(f"`{name}` has more than {limit} elements.", max_items=limit)
            some.append(self.value(name, max_parts))
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
        return _malformed(f"{expected} is expected at character {self._gone + self._at + 1}")

    def _named(self, name: str, error: InvalidParameter | MalformedBody) -> Exception:
        if not name:
            return error
        said = error.detail[:1].lower() + error.detail[1:]
        return type(error)(f"`{shown(name)}`: {said}")

    def _read_on(self) -> None:
        """Have the longest value that may come next in the window."""
        while self._more and len(self._window) - self._at <= MAX_CHARACTERS:
            some = next(self._coming, None)
            self._more = some is not None
            try:
                decoded = self._decode(some or b"", final=not self._more)
            except UnicodeDecodeError:
                raise _malformed("it is not in UTF-8") from None
            self._gone += self._at
            self._window, self._at = self._window[self._at :] + decoded, 0
