"""What is derived in clients/python is what `make client` would write."""

import json
import runpy
import subprocess
import sys

import offload
import pytest

from app import __version__
from tests.client.conftest import PYTHON_CLIENT

MODULE = runpy.run_path(str(PYTHON_CLIENT / "generate.py"))


@pytest.fixture(scope="module")
def written():
    return MODULE["written"]()


def test_what_is_derived_is_up_to_date(written):
    package = PYTHON_CLIENT / "offload"
    for path, text in written.items():
        assert (package / path).read_text() == text, f"{path}: run `make client`"
    derived = {path.name for path in (package / "_sync").glob("*.py")} - MODULE["BY_HAND"]
    assert derived == {path.name for path in written if path.parent.name == "_sync"}


def test_the_description_is_the_services_own(written, http):
    [described] = [json.loads(text) for path, text in written.items() if path.suffix == ".json"]
    assert described == http.get("/v1/operations").json()


def test_a_change_of_an_option_would_show(monkeypatch):
    from app.ops.compress import OPERATION

    renamed = {
        "properties": {"strength": {"type": "integer", "description": "New."}},
        "type": "object",
    }
    typed, described = MODULE["_operations"](), MODULE["_described"]()
    monkeypatch.setitem(
        MODULE["written"].__globals__,
        "params_schema",
        lambda one: renamed if one is OPERATION else one.params.model_json_schema(),
    )
    assert MODULE["_operations"]() != typed
    assert MODULE["_described"]() != described


def test_the_client_goes_with_the_service():
    assert offload.__version__ == __version__


def test_the_import_is_light():
    """`import offload` brings in nothing that is not its own or of the standard library."""
    looking = (
        "import sys; before = set(sys.modules); import offload\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    said = subprocess.run(
        [sys.executable, "-c", looking],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(said.stdout.split())
    others = {name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names}
    assert others == {"offload"}
    assert not loaded & {"asyncio", "json", "socket", "ssl"}
