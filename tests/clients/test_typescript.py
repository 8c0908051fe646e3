"""A TypeScript client, made from /openapi.json by @hey-api/openapi-ts, compiles and works."""

import json
import shutil
import subprocess

import pytest

from tests.clients.conftest import HERE, KEY, need

# Other people's programs, on machines of any speed.
pytestmark = pytest.mark.timeout(300)

FOLDER = HERE / "typescript"
MODULES = FOLDER / "node_modules"
NODE_AT_LEAST = (20, 19)


def run(*command, cwd):
    """Run a command, and give what it printed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_generated_typescript_client_works(keyed, description, inputs, origin, judge, tmp_path):
    node = need(shutil.which("node"), "Node 20.19 or later, with npm")
    need(MODULES / ".done", "the generator of TypeScript clients; with npm, `make clients`")
    found = run(node, "--version", cwd=tmp_path).strip()
    new_enough = tuple(map(int, found.lstrip("v").split(".")[:2])) >= NODE_AT_LEAST
    need(node if new_enough else None, f"Node 20.19 or later; this one is {found}")

    (tmp_path / "node_modules").symlink_to(MODULES)
    for name in ("use.ts", "tsconfig.json"):
        shutil.copy(FOLDER / name, tmp_path)
    generator = MODULES / "@hey-api" / "openapi-ts" / "bin" / "run.js"
    arguments = ("-i", description, "-o", "client", "-c", "@hey-api/client-fetch")
    run(node, generator, *arguments, "--no-log-file", cwd=tmp_path)
    run(node, MODULES / "typescript" / "bin" / "tsc", "-p", ".", cwd=tmp_path)
    used = json.loads(run(node, "out/use.js", keyed.url, KEY, origin, inputs, cwd=tmp_path))
    judge(*used.pop("jobs"))
    assert used == {
        "level": 9,
        "webp": "RIFF",
        "names": ["access.log.zst"] * 2,
        "tag": "stored",
        "code": "input.invalid",
    }
