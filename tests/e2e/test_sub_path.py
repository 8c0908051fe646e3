"""Below a sub-path every link leads back, whether the proxy takes the path off or leaves it."""

from __future__ import annotations

import base64
import contextlib
import json
import re

import httpx
import pytest

from app.settings import Settings
from tests.conftest import LOOPBACK
from tests.outbound.receiver import Receiver
from tests.service import Service

ROOT = "/shop/offload"
STRANGERS = "/else/where"
LINK = re.compile(r"(?<![\w/~.-])/(?:[\w.~-]+/)*(?:v1|docs|openapi\.json|readyz)\b[^\s\"'<>`;]*")
"""What looks like a path to this service, with all that stands before it."""


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    """Services by how they learn of the path."""
    trusting = {"OFFLOAD_TRUSTED_PROXIES": LOOPBACK, "OFFLOAD_LOG_FORMAT": "json"}
    with (
        Service.started(tmp_path_factory.mktemp("set"), {"OFFLOAD_ROOT_PATH": ROOT + "/"}) as told,
        Service.started(tmp_path_factory.mktemp("heard"), trusting) as trusts,
    ):
        yield {"setting": told, "header": trusts}


WAYS = {
    "setting, taken off": ("setting", "", {}),
    "setting, left": ("setting", ROOT, {}),
    "header, taken off": ("header", "", {"X-Forwarded-Prefix": ROOT}),
    "header, left": ("header", ROOT, {"X-Forwarded-Prefix": ROOT + "/"}),
}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def proxied(request, services):
    """A client of a proxy: what it asks for below the path reaches the service its way."""
    learns, keeps, headers = request.param

    def pass_on(asked):
        path = asked.url.raw_path.decode()
        assert path.startswith(ROOT), f"{path} leads out of {ROOT}"
        asked.url = asked.url.copy_with(raw_path=(keeps + path.removeprefix(ROOT)).encode())

    with httpx.Client(
        base_url=services[learns].url, headers=headers, event_hooks={"request": [pass_on]}
    ) as client:
        yield client


def links_in(response):
    told = [response.headers.get(name, "") for name in ("location", "content-location", "link")]
    return [found for text in (*told, response.text) for found in LINK.findall(text)]


def test_every_link_that_is_given_leads_back(proxied):
    made = proxied.post(
        f"{ROOT}/v1/compress?wait=20", content=b"a text", headers={"X-Request-Id": "one"}
    )
    job = made.json()
    file_id = job["items"][0]["results"][0]["id"]
    answers = [
        made,
        proxied.post(f"{ROOT}/v1/compress?wait=20&redirect=true", content=b"a text"),
        proxied.post(f"{ROOT}/v1/compress?wait=20&download=true", content=b"a text"),
        proxied.post(f"{ROOT}/v1/files", content=b"a text"),
        proxied.get(f"{ROOT}/v1/files/{file_id}"),
        proxied.get(f"{ROOT}/v1/jobs/{job['id']}"),
        proxied.get(f"{ROOT}/v1/jobs"),
        proxied.get(f"{ROOT}/v1/jobs/{job['id']}/items"),
        proxied.get(f"{ROOT}/v1/jobs/{job['id']}/events"),
        proxied.get(f"{ROOT}/v1/operations"),
        proxied.get(f"{ROOT}/"),
        proxied.get(f"{ROOT}/", headers={"Accept": "text/html"}),
    ]
    for answer in answers:
        assert answer.status_code < 400, answer.text
        found = [path for path in links_in(answer) if "/v1/shop" not in path]
        assert all(path.startswith(f"{ROOT}/") for path in found), (answer.url, found)
    assert sum(len(links_in(answer)) for answer in answers) > 40
    for path in {job["links"]["self"], job["items"][0]["results"][0]["href"]}:
        assert proxied.get(path).status_code == 200
    assert made.headers["location"] == f"{ROOT}/v1/jobs/{job['id']}"
    assert answers[1].headers["location"].startswith(f"{ROOT}/v1/files/")
    assert answers[2].headers["content-location"].startswith(f"{ROOT}/v1/files/")


def test_the_document_names_the_path_and_the_page_loads(proxied):
    assert proxied.get(f"{ROOT}/openapi.json").json()["servers"] == [{"url": ROOT}]
    page = proxied.get(f"{ROOT}/docs")
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded
    for address in loaded:
        assert proxied.get(str(httpx.URL(f"http://x{ROOT}/docs").join(address).path)).is_success


def test_an_unknown_path_is_named_as_it_was_asked_for(proxied):
    answer = proxied.get(f"{ROOT}/v1/job")
    assert answer.status_code == 404
    assert f"{ROOT}/v1/jobs" in answer.json()["detail"]


def test_probes_without_the_path_are_answered_too(services):
    for service in services.values():
        assert httpx.get(f"{service.url}/livez").status_code == 200
        assert httpx.get(f"{service.url}/openapi.json").status_code == 200


SPOOFS = ["//evil.test", "/a/../..", "javascript:x", "/a?b", "/a\\b", "https://evil.test", "/ü"]


@pytest.mark.parametrize("prefix", SPOOFS)
def test_a_prefix_that_is_no_path_is_ignored(services, prefix):
    answer = httpx.get(
        f"{services['header'].url}/", headers={"X-Forwarded-Prefix": prefix.encode()}
    )
    assert answer.json()["links"]["docs"] == "/docs"


def test_nothing_is_believed_from_those_who_are_not_trusted(services):
    answer = httpx.get(f"{services['setting'].url}/", headers={"X-Forwarded-Prefix": STRANGERS})
    assert answer.json()["links"]["docs"] == f"{ROOT}/docs"


def test_the_log_names_the_client_behind_trusted_proxies(services):
    hops = "203.0.113.9, 198.51.100.7:4711, 127.0.0.1"
    asked = {"X-Forwarded-For": hops, "X-Request-Id": "behind-a-proxy"}
    httpx.get(f"{services['header'].url}/v1/limits", headers=asked)
    line = json.loads(services["header"].logged("behind-a-proxy"))
    assert line["peer"] == "198.51.100.7"


@pytest.mark.anyio
async def test_links_in_events_are_below_the_path_too(tmp_path):
    env = {
        "OFFLOAD_ROOT_PATH": ROOT,
        "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
        "OFFLOAD_WEBHOOKS_SECRETS": "whsec_" + base64.b64encode(bytes(32)).decode(),
    }
    async with contextlib.AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(Receiver())
        service = stack.enter_context(Service.started(tmp_path / "data", env))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=service.url, timeout=60))
        hook = f"http://127.0.0.1:{receiver.port}/ok/hook"
        await http.post(f"/v1/compress?webhook={hook}", content=b"a text")
        await receiver.wait_for(1)
        [told] = receiver.to("/ok/hook")
        links = json.loads(told.body)["data"]["links"]
        assert {link.startswith(f"{ROOT}/v1/jobs/") for link in links.values()} == {True}


@pytest.mark.parametrize("path", ["offload", "//evil.test", "/a/../b", "/a b", "/v1", "/docs/x"])
def test_a_path_that_cannot_be_one_is_refused(path):
    with pytest.raises(ValueError, match="root_path"):
        Settings(root_path=path)
