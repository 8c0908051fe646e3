"""What README, docs/client.md and docs/cli.md show, executed as it stands there."""

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import offload
import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def there(tmp_path, monkeypatch, service, photo, text):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OFFLOAD_SERVER", service.url)
    (tmp_path / "logs").mkdir()
    for name, content in {"photo.jpg": photo, "access.log": text, "logs/a.log": text}.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


PYTHON = [
    *blocks(ROOT / "README.md", "python"),
    *blocks(ROOT / "clients" / "python" / "README.md", "python"),
    *blocks(DOCS / "client.md", "python"),
]


@pytest.mark.parametrize("source", PYTHON, ids=range(len(PYTHON)))
def test_python_does_what_it_says(source, there, service):
    secret = "whsec_" + base64.b64encode(b"a secret of twenty-six bytes").decode()
    known = {"offload": offload, "SECRET": secret}
    before = set(known)
    exec(source.replace("http://127.0.0.1:8000", service.url), known)
    if "receive" in set(known) - before:
        with pytest.raises(offload.Forged):
            known["receive"]({}, b"{}")


def test_the_shell_does_what_it_says(there):
    [shown] = blocks(DOCS / "cli.md", "console")
    lines = [line.removeprefix("$ ") for line in shown.splitlines()]
    assert len(lines) == 5
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = {path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file()}
    made = {"photo-image.jpg", "packed/logs/a.log.zst", "all.zip", "access.log.gz"}
    assert found == made | {"photo.jpg", "access.log", "logs/a.log"}


def test_every_exit_code_and_every_code_made_here_is_told():
    cli, client = (DOCS / "cli.md").read_text(), (DOCS / "client.md").read_text()
    package = ROOT / "clients" / "python" / "offload"
    said = set()
    for path in package.rglob("*.py"):
        said |= set(re.findall(r'"(client\.[a-z_]+)"', path.read_text()))
    missing = {code for code in said if code not in cli + client}
    assert missing == {"client.error"}, "the base of all, which is never raised by itself"
    from offload.cli import run

    for code in (run.DONE, run.FAILED, run.USAGE, run.SOME_FAILED, run.INTERRUPTED, run.TERMINATED):
        assert re.search(rf"^\| .*\b{code}\b.* \|", cli, re.MULTILINE), code
