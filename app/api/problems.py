"""Every failure as an RFC 9457 problem document: one table for the whole API."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from app.errors import (
    PROBLEM_MEDIA_TYPE,
    IncompleteBody,
    InternalError,
    InvalidParameter,
    MethodNotAllowed,
    OffloadError,
    Problem,
    UnknownRoute,
)

log = structlog.get_logger(__name__)

MAX_ERRORS = 20
"""So many of the things that are wrong with a request are told."""
MAX_NAME_CHARACTERS = 100
MAX_MESSAGE_CHARACTERS = 500
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class ProblemView(BaseModel):
    """RFC 9457 problem details. `code` is stable; `detail` is for people and may change."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:offload:error:input.invalid"])
    title: str = Field(examples=["The request is not valid"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["`level` must be from 1 to 9 for gzip."])
    code: str = Field(examples=["input.invalid"])
    retryable: bool = Field(
        default=False, description="Whether the same request may succeed later, unchanged."
    )


def view_of(problem: Problem) -> ProblemView:
    """Give a problem as part of another document."""
    return ProblemView(**problem.document())


def respond(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Answer a request with a problem."""
    more = dict(headers or {})
    if (retry_after_s := problem.extra.get("retry_after_s")) is not None:
        more.setdefault("Retry-After", str(retry_after_s))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        more.setdefault("WWW-Authenticate", "Bearer")
    return JSONResponse(problem.document(), problem.status, more, PROBLEM_MEDIA_TYPE)


def invalid(
    error: ValidationError | RequestValidationError, where: tuple[str | int, ...] = ()
) -> OffloadError:
    """Say what pydantic found, as far as it is told, in one error.

    `where` goes before each location. Values are left out: they may be secrets, or megabytes.
    """
    findings = Findings()
    findings.add(error, where)
    return findings.error()


class Findings:
    """What is wrong with a request: the first `MAX_ERRORS` of it, and how much there is."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._told: list[dict[str, Any]] = []
        self._count = 0

    def __bool__(self) -> bool:
        """Tell whether there is anything."""
        return self._count > 0

    @property
    def full(self) -> bool:
        """Whether what is found from now on is only counted."""
        return len(self._told) >= MAX_ERRORS

    def add(
        self,
        error: ValidationError | RequestValidationError,
        where: tuple[str | int, ...] = (),
        *,
        first: int = 0,
    ) -> None:
        """Take in what pydantic found below `where`; in a part of a list, from its `first` on."""
        if isinstance(error, ValidationError):
            found: Sequence[Any] = error.errors(include_url=False, include_input=False)
        else:
            found = error.errors()
        self._count += len(found)
        for e in found[: MAX_ERRORS - len(self._told)]:
            loc = list(e["loc"])
            if first and isinstance(loc[0], int):
                loc[0] += first
            told = [_cut(part, MAX_NAME_CHARACTERS) for part in (*where, *loc)]
            self._told.append({"loc": told, "msg": _cut(_sentence(e), MAX_MESSAGE_CHARACTERS)})

    def error(self, *, at_least: bool = False) -> OffloadError:
        """Give it as one error; `at_least` where nobody has looked for more."""
        first = self._told[0]
        name = ".".join(str(part) for part in first["loc"] if part not in ("query", "body", "path"))
        detail = f"`{name}`: {first['msg']}" if name else str(first["msg"])
        if more := self._count - 1:
            said = f"at least {more}" if at_least else str(more)
            detail += f" (and {said} more, see `errors`)"
        untold = self._count - len(self._told)
        extra: dict[str, Any] = {"more_errors": untold} if untold else {}
        detail += "" if detail.endswith(".") else "."
        return InvalidParameter(detail, errors=self._told, **extra)


def _cut(part: Any, characters: int) -> Any:
    """Keep what came from outside from making an answer larger than itself."""
    if isinstance(part, str) and len(part) > characters:
        return part[:characters] + "…"
    return part


def _sentence(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "there is no such parameter here"
    message: str = error["msg"]
    return message.removeprefix("Value error, ")


def install(app: FastAPI) -> None:
    """Make `app` answer every failure, its own and the framework's, with a problem."""

    @app.exception_handler(OffloadError)
    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, OffloadError)  # noqa: S101 - what the handler is registered for
        if error.log_detail or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            # A failure inside is the operator's to mend, all else is the request's own.
            level = logging.ERROR if error.code.startswith("internal.") else logging.WARNING
            detail = error.log_detail or error.detail
            log.log(level, "refused", path=request.url.path, code=error.code, detail=detail)
        return respond(error.problem(), error.headers)

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return respond(invalid(error).problem())

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        ours_instead = {
            HTTPStatus.NOT_FOUND: UnknownRoute(f"There is no {request.url.path}."),
            HTTPStatus.METHOD_NOT_ALLOWED: MethodNotAllowed(
                f"{request.method} is not possible on {request.url.path}."
            ),
        }.get(HTTPStatus(error.status_code))
        problem = (
            ours_instead.problem()
            if ours_instead
            else Problem("input.invalid", error.detail, error.status_code, error.detail)
        )
        headers = dict(error.headers or {})
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_allowed(request))
        return respond(problem, headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: Exception) -> Response:
        return respond(IncompleteBody("The body ended early.").problem())

    @app.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> Response:
        log.error("unhandled", path=request.url.path, exc_info=error)
        return respond(InternalError("The service failed on this request.").problem())


def _allowed(request: Request) -> list[str]:
    """Give every method of a path; Starlette names those of the first route that fits only."""
    return [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Give the OpenAPI `responses` for the problems that a route answers with.

    `default` is among them: clients learn that whatever else fails looks the same, and FastAPI
    does not announce its own document for a failed validation.
    """
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemView"}}}
    described: dict[int | str, dict[str, Any]] = {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }
    return {**described, "default": {"description": "Any other failure.", "content": content}}
