"""`offload new-operation`: what it writes is installed, tested, and works over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from app.cli import cli
from app.starter import _RESERVED
from tests.api.answers import done, problem
from tests.service import Service

NAME = "heavy_computation"
CONFIG = Path(__file__).parents[2] / "pyproject.toml"


def written(where: Path, name: str = NAME) -> Result:
    return CliRunner().invoke(cli, ["new-operation", name, "--in", str(where)])


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The Python of a new environment, which has what this one has, and nothing else."""
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=False)
    [packages] = folder.glob("lib/*/site-packages")
    ours = sysconfig.get_path("purelib")
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return folder / "bin" / "python"


def test_a_new_operation_is_installed_tested_and_run_over_http(
    tmp_path: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = written(tmp_path)
    assert told.exit_code == 0
    package = tmp_path / "offload-heavy-computation"
    assert str(package) in told.output
    _run(
        sys.executable, "-m", "pip", "--python", str(fresh), "install", "--quiet", "--no-index",
        "--no-deps", "--no-build-isolation", str(package),
    )  # fmt: skip
    without = [f"-pno:{name}" for name in ("cacheprovider", "xdist", "hypothesispytest")]
    # In a place of its own: at its end pytest removes what earlier runs have left in the shared
    # one, which takes minutes after a few runs of this whole suite.
    apart = ("--basetemp", tmp_path / "pytest")
    _run(fresh, "-m", "pytest", "-q", *apart, *without, package)
    code = package / "offload_heavy_computation"
    _run(sys.executable, "-m", "ruff", "check", "--config", CONFIG, code)
    monkeypatch.setattr(sys, "executable", str(fresh))
    with Service.started(tmp_path / "data") as own, httpx.Client(base_url=own.url) as http:
        _over_http(http)


def _over_http(http: httpx.Client) -> None:
    [offered] = [
        one for one in http.get("/v1/operations").json()["operations"] if one["name"] == NAME
    ]
    assert offered["door"] == f"/v1/{NAME}"
    assert "most_n" in json.dumps(http.get("/openapi.json").json()["paths"][f"/v1/{NAME}"])
    files = [("file", ("a", b"4\n300000\n")), ("file", ("b", b"many"))]
    job = done(http.post(f"/v1/{NAME}?wait=30", files=files), "partial")
    good, bad = job["items"]
    made = http.get(good["results"][0]["href"])
    assert made.json() == [
        {"n": 4, "sum_of_squares": 14},
        {"n": 300_000, "sum_of_squares": sum(i * i for i in range(300_000))},
    ]
    assert good["facts"] == {NAME: {"numbers": 2}}
    assert bad["error"]["code"] == "input.invalid"
    problem(http.post(f"/v1/{NAME}?most_n=0", content=b"1"), 422, "input.invalid")


def _run(*command: object) -> None:
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        list(map(str, command)), env=own, capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    "name",
    ["", "Thumbs", "9lives", "a-b", "a__b", "_a", "a_", "größe", "../up", "a" * 41, "x\n",
     "import", "compress", "fetch", "images", "jobs"],
)  # fmt: skip
def test_a_name_that_cannot_be_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    told = written(tmp_path, name)
    assert told.exit_code == 2
    [sentence] = told.output.splitlines()
    assert sentence.endswith(".")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    there = tmp_path / "offload-heavy-computation"
    there.write_text("mine")
    told = written(tmp_path)
    assert (told.exit_code, told.output) == (2, f"There is something at {there} already.\n")
    assert there.read_text() == "mine"


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    told = written(tmp_path / "nowhere")
    assert told.exit_code == 2
    assert told.output.endswith("cannot be made: No such file or directory.\n")


def test_no_name_is_a_path_of_the_service(http: httpx.Client) -> None:
    doors = {one["door"] for one in http.get("/v1/operations").json()["operations"]}
    paths = {path for path in http.get("/openapi.json").json()["paths"] if path not in doors}
    taken = {path.split("/")[2] for path in paths if path.startswith("/v1/")}
    taken -= {door.split("/")[2] for door in doors}
    assert taken == _RESERVED
