"""What people find: the page of the API, whole without the internet, and the way to it."""

import re
from html.parser import HTMLParser

import httpx
import pytest

from app import __version__
from app.main import create_app
from app.settings import Settings
from tests.api.answers import problem
from tests.service import Service

LOADED = {
    "docs/swagger-ui.css": "text/css",
    "docs/swagger-ui-bundle.js": "text/javascript",
    "docs/start.js": "text/javascript",
    "docs/icon.svg": "image/svg+xml",
}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class _Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.addresses, self.scripts, self._inside = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self._inside = tag
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        assert not [name for name, _ in attributes if name.startswith("on") or name == "style"]

    def handle_data(self, data):
        if self._inside in ("script", "style") and data.strip():
            self.scripts.append(data)


def test_the_page_loads_from_this_service_alone(http):
    response = http.get("/docs")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    page = _Page(response.text)
    assert set(page.addresses) == {*LOADED, "openapi.json"}
    assert page.scripts == []
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert not re.search(r"https?:|\*", policy)


@pytest.mark.parametrize("address", LOADED)
def test_what_the_page_loads_is_here_and_told_apart_from_a_newer_one(http, address):
    response = http.get(f"/{address}")
    assert response.headers["Content-Type"].partition(";")[0] == LOADED[address]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-cache"
    assert len(response.content) > 100
    same = http.get(f"/{address}", headers={"If-None-Match": response.headers["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    head = http.head(f"/{address}")
    assert (head.status_code, head.headers["ETag"]) == (200, response.headers["ETag"])


@pytest.mark.parametrize(
    "path", ["/docs/redoc.standalone.js", "/docs/docs.html", "/docs/..%2fdeps", "/redoc"]
)
def test_nothing_else_is_served_beside_it(http, path):
    problem(http.get(path), 404, "input.no_such_path")


def test_a_browser_finds_its_icon(http):
    assert http.get("/favicon.ico").headers["Content-Type"] == "image/svg+xml"


def test_a_program_is_told_where_things_are(http):
    response = http.get("/")
    assert (response.status_code, response.headers["Vary"]) == (200, "Accept")
    found = response.json()
    assert (found["name"], found["version"]) == ("Offload", __version__)
    assert {http.get(link).status_code for link in found["links"].values()} == {200}
    assert http.head("/").status_code == 200


@pytest.mark.anyio
async def test_all_leads_below_the_path_that_a_proxy_has_taken_off():
    below = httpx.ASGITransport(app=create_app(Settings(page=False)), root_path="/offload")
    async with httpx.AsyncClient(transport=below, base_url="http://x/offload/") as client:
        response = await client.get("", headers=BROWSER)
        assert (response.status_code, response.headers["Location"]) == (307, "/offload/docs")
        links = (await client.get("")).json()["links"]
        assert links["docs"] == "/offload/docs"
        assert all(link.startswith("/offload/") for link in links.values())
        page = await client.get("/offload/docs")
        for address in _Page(page.text).addresses:
            assert (await client.get(str(page.url.join(address)))).status_code == 200
        document = (await client.get("openapi.json")).json()
        assert document["servers"] == [{"url": "/offload"}]


def test_the_page_and_the_description_are_public_where_keys_are_needed(tmp_path):
    env = {"OFFLOAD_API_KEYS": '{"shop": "a-secret-of-some-length"}', "OFFLOAD_ROLES": "api"}
    with Service.started(tmp_path / "data", env) as service:
        for path in ("/", "/docs", "/openapi.json", *(f"/{address}" for address in LOADED)):
            assert httpx.get(service.url + path).status_code == 200
        problem(httpx.get(f"{service.url}/v1/jobs"), 401, "input.unauthorized")
