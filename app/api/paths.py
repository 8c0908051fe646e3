"""Paths and methods that there are not: what comes nearest, and what there is."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request
from fastapi.routing import iter_route_contexts
from starlette.routing import Match

from app.api.nearest import MAX_PATH_CHARACTERS, nearest_path, shown
from app.errors import MethodNotAllowed, UnknownRoute

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def no_such_path(request: Request) -> UnknownRoute:
    """Say that there is no such path, and which one is most like it."""
    said = f"There is no {shown(request.url.path, MAX_PATH_CHARACTERS)}"
    root = str(request.scope.get("root_path", "")).rstrip("/")
    meant = nearest_path(str(request.scope["path"]).removeprefix(root), _paths(request))
    return UnknownRoute(f"{said}; did you mean {root}{meant}?" if meant else f"{said}.")


def no_such_method(request: Request) -> MethodNotAllowed:
    """Say that a path does not have this method, and which ones it has."""
    path = shown(request.url.path, MAX_PATH_CHARACTERS)
    there_are = ", ".join(methods_of(request))
    return MethodNotAllowed(f"{request.method} is not possible on {path}; there is {there_are}.")


def methods_of(request: Request) -> list[str]:
    """Give every method of a path; Starlette names those of the first route that fits only."""
    return [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


def _paths(request: Request) -> Iterator[str]:
    for route in iter_route_contexts(request.app.routes):
        if route.path_format:
            yield route.path_format
