"""docker-compose.yml and what goes with it, held against the settings and the proof of nginx.

That it really comes up is seen by building it: docs/scaling.md says how.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.server import CUT_S, GRACEFUL_S
from app.settings import Settings, variables
from app.wire.settings import HttpSettings
from tests.service import served_within

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
NODES = {name: one for name, one in SERVICES.items() if one.get("env_file") and one.get("init")}
NGINX = (ROOT / "deploy" / "nginx.conf").read_text()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What deploy/secrets.sh writes, read as an env file is."""
    folder = tmp_path_factory.mktemp("deploy")
    script = shutil.copy(ROOT / "deploy" / "secrets.sh", folder)
    subprocess.run([script], check=True, capture_output=True)
    written = folder / "scaled.env"
    assert written.stat().st_mode & 0o777 == 0o600
    again = subprocess.run([script], check=False, capture_output=True)
    assert again.returncode == 1, "it would lock everybody out"
    pairs = (line.split("=", 1) for line in written.read_text().splitlines())
    return {name: " ".join(shlex.split(value)) for name, value in pairs}


def test_without_a_profile_there_is_one_service() -> None:
    assert [name for name, one in SERVICES.items() if "profiles" not in one] == ["offload"]
    assert {tuple(one.get("profiles", ["scaled"])) for one in SERVICES.values()} == {("scaled",)}


def test_nodes_have_the_settings_of_one_deployment(
    secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for node in NODES.values():
        env = {**secrets, **node["environment"]}
        assert {name for name in env if name.startswith("OFFLOAD_")} <= variables().keys()
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        found.append(Settings(host="0.0.0.0"))
    assert sorted(settings.roles for settings in found) == [("api",)] * 2 + [("work",)] * 2
    assert all(settings.shared and settings.api_keys for settings in found)
    folders = [volume for node in NODES.values() for volume in node["volumes"]]
    assert len(set(folders)) == len(NODES)


def test_nothing_starts_without_its_secret(secrets: dict[str, str], tmp_path: Path) -> None:
    for one in (*NODES.values(), SERVICES["postgres"], SERVICES["s3"]):
        assert one["env_file"] == "deploy/scaled.env"
        assert not secrets.keys() & one.get("environment", {}).keys()
    # The image of PostgreSQL refuses an empty one by itself.
    assert secrets["POSTGRES_PASSWORD"] == secrets["PGPASSWORD"]
    told = served_within(tmp_path / "data", {"OFFLOAD_HOST": "0.0.0.0", "OFFLOAD_API_KEYS": ""})
    assert told.exit_code == 2
    s3 = [ROOT / "deploy" / "s3.sh"]
    for missing in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        env = {"PATH": os.defpath} | secrets | {missing: ""}
        refused = subprocess.run(s3, check=False, capture_output=True, text=True, env=env)
        assert refused.returncode != 0
        assert f"{missing}: deploy/scaled.env" in refused.stderr


def test_only_this_machine_reaches_it() -> None:
    ports = [port for one in SERVICES.values() for port in one.get("ports", [])]
    assert ports == ["127.0.0.1:8000:8000", "127.0.0.1:8080:8080"]


def test_a_stop_takes_no_longer_than_it_may() -> None:
    for name in ("offload", *NODES):
        grace_s = float(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert grace_s > max(GRACEFUL_S + 2 * CUT_S, Settings().drain_timeout_s + 1) + 5


def test_every_part_is_asked_how_it_is() -> None:
    image = (ROOT / "Dockerfile").read_text()
    assert "'GET', '/readyz'" in image
    assert all("build" in node and "healthcheck" not in node for node in NODES.values())
    for name in ("postgres", "s3", "nginx"):
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    for one in SERVICES.values():
        for needed in one.get("depends_on", {}).values():
            assert needed == {"condition": "service_healthy"}


def test_nginx_asks_all_nodes_that_take_requests() -> None:
    asked = re.findall(r"^ +server (\w+):8000 ", NGINX, re.MULTILINE)
    wanted = [name for name, one in NODES.items() if one["environment"]["OFFLOAD_ROLES"] == "api"]
    assert asked == wanted
    assert SERVICES["nginx"]["depends_on"].keys() == set(wanted)
    [keeps_s] = re.findall(r"keepalive_timeout (\d+)s", NGINX)
    assert int(keeps_s) < HttpSettings().keep_alive_s


def test_what_nginx_does_with_a_request_is_what_was_proven() -> None:
    """tests/e2e/test_nginx.py runs the `location` of docs/operating.md."""
    page = (ROOT / "docs" / "operating.md").read_text()
    locations = [
        re.findall(r"^ +location / \{\n.*?^ +\}\n", text, re.DOTALL | re.MULTILINE)
        for text in (page, NGINX)
    ]
    [[proven], [deployed]] = locations
    assert deployed.split() == proven.split()


def test_the_options_of_the_bucket_are_json() -> None:
    for node in NODES.values():
        assert json.loads(node["environment"]["OFFLOAD_STORAGE_OPTIONS"])["endpoint"] == (
            "http://s3:8333"
        )
