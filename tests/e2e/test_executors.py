"""A service whose workers are threads: what it says of itself, what it bounds, and how it ends."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import httpx
import pytest

from tests.api.answers import done
from tests.service import Service, served_within

TEXT = b"so many words " * 1000


@pytest.fixture
def installed(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(plugin))


@pytest.mark.usefixtures("installed")
def test_threads_do_the_work_and_say_what_they_do_not_isolate(tmp_path: Path, photo: bytes) -> None:
    env = {
        "OFFLOAD_POOL_EXECUTOR": "thread",
        "OFFLOAD_POOL_WORKERS": "2",
        "OFFLOAD_POOL_KILL_GRACE_S": "0.1",
        "OFFLOAD_ITEM_TIMEOUT_S": "5",
        "OFFLOAD_LOG_FORMAT": "json",
    }
    with Service.started(tmp_path / "data", env) as own, httpx.Client(base_url=own.url) as http:
        assert own.workers() == []
        isolation = http.get("/readyz").json()["isolation"]
        assert isolation["executor"] == "thread"
        assert set(isolation["lost"]) >= {"crash", "kill", "memory", "environment"}
        assert all(name in own.logged("not_isolated") for name in isolation["lost"])
        made = http.post("/v1/compress", params={"wait": 20}, content=TEXT)
        assert done(made)["counts"]["succeeded"] == 1
        # Two at once, one of them damaged: libvips keeps one place for what it says of both.
        files = [("file", ("a.jpg", photo)), ("file", ("b.jpg", photo[: len(photo) // 2]))] * 3
        made = http.post("/v1/images?width=300&wait=30", files=files)
        items = done(made, "partial")["items"]
        assert [item["status"] for item in items] == ["succeeded", "failed"] * 3
        _leave_a_thread_behind(http, tmp_path / "pipe")
        assert own.stop() == 0
        assert "threads_left" in own.log.read_text()


def _leave_a_thread_behind(http: httpx.Client, pipe: Path) -> None:
    """Have an operation wait for what never comes."""
    os.mkfifo(pipe)
    os.mkfifo(f"{pipe}.began")
    begun = threading.Thread(target=Path(f"{pipe}.began").read_text)
    begun.start()
    http.post("/v1/misbehave", params={"how": "wait", "pipe": str(pipe)}, content=b"x")
    begun.join()


def test_interpreters_are_refused_in_a_sentence_that_says_why(tmp_path: Path) -> None:
    told = served_within(tmp_path, {"OFFLOAD_POOL_EXECUTOR": "interpreter"})
    assert told.exit_code == 2
    [sentence] = told.output.splitlines()
    if sys.version_info < (3, 14):
        assert "needs Python 3.14, and this is 3." in sentence
    else:  # until its authors say otherwise
        assert "pydantic_core (of archive, compress, " in sentence
        assert "PIL (of image, " in sentence
