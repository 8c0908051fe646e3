"""What people find here: the API's page at /docs, whole without the internet, and the way to it.

Swagger UI comes from the package fastapi-offline; what is ours is in `pages/`. Every address is
relative or goes behind the path that a proxy has taken off, so the page works below any path. It
is as public as `/openapi.json`, and its "Authorize" takes the key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from app import __version__

FILES = StaticFiles(
    directory=Path(__file__).parent / "pages", packages=[("fastapi_offline", "static")]
)
SERVED = frozenset({"swagger-ui.css", "swagger-ui-bundle.js", "start.js", "icon.svg"})
"""All that the page loads; the package has more."""

HEADERS = {
    # Asked for again each time, and answered 304: never a page of one version with the script of
    # another.
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Nothing from elsewhere and no script in the page. `data:` and `blob:` are Swagger UI's own
    # icons, and the pictures among the answers that it shows.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
}


def is_browser(request: Request) -> bool:
    """Tell whether a browser asks, and not a program."""
    return "text/html" in request.headers.get("accept", "")


async def docs(request: Request) -> Response:
    """Give the page."""
    return await _file("docs.html", request)


async def asset(request: Request) -> Response:
    """Give what the page loads."""
    name = request.path_params["name"]
    if name not in SERVED:
        raise HTTPException(404)
    return await _file(name, request)


async def favicon(request: Request) -> Response:
    """Give the icon where browsers look for it unasked."""
    return await _file("icon.svg", request)


async def root(request: Request) -> Response:
    """Lead people to the page, and tell programs where things are."""
    base = str(request.scope.get("root_path", "")).rstrip("/")
    vary = {"Vary": "Accept"}
    if is_browser(request):
        # Relative, so that it leads there also behind a proxy that nobody told us of.
        return RedirectResponse(f"{base}/docs" if base else "docs", 307, headers=vary)
    return JSONResponse(
        {
            "name": "Offload",
            "version": __version__,
            "links": {
                "docs": f"{base}/docs",
                "openapi": f"{base}/openapi.json",
                "operations": f"{base}/v1/operations",
                "limits": f"{base}/v1/limits",
                "ready": f"{base}/readyz",
            },
        },
        headers=vary,
    )


async def _file(name: str, request: Request) -> Response:
    return await served(FILES, name, request, HEADERS)


async def served(
    files: StaticFiles, name: str, request: Request, headers: Mapping[str, str]
) -> Response:
    """Give one of the files of a page, with the page's headers. Raises 404 where there is none."""
    response = await files.get_response(name, request.scope)
    response.headers.update(headers)
    return response


def routes_of(endpoints: Mapping[str, Callable[[Request], Awaitable[Response]]]) -> list[Route]:
    """Give the routes of what people look at, which the API's description leaves out."""
    return [
        Route(path, endpoint, methods=["GET"], include_in_schema=False)  # and HEAD, which it adds
        for path, endpoint in endpoints.items()
    ]


ROUTES = routes_of({"/docs": docs, "/docs/{name}": asset, "/favicon.ico": favicon, "/": root})
