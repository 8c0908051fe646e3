"""A Python client, made from /openapi.json by openapi-python-client, does real work."""

import json
import re
import subprocess

import pytest

from tests.clients.conftest import HERE, KEY, ROOT, need

# Other people's programs, on machines of any speed.
pytestmark = pytest.mark.timeout(300)

PYTHON = ROOT / ".venv-clients" / "bin" / "python"
KNOWN = ["POST /v1/fetch", "POST /v1/jobs"]
"""Routes of which the generator leaves a body out: it knows no NDJSON."""


def test_a_generated_python_client_works(keyed, description, inputs, origin, judge, tmp_path):
    python = need(PYTHON, "the generator of Python clients; `make clients` brings it")
    config = tmp_path / "config.yml"
    config.write_text("post_hooks: []\n")
    where = ("--path", description, "--output-path", tmp_path / "client")
    how = ("--meta", "none", "--config", config)
    made = subprocess.run(
        [python, "-m", "openapi_python_client", "generate", *where, *how],
        capture_output=True,
        text=True,
        check=True,
    )
    left_out = re.findall(r"^WARNING parsing (\w+ \S+) within", made.stderr, re.MULTILINE)
    assert sorted(left_out) == KNOWN, made.stderr
    used = subprocess.run(
        [python, HERE / "python" / "use.py", keyed.url, KEY, origin, inputs],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert used.returncode == 0, used.stderr
    found = json.loads(used.stdout)
    judge(*found.pop("jobs"))
    assert found == {
        "level": 9,
        "png": "89504e47",
        "names": ["access.log.zst"] * 2,
        "tag": "stored",
        "code": "input.invalid",
    }
