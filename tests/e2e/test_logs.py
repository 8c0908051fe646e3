"""What a service says of its work: every line JSON, every line of a request with its id."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.api.answers import done
from tests.service import Service

KEY, WRONG = "the-key-of-the-shop", "not-a-key-of-anybody"
SECRET = "X-Amz-Signature=0123456789abcdef"
BODY = b"the body of a request is nobody's to read " * 100


class Run:
    """A service that has been used and stopped: what it answered and what it said."""

    def __init__(self, service: Service) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        self.answers: dict[str, httpx.Response] = {}
        with httpx.Client(base_url=service.url, headers=headers, timeout=60) as client:
            for name, (method, path, more) in requests().items():
                self.answers[name] = client.request(method, path, **more)
            # Refused before it is a request of the application: its line is longer than allowed.
            self.answers["endless line"] = client.get("/v1/" + "x" * 20_000)
            place = self.answers["picture"].headers["Location"]
            self.job = client.get(f"{place}?wait=30").raise_for_status().json()
        self.exit_code = service.stop()
        self.out, self.err = service.said, service.log.read_text()

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in (self.out + self.err).splitlines()]
        return [line for line in found if event in (None, line["event"])]


def requests() -> dict[str, tuple[str, str, dict[str, Any]]]:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "JPEG")
    cut_short = picture.getvalue()[:-200]
    job = json.dumps({"steps": [{"op": "misbehave", "how": "chatter"}]})
    crash = json.dumps({"steps": [{"op": "misbehave", "how": "raise"}]})
    return {
        "named": ("POST", "/v1/compress?wait=20", {"content": BODY, "headers": id_("shop-1/a:b")}),
        "unnamed": ("GET", "/v1/jobs?tag=" + SECRET.replace("=", "%3D"), {}),
        "injected": ("GET", "/v1/jobs", {"headers": id_('x"}\t{"event":"forged')}),
        "endless": ("GET", "/v1/jobs", {"headers": id_("x" * 129)}),
        "refused": ("GET", "/v1/jobs", {"headers": {"Authorization": f"Bearer {WRONG}"}}),
        "nowhere": ("GET", "/v1/%0A%1B%5B31m{%22event%22:%22forged%22}", {}),
        "malformed": ("POST", "/v1/fetch", {"json": {"urls": "x"}, "headers": id_("bad-1")}),
        "signed": (
            "POST", "/v1/fetch?wait=20", {"json": {"urls": [f"http://u:hush@127.0.0.1/x?{SECRET}"]}},
        ),
        "picture": ("POST", "/v1/images?width=8", {"files": {"file": ("a\nb.jpg", cut_short)}}),
        "chatter": ("POST", "/v1/jobs?wait=30", {"data": {"job": job}, "files": {"file": BODY}}),
        "crash": ("POST", "/v1/jobs?wait=30", {"data": {"job": crash}, "files": {"file": BODY}}),
        "probe": ("GET", "/livez", {"headers": id_("probe-1")}),
    }  # fmt: skip


def id_(value: str) -> dict[str, str]:
    return {"X-Request-Id": value}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("logs")
    env = {
        "OFFLOAD_LOG_FORMAT": "json",
        "OFFLOAD_API_KEYS": json.dumps({"shop": KEY}),
        "PYTHONPATH": str(Path(__file__).parents[1] / "plugin"),
    }
    with Service.started(folder / "data", env) as service:
        return Run(service)


def test_every_line_is_one_json_object(run: Run) -> None:
    assert run.exit_code == 0
    assert all(
        isinstance(line, dict) and {"event", "level", "timestamp"} <= line.keys()
        for line in run.lines()
    )
    assert [line["url"] for line in map(json.loads, run.out.splitlines())]


def test_every_line_says_which_node_it_is_of(run: Run) -> None:
    lines = run.lines()
    without = [line["event"] for line in lines if "node" not in line]
    # Before it has a name.
    assert [event.split(" [")[0] for event in without] == [
        "Started server process",
        "Waiting for application startup.",
    ]
    [node] = {line["node"] for line in lines if "node" in line}
    assert re.fullmatch("[0-9a-f]{16}", node)


def test_what_is_written_past_the_log_is_in_it(run: Run) -> None:
    said = " ".join(line["text"] for line in run.lines("stray_output"))
    for words in ("from C", "no line's end", "from print\\x1b[31m", "from warnings", "{not json}"):
        assert words in said


def test_each_request_has_a_line_with_the_id_that_its_answer_has(run: Run) -> None:
    by_id = {line["request_id"]: line for line in run.lines("request")}
    for name, answer in run.answers.items():
        request_id = answer.headers["X-Request-Id"]
        assert re.fullmatch(r"[A-Za-z0-9._~:/+=@-]{1,128}", request_id)
        if name in ("probe", "endless line"):
            # A health check that went well is not worth a line; the other has one of its own.
            assert request_id not in by_id
            continue
        line = by_id[request_id]
        assert line["status"] == answer.status_code
        assert line["method"] == answer.request.method
        assert line["peer"] == "127.0.0.1"
        assert line["bytes"] == len(answer.content)
        assert line["duration_ms"] > 0
        assert line.get("client") == (None if name in ("refused", "nowhere") else "shop")
    asked = {name: run.answers[name].headers["X-Request-Id"] for name in run.answers}
    assert [asked[name] for name in ("named", "malformed")] == ["shop-1/a:b", "bad-1"]
    assert all(asked[name].startswith("req_") for name in ("unnamed", "injected", "endless"))
    assert by_id[asked["picture"]]["location"] == f"/v1/jobs/{run.job['id']}"


def test_each_ended_item_has_a_line(run: Run) -> None:
    ended = {line["job"]: line for line in run.lines("item")}
    for name in ("named", "signed", "chatter", "crash"):
        job = run.answers[name].json()
        [item] = job["items"]
        line = ended[job["id"]]
        assert line["status"] == item["status"]
        assert line["code"] == (item["error"] or {}).get("code")
        assert line["elapsed_ms"] > 0
        assert line["waited_ms"] >= 0
    assert ended[run.job["id"]]["ops"] == "image"


def test_a_failure_inside_is_an_error_with_its_trace(run: Run) -> None:
    job = run.answers["crash"].json()["id"]
    assert [line["level"] for line in run.lines("item") if line["job"] == job] == ["error"]
    [line] = [line for line in run.lines("item_failed") if line["job"] == job]
    assert line["level"] == "error"
    assert "Traceback" in line["detail"]
    assert "_Unpicklable" in line["detail"]


def test_a_refused_key_is_told_with_its_address(run: Run) -> None:
    [line] = run.lines("key_refused")
    assert line["peer"] == "127.0.0.1"
    assert line["request_id"] == run.answers["refused"].headers["X-Request-Id"]


def test_a_limit_that_bit_is_told_with_the_answers_id(run: Run) -> None:
    [line] = run.lines("limit_bit")
    assert line["request_id"] == run.answers["endless line"].headers["X-Request-Id"]
    assert line["peer"] == "127.0.0.1"


def test_no_secret_and_no_body_is_in_any_line(run: Run) -> None:
    for secret in (KEY, WRONG, SECRET, "hush", BODY.decode()[:20]):
        assert secret not in run.out + run.err


def test_nothing_from_outside_makes_a_line_of_its_own(run: Run) -> None:
    assert not run.lines("forged")
    paths = {line["path"] for line in run.lines("request")}
    assert '/v1/\\n\\x1b[31m{"event":"forged"}' in paths


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_refused_start_is_told_in_the_format_that_is_asked_for(
    tmp_path: Path, format_: str
) -> None:
    from tests.api.test_auth import serve

    refused = serve(tmp_path / "data", OFFLOAD_LOG_FORMAT=format_, OFFLOAD_PORT="99999")
    assert refused.returncode == 2
    for line in refused.stderr.splitlines():
        if format_ == "json":
            assert json.loads(line)["event"] == "not_started"
    assert "OFFLOAD_PORT" in refused.stderr


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Service]:
    env = {
        "OFFLOAD_LOG_LEVEL": "warning",
        "OFFLOAD_LOG_ACCESS": "error",
        "OFFLOAD_LOG_ITEMS": "debug",
    }
    with Service.started(tmp_path / "data", env) as running:
        yield running


def test_the_levels_decide_which_lines_there_are(quiet: Service) -> None:
    done(httpx.post(f"{quiet.url}/v1/compress?wait=30", content=BODY))
    quiet.stop()
    lines = quiet.log.read_text().splitlines()
    assert [re.search(r"\[(\w+) *\] (\w+)", line).groups() for line in lines] == [
        ("error", "request")
    ]
    assert re.search(r"node=[0-9a-f]{16}\b", lines[0])
