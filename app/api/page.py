"""The page of the service for people: `/`, and what it loads, which is in `app/page/`.

It uses the public API like any other client. What it loads comes from here alone, and every address
is relative, so that it works below any path.
"""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from app.api import docs

FOLDER = Path(__file__).parents[1] / "page"
FILES = StaticFiles(directory=FOLDER)

HEADERS = {
    # Asked for again each time, and answered 304: never the modules of two versions together.
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Nothing from elsewhere, no script or style in the markup. `blob:` are pictures of this tab:
    # an <img> runs nothing, whatever is in it. No text is ever made into markup by a script.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
}


async def root(request: Request) -> Response:
    """Give people the page, and tell programs where things are."""
    if not docs.is_browser(request):
        return await docs.root(request)
    if request.scope["raw_path"] == request.scope.get("root_path", "").encode() != b"":
        # Its addresses are relative to the folder, so a browser has to be in it.
        return RedirectResponse(f"{request.scope['root_path']}/", 307, headers={"Vary": "Accept"})
    response = await _file("index.html", request)
    response.headers["Vary"] = "Accept"
    return response


async def asset(request: Request) -> Response:
    """Give what the page loads."""
    return await _file(request.path_params["name"], request)


async def _file(name: str, request: Request) -> Response:
    return await docs.served(FILES, name, request, HEADERS)


ROUTES = docs.routes_of({"/": root, "/page/icon.svg": docs.favicon, "/page/{name:path}": asset})
