"""What a handler asks for, worked out once; FastAPI would work it out for each request.

Handlers declare what they take as FastAPI has it: parameters of the path, the query and the
headers, and what is made of these by `Depends`. Here that becomes a list of calls, each with where
its arguments come from. Of a poll, FastAPI's own way is half the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class _Parameter:
    """An argument that a client may send, as text."""

    name: str
    place: str
    """`path`, `query` or `header`."""
    alias: str
    """Its name there."""
    required: bool
    default: Any
    validate: Function


@dataclass(frozen=True, slots=True)
class _Call:
    """A function, and where its arguments come from."""

    function: Function
    request: str | None
    """The argument that is the request itself."""
    needs: Sequence[tuple[str, Function]]
    """Those that other functions give."""
    parameters: Sequence[_Parameter]


class Solved:
    """Calls a handler, and before it whatever gives something that it takes.

    All of them are `async`, and none takes a body or a list: what takes those reads them itself.
    """

    def __init__(self, handler: Dependant) -> None:
        """Work out what is to be called, and in which order."""
        self._calls = list({call.function: call for call in _calls(handler)}.values())

    async def __call__(self, request: Request) -> Any:
        """Give what the handler gives.

        Raises:
            RequestValidationError: parameters are missing or not valid. What does not need them is
                called before that is told.
        """
        said = {"path": request.path_params, "query": _query(request), "header": request.headers}
        given: dict[Function, Any] = {}
        errors: list[Any] = []
        for call in self._calls:
            arguments, wrong = _sent(call.parameters, said)
            errors += wrong
            if wrong or any(need not in given for _, need in call.needs):
                continue
            for name, need in call.needs:
                arguments[name] = given[need]
            if call.request is not None:
                arguments[call.request] = request
            given[call.function] = await call.function(**arguments)
        if errors:
            raise RequestValidationError(errors)
        return given[self._calls[-1].function]


def _query(request: Request) -> Mapping[str, str]:
    """Give the query; most requests have none, and it costs to read it."""
    return request.query_params if request.scope["query_string"] else {}


def _sent(
    parameters: Sequence[_Parameter], said: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, Any], list[Any]]:
    """Give the arguments that a client sends, or has left out, and what is wrong with them."""
    arguments: dict[str, Any] = {}
    wrong: list[Any] = []
    for one in parameters:
        value = said[one.place].get(one.alias)
        if value is not None:
            arguments[one.name], found = one.validate(value, loc=(one.place, one.alias))
            wrong += found
        elif one.required:
            wrong.append({"type": "missing", "loc": (one.place, one.alias), "msg": "missing"})
        else:
            arguments[one.name] = one.default
    return arguments, wrong


def _calls(dependant: Dependant) -> Iterator[_Call]:
    """Give what is to be called, each behind all that it needs."""
    for needed in dependant.dependencies:
        yield from _calls(needed)
    yield _Call(
        _function(dependant),
        dependant.request_param_name or dependant.http_connection_param_name,
        [(needed.name or "", _function(needed)) for needed in dependant.dependencies],
        [
            _Parameter(
                field.name,
                place,
                field.alias,
                field.field_info.is_required(),
                field.get_default(),
                field.validate,
            )
            for place, fields in (
                ("path", dependant.path_params),
                ("query", dependant.query_params),
                ("header", dependant.header_params),
            )
            for field in fields
        ],
    )


def _function(dependant: Dependant) -> Function:
    assert dependant.call is not None  # noqa: S101 - only the empty one of a router has none
    return dependant.call
