"""A Python client, made from /openapi.json by openapi-python-client, does real work."""

import json
import re
import subprocess

import pytest

from tests.clients.conftest import HERE, KEY, ROOT, need

# Other people's programs, on machines of any speed.
pytestmark = pytest.mark.timeout(300)

PYTHON = ROOT / ".venv-clients" / "bin" / "python"
KNOWN = {f"Unsupported content type {kind}" for kind in ("application/x-ndjson", "text/plain")}
"""What the generator says that it leaves out: bodies with a URL a line."""


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
    left_out = re.findall(r"^WARNING parsing .*\n\n(.*)$", made.stderr, re.MULTILINE)
    assert set(left_out) <= KNOWN, made.stderr
    assert made.stderr.count("WARNING") == len(left_out)
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
