"""What holds for every route, whatever it does: its query is known, and HEAD is as good as GET."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import StreamingResponse
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from app.api.names import PATHS
from app.api.nearest import hint, shown
from app.api.options import QUERY, texts
from app.api.sentences import UNKNOWN
from app.api.solving import Solved
from app.errors import InvalidParameter


class Route(APIRoute):
    """A route that refuses what it would not read, and sends no body where none was asked for."""

    more_query: frozenset[str] = frozenset()
    """Query parameters that it reads beside those that its handler declares."""
    lists: frozenset[str] = frozenset()
    """Those of which each may stand there several times, for the elements of a list."""

    @cached_property
    def query(self) -> frozenset[str]:
        """Every query parameter that it reads."""
        return self.more_query | frozenset(_declared(self.dependant))

    @cached_property
    def _solved(self) -> Solved:
        return Solved(self.dependant)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether a request is this route's.

        A file's name at the end of a path has folders only for those who want to keep them: for
        all others there is no such path, as there is none for a name that is empty.
        """
        found = self.path_regex.match(scope["path"].removeprefix(scope.get("root_path", "")))
        if found is None:
            return Match.NONE, {}
        params = found.groupdict()
        name = params.get("filename")
        if name is not None and (not name or ("/" in name and not _keeps_paths(scope))):
            return Match.NONE, {}
        fits = scope["method"] in (self.methods or ())
        return Match.FULL if fits else Match.PARTIAL, {"path_params": params, "route": self}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that is this route's, its method apart."""
        if scope["method"] not in (self.methods or ()):
            raise HTTPException(405)
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.scope["query_string"]:
            for name in request.query_params:
                if name not in self.query:
                    raise _unknown(name, self.query)
            texts(request.query_params.multi_items(), QUERY, many=self.lists)
        response = await self._solved(request)
        if not isinstance(response, Response):
            return json_of(response, self.status_code or 200)
        if request.method == "HEAD" and isinstance(response, StreamingResponse):
            # A stream of events would go on until the job ends, and say nothing.
            return _head_of(response)
        return response


class Router(APIRouter):
    """Makes such routes; for each GET there is a HEAD (RFC 9110 section 9.1).

    The HEAD stands in no description: it is the GET without a body, which the server leaves out.
    """

    def __init__(
        self,
        *,
        tags: list[str],
        prefix: str = "",
        more_query: Collection[str] = (),
        lists: Collection[str] = (),
    ) -> None:
        """Begin a group; `more_query` are parameters that its handlers read for themselves.

        `lists` are those of them that may be repeated.
        """
        super().__init__(prefix=prefix, tags=list(tags), route_class=Route)
        self._more_query = frozenset(more_query)
        self._lists = frozenset(lists)

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **how: Any) -> None:
        """Add a route, and its HEAD if it is a GET."""
        super().add_api_route(path, endpoint, **how)
        self._know_query()
        if "GET" in (how.get("methods") or ["GET"]):
            bare = {**how, "methods": ["HEAD"], "include_in_schema": False}
            super().add_api_route(path, endpoint, **bare)
            self._know_query()

    def _know_query(self) -> None:
        route = self.routes[-1]
        assert isinstance(route, Route)  # noqa: S101 - it has just been made as one
        route.more_query = self._more_query
        route.lists = self._lists


def json_of(
    view: BaseModel | None, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with a document; with None, without a body."""
    if view is None:
        return Response(status_code=status, headers=headers)
    return Response(view.model_dump_json(), status, headers, "application/json")


def _keeps_paths(scope: Scope) -> bool:
    asked = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
    return (PATHS, "keep") in asked


def _declared(dependant: Dependant) -> Iterator[str]:
    for parameter in dependant.query_params:
        yield parameter.alias
    for needed in dependant.dependencies:
        yield from _declared(needed)


def _unknown(name: str, known: Collection[str]) -> InvalidParameter:
    said = f"`{shown(name)}` {UNKNOWN}{hint(name, known)}"
    return InvalidParameter(said, errors=[{"loc": [shown(name)], "msg": said.removesuffix(".")}])


def _head_of(response: Response) -> Response:
    bare = Response(status_code=response.status_code, background=response.background)
    bare.raw_headers = response.raw_headers
    return bare
