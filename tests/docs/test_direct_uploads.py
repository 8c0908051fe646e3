"""`OFFLOAD_CORS_ORIGINS`: a page of another origin in a browser, the one that the recipe shows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from app.api.cors import EXPOSED
from tests import browser as chromium
from tests.docs.reader import blocks
from tests.docs.test_browser_uploads import PAGE
from tests.service import Service

KEY = "a-key-of-some-length"
SAFELISTED = {"cache-control", "content-length", "content-type", "last-modified"}
NOT_FOR_SCRIPTS = {"content-security-policy", "date", "transfer-encoding", "vary"}
STREAMED = """
const [service, key, done] = arguments;
const own = { Authorization: `Bearer ${key}` };
const ask = (path, headers, more) =>
  fetch(service + path, { headers: { ...own, ...headers }, ...more });
(async () => {
  const sending = { "Idempotency-Key": "once", Prefer: "wait=30" };
  const made = await ask("/v1/compress", sending, { method: "POST", body: new Blob(["text"]) });
  const { items: [{ results: [file] }], links } = await made.json();
  const told = await (await ask(links.events, { "Last-Event-ID": "0-0" })).text();
  const part = await ask(file.href, { Range: "bytes=0-1" });
  const gone = await ask("/v1/files/file_0", {}, { method: "DELETE" });
  return {
    made: [made.status, made.headers.get("Preference-Applied"), made.headers.get("Location")],
    told: told.includes("event: job"),
    part: [part.status, part.headers.get("Content-Range").split("/")[0]],
    gone: [gone.status, (await gone.json()).code, gone.headers.get("X-Request-Id").length > 8],
    job: links.self,
  };
})().then(done, (failed) => done(String(failed)));
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Have a site of static files; gives its origin."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The origin of a site that the operator has named, and its folder."""
    folder = tmp_path / "pages"
    folder.mkdir()
    with served(folder) as origin:
        yield origin, folder


@pytest.fixture
def offload(tmp_path: Path, pages: tuple[str, Path]) -> Iterator[Service]:
    env = {"OFFLOAD_API_KEYS": f'{{"shop": "{KEY}"}}', "OFFLOAD_CORS_ORIGINS": pages[0]}
    with Service.started(tmp_path / "data", env) as running:
        yield running


def sent(browser: WebDriver, file: Path, key: str) -> str:
    """Give what the page says of a file in the end."""
    said = browser.find_element(By.CSS_SELECTOR, "[role=status]")
    browser.execute_script("document.querySelector('[type=password]').value = arguments[0]", key)
    browser.find_element(By.CSS_SELECTOR, "[type=file]").send_keys(str(file))
    WebDriverWait(browser, 60).until(lambda _: said.text not in ("", "Uploading…"))
    text = said.text
    browser.refresh()
    return text


def test_a_page_of_a_named_origin_uses_the_whole_service_and_others_cannot(
    offload: Service, pages: tuple[str, Path], tmp_path: Path, photo: bytes
) -> None:
    origin, folder = pages
    [*_, direct] = [block.text for block in blocks(PAGE) if block.not_run is None]
    (folder / "direct.html").write_text(direct.replace("http://127.0.0.1:8000", offload.url))
    for name, content in {"me.jpg": photo, "notes.jpg": b"no picture at all"}.items():
        (tmp_path / name).write_bytes(content)
    browser = chromium.opened(tmp_path)
    try:
        browser.get(f"{origin}/direct.html")
        assert sent(browser, tmp_path / "me.jpg", KEY) == "Done."
        assert sent(browser, tmp_path / "notes.jpg", KEY).startswith("The content is text/plain.")
        assert sent(browser, tmp_path / "me.jpg", "a-key-that-is-none").startswith("Send `Auth")
        done = browser.execute_async_script(STREAMED, offload.url, KEY)
        assert done == {
            "made": [200, "wait=30", done["job"]],
            "told": True,
            "part": [206, "bytes 0-1"],
            "gone": [404, "input.not_found", True],
            "job": done["job"],
        }
        with served(folder) as stranger:
            browser.get(f"{stranger}/direct.html")
            assert sent(browser, tmp_path / "me.jpg", KEY) == "Failed to fetch"
    finally:
        browser.quit()


def test_scripts_can_read_every_header_that_is_for_them(offload: Service, pages: tuple) -> None:
    asking = {"Authorization": f"Bearer {KEY}", "Origin": pages[0]}
    with httpx.Client(base_url=offload.url, headers=asking) as client:
        job = client.put(
            "/v1/compress/a.txt?wait=30", content=b"text", headers={"Prefer": "wait=1"}
        )
        [item] = job.json()["items"]
        answers = [
            job,
            client.get(job.headers["Location"]),
            client.get(job.headers["Location"] + "?download=true"),
            client.get(item["results"][0]["href"], headers={"Range": "bytes=0-1"}),
            client.get(job.headers["Location"] + "/events"),
            client.patch("/v1/jobs"),
            client.get("/v1/jobs", headers={"Authorization": ""}),
        ]
    exposed = {name.lower() for name in EXPOSED}
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == pages[0], answer.request.url
        assert "Origin" in answer.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
        rest = set(answer.headers) - exposed - SAFELISTED - NOT_FOR_SCRIPTS
        assert {
            name
            for name in rest
            if not name.startswith(("access-control-", "x-content-type-", "x-accel-"))
        } <= {"connection", "server"}, answer.request.url


def test_without_the_setting_there_are_no_such_headers(service: Service) -> None:
    asked = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    for answer in (
        httpx.get(f"{service.url}/livez", headers=asked),
        httpx.options(f"{service.url}/v1/images", headers=asked),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.status_code == 405
