"""docs/recipes/browser-uploads.md, as a visitor has it: its back end, its page, and a browser."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests import browser as chromium
from tests.docs.reader import ROOT, blocks
from tests.service import Service

PAGE = ROOT / "docs" / "recipes" / "browser-uploads.md"
UVICORN = "import sys, uvicorn; uvicorn.run('backend:app', fd=int(sys.argv[1]), log_level='error')"


@pytest.fixture
def site(tmp_path: Path, service: Service) -> Iterator[str]:
    """The address of a site that is made as the recipe says."""
    import socket

    [backend, page, _] = [block.text for block in blocks(PAGE) if block.not_run is None]
    (tmp_path / "backend.py").write_text(backend.replace("http://127.0.0.1:8000", service.url))
    (tmp_path / "page.html").write_text(page)
    env = {k: v for k, v in os.environ.items() if not k.startswith("OFFLOAD_")}
    with socket.create_server(("127.0.0.1", 0)) as listening:  # connections wait until it is up
        running = subprocess.Popen(
            [sys.executable, "-c", UVICORN, str(listening.fileno())],
            cwd=tmp_path,
            env=env | {"PYTHONPATH": str(tmp_path)},
            pass_fds=[listening.fileno()],
        )
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            running.terminate()
            running.wait(30)


def test_a_visitor_uploads_a_picture_and_what_is_none(
    site: str, tmp_path: Path, photo: bytes
) -> None:
    (tmp_path / "me.jpg").write_bytes(photo)
    (tmp_path / "notes.jpg").write_bytes(b"no picture at all")
    browser = chromium.opened(tmp_path)
    try:
        browser.get(site)
        said = browser.find_element(By.CSS_SELECTOR, "[role=status]")
        wait, chosen = WebDriverWait(browser, 60), browser.find_element(By.TAG_NAME, "input")
        chosen.send_keys(str(tmp_path / "me.jpg"))
        wait.until(lambda _: said.text == "Done.")
        width = "return document.images[0].naturalWidth"
        wait.until(lambda _: browser.execute_script(width) == 800)
        chosen.send_keys(str(tmp_path / "notes.jpg"))
        wait.until(lambda _: said.text not in ("", "Done.", "Uploading…"))
        assert said.text.startswith("The content is text/plain.")
    finally:
        browser.quit()


def test_too_much_is_refused_by_the_back_end(site: str) -> None:
    answer = httpx.post(f"{site}/pictures", content=bytes((10 << 20) + 1), timeout=60)
    assert answer.status_code == 413
