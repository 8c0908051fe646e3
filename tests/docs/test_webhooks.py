"""docs/webhooks.md, executed: its code tells genuine from forged, its examples are what is sent."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.api.inputs import JobInput
from app.api.schemas import PushView
from app.errors import CATALOGUE
from app.model.deliveries import EVENTS, JOB_EVENTS, Parcel, Route
from app.outbound import webhooks
from app.outbound.schedule import DELAYS_S
from app.settings import variables

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
SECRET = "whsec_" + base64.b64encode(bytes(range(200, 225))).decode().rstrip("=")
OTHER = "whsec_" + base64.b64encode(b"other" * 6).decode()


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[number]


def in_python(secret: str, headers: dict[str, str], body: bytes, _: Path) -> bool:
    names: dict[str, Any] = {}
    exec(block("python"), names)
    genuine: bool = names["is_genuine"](secret, headers, body)
    return genuine


def in_a_shell(secret: str, headers: dict[str, str], body: bytes, folder: Path) -> bool:
    (folder / "body.json").write_bytes(body)
    said = subprocess.run(
        ["sh", "-eu", "-c", block("sh")],
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "secret": secret,
            **{name.removeprefix("webhook-"): value for name, value in headers.items()},
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said in ("genuine\n", "forged\n")
    return said == "genuine\n"


@pytest.mark.parametrize("check", [in_python, in_a_shell])
@pytest.mark.parametrize("signed_with", [[SECRET], [OTHER, SECRET], [SECRET, OTHER]])
def test_the_code_knows_what_is_genuine(
    check: Callable[..., bool], signed_with: list[str], tmp_path: Path
) -> None:
    body = '{"type":"job.succeeded","data":{"tag":"ü"}}'.encode()
    route = Route(1, "o", "o/")
    parcel = Parcel(1, 1, "msg_1", 0, route, datetime.now(UTC), "job.failed", {}, None, None, False)
    headers = webhooks.headers(parcel, signed_with, datetime.now(UTC), body)
    assert check(SECRET, headers, body, tmp_path)
    assert not check(SECRET, headers, body + b" ", tmp_path)
    assert not check(SECRET, headers | {"webhook-id": "msg_2"}, body, tmp_path)
    assert not check("whsec_" + "A" * 40, headers, body, tmp_path)


def test_the_python_code_refuses_what_is_old() -> None:
    route = Route(1, "o", "o/")
    parcel = Parcel(1, 1, "msg_1", 0, route, datetime.now(UTC), "job.failed", {}, None, None, False)
    for age_s, genuine in ((200, True), (400, False)):
        at = datetime.fromtimestamp(time.time() - age_s, UTC)
        headers = webhooks.headers(parcel, [SECRET], at, b"{}")
        assert in_python(SECRET, headers, b"{}", Path()) is genuine


def test_the_example_of_an_event_is_what_is_sent() -> None:
    shown = json.loads(block("json", 1))
    data = {k: v for k, v in shown["data"].items() if k != "links"}
    at = datetime.fromisoformat(shown["timestamp"])
    route = Route(1, "o", "o/")
    parcel = Parcel(1, 1, "msg_1", 0, route, at, shown["type"], data, None, None, False)
    assert json.loads(webhooks.message(parcel, "https://offload.example.com")) == shown


def test_the_example_of_a_job_is_accepted() -> None:
    job = JobInput.model_validate_json(block("json", 0))
    assert job.webhook is not None
    assert job.store is not None


def test_the_example_of_a_push_has_what_a_push_has() -> None:
    assert json.loads(block("json", 2))["pushed"].keys() == PushView.model_fields.keys()


def test_the_schedule_is_the_one_that_is_kept() -> None:
    [line] = re.findall(r"^\d.* 24 h$", PAGE, re.MULTILINE)
    units = {"s": 1, "min": 60, "h": 3600}
    told = [part.split(" ") for part in line.split(", ")]
    assert tuple(int(n) * units[unit] for n, unit in told) == DELAYS_S


def test_every_event_variable_and_code_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:job|item|push)\.[a-z]+)`", PAGE))
    assert named == set(EVENTS)
    assert set(JOB_EVENTS) < named
    assert set(re.findall(r"OFFLOAD_[A-Z_]+[A-Z]", PAGE)) <= variables().keys()
    assert set(re.findall(r"`(delivery\.[a-z]+|input\.[a-z]+)`", PAGE)) <= CATALOGUE.keys()
