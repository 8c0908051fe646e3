"""Every failure as an RFC 9457 problem document: one table for the whole API."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.nearest import shown
from app.api.paths import methods_of, no_such_method, no_such_path
from app.api.sentences import UNKNOWN, Judged, complaint, sentence
from app.errors import (
    PROBLEM_MEDIA_TYPE,
    IncompleteBody,
    InternalError,
    InvalidParameter,
    OffloadError,
    Problem,
    is_internal,
    phrase,
)

log = structlog.get_logger(__name__)

MAX_ERRORS = 20
"""So many of the things that are wrong with a request are told."""
MAX_MESSAGE_CHARACTERS = 500


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
        judged: Judged | None = None,
        where: tuple[str | int, ...] = (),
        *,
        first: int = 0,
    ) -> None:
        """Take in what pydantic found below `where`; in a part of a list, from its `first` on.

        Values are left out: they may be secrets, or megabytes.
        """
        if isinstance(error, ValidationError):
            found: Sequence[Any] = error.errors(include_url=False, include_input=False)
        else:
            found = error.errors()
        # pydantic counts the good entries of a list only: one bad entry is not one too few as well.
        bad = {e["loc"][:-1] for e in found}
        found = [e for e in found if e["type"] != "too_short" or e["loc"] not in bad]
        self._count += len(found)
        for e in found[: MAX_ERRORS - len(self._told)]:
            loc, said = complaint(e, judged or Judged(None))
            if isinstance(error, RequestValidationError):
                loc = loc[1:]  # which part of the request it is in
            if first and loc and isinstance(loc[0], int):
                loc[0] += first
            self._told.append({"loc": [*where, *loc], "msg": shown(said, MAX_MESSAGE_CHARACTERS)})

    def error(self, *, at_least: bool = False) -> OffloadError:
        """Give it as one error; `at_least` where nobody has looked for more."""
        # A name that there is not says more than what is missing for it: `url`, where `ur` is.
        first = next((e for e in self._told if e["msg"].startswith(UNKNOWN)), self._told[0])
        detail = sentence(first["loc"], first["msg"])
        if more := self._count - 1:
            said = f"at least {more}" if at_least else str(more)
            detail += f" And {said} more, see `errors`."
        untold = self._count - len(self._told)
        extra: dict[str, Any] = {"more_errors": untold} if untold else {}
        return InvalidParameter(detail, errors=self._told, **extra)


class Problems:
    """Pure ASGI middleware that answers every failure, our own and the framework's, so."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; what nobody has foreseen is raised all the same, for the server."""
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            request = Request(scope)
            response = None if started else _answer_to(error, request)
            if response is not None:
                await response(scope, receive, send)
                return
            log.exception("unhandled", path=request.url.path)
            if not started:
                failed = InternalError("The service failed on this request.")
                await respond(failed.problem())(scope, receive, send)
            raise


def _answer_to(error: Exception, request: Request) -> Response | None:
    """Answer what a request can fail with; None for anything else, which is a bug."""
    if isinstance(error, OffloadError):
        return _refused(error, request)
    if isinstance(error, RequestValidationError):
        findings = Findings()
        findings.add(error)
        return respond(findings.error().problem())
    if isinstance(error, HTTPException):
        return _not_here(error, request)
    if isinstance(error, ClientDisconnect):
        return respond(IncompleteBody("The body ended early.").problem())
    return None


def _refused(error: OffloadError, request: Request) -> Response:
    if error.log_detail or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        # A failure inside is the operator's to mend, all else is the request's own.
        level = logging.ERROR if is_internal(error.code) else logging.WARNING
        detail = error.log_detail or error.detail
        log.log(level, "refused", path=request.url.path, code=error.code, detail=detail)
    return respond(error.problem(), error.headers)


def _not_here(error: HTTPException, request: Request) -> Response:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return respond(no_such_path(request).problem(), error.headers)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": ", ".join(methods_of(request))}
        return respond(no_such_method(request).problem(), headers)
    problem = Problem("input.invalid", error.detail, error.status_code, error.detail)
    return respond(problem, error.headers)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Give the OpenAPI `responses` for the problems that a route answers with.

    `default` is among them: clients learn that whatever else fails looks the same, and FastAPI
    does not announce its own document for a failed validation.
    """
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemView"}}}
    described: dict[int | str, dict[str, Any]] = {
        status: {"description": phrase(status), "content": content} for status in statuses
    }
    return {**described, "default": {"description": "Any other failure.", "content": content}}
