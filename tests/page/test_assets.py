"""What the page is made of: all of it in the wheel, all of it served, its libraries npm's."""

import hashlib
import json
import re
import subprocess
import sys
import zipfile

import httpx
import pytest

from app import __version__
from app.main import create_app
from app.settings import Settings
from tests.api.answers import problem
from tests.clients.conftest import ROOT, need
from tests.page.vendored import MODULES, VENDOR, vendored

PAGE = ROOT / "app" / "page"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
ASSETS = sorted(str(path.relative_to(PAGE)) for path in PAGE.rglob("*") if path.is_file())


def test_the_manifest_says_what_is_there():
    manifest = json.loads((VENDOR / "manifest.json").read_text())
    assert {*manifest, "manifest.json", "LICENSES.txt"} == {path.name for path in VENDOR.iterdir()}
    locked = json.loads((ROOT / "tests/page/package-lock.json").read_text())["packages"]
    licences = (VENDOR / "LICENSES.txt").read_text()
    for name, told in manifest.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == told["sha256"]
        package = locked[f"node_modules/{told['package']}"]
        assert (package["version"], package["license"]) == (told["version"], told["licence"])
        assert f"{told['package']}\n\n" in licences


def test_the_copies_are_what_npm_has_locked():
    need(MODULES / "htm", "`make clients`, with npm")
    made = vendored()
    assert {path.name: path.read_bytes() for path in VENDOR.iterdir()} == made


def test_the_wheel_has_all_of_it(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        inside = {name for name in packed.namelist() if name.startswith("app/page/")}
    assert inside == {f"app/page/{name}" for name in ASSETS}


def test_people_are_given_the_page_and_programs_are_told_where_things_are(http):
    page = http.get("/", headers=BROWSER)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Vary"] == "Accept"
    assert http.get("/").json()["version"] == __version__
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {http.get(f"/{address}").status_code for address in loaded} == {200}
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", page.text)


@pytest.mark.parametrize("asset", ASSETS)
def test_what_it_loads_has_the_policy_and_is_told_apart_from_a_newer_one(http, asset):
    response = http.get(f"/page/{asset}")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-cache"
    same = http.get(f"/page/{asset}", headers={"If-None-Match": response.headers["ETag"]})
    assert (same.status_code, same.content) == (304, b"")


@pytest.mark.parametrize("path", ["/page/..%2fkeys", "/page/vendor", "/page/", "/page/none.js"])
def test_nothing_else_is_served_beside_it(http, path):
    problem(http.get(path), 404, "input.no_such_path")


@pytest.mark.anyio
async def test_it_works_below_the_path_that_a_proxy_has_taken_off():
    below = httpx.ASGITransport(app=create_app(Settings()), root_path="/offload")
    async with httpx.AsyncClient(transport=below, base_url="http://x/offload/") as client:
        page = await client.get("", headers=BROWSER)
        for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
            assert (await client.get(str(page.url.join(address)))).status_code == 200


@pytest.mark.anyio
async def test_it_is_in_its_folder_where_a_proxy_leaves_the_path_on():
    transport = httpx.ASGITransport(app=create_app(Settings(root_path="/offload")))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        led = await client.get("/offload", headers=BROWSER)
        assert (led.status_code, led.headers["Location"]) == (307, "/offload/")
        assert (await client.get("/offload/", headers=BROWSER)).status_code == 200
        assert (await client.get("/", headers=BROWSER)).status_code == 200


@pytest.mark.anyio
async def test_the_operator_may_turn_it_off():
    transport = httpx.ASGITransport(app=create_app(Settings(page=False)))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        led = await client.get("/", headers=BROWSER)
        assert (led.status_code, led.headers["Location"]) == (307, "docs")
        assert led.headers["Vary"] == "Accept"
        assert (await client.get("/page/main.js")).status_code == 404


def test_no_text_is_said_outside_the_file_of_texts():
    for path in PAGE.glob("*.js"):
        if path.name == "texts.js":
            continue
        said = re.findall(r">\s*([A-Z][a-z]+ [a-z][^<>${}]*)<", path.read_text())
        assert said == [], path.name
