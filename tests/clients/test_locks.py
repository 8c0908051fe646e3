"""What the generators are locked to: digests, and no address to have them from."""

import json
import re

from tests.clients.conftest import HERE

NPM = HERE / "typescript" / "package-lock.json"
PIP = HERE / "python" / "requirements.txt"


def test_no_lock_names_an_address():
    assert "://" not in NPM.read_text() + PIP.read_text()


def test_every_package_is_locked_by_its_digest():
    packages = json.loads(NPM.read_text())["packages"]
    asked = packages.pop("")["dependencies"]
    assert all(re.fullmatch(r"[0-9.]+", version) for version in asked.values())
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    requirements = re.split(r"\n(?=\S)", PIP.read_text().strip())
    assert any(one.startswith("openapi-python-client==") for one in requirements)
    assert all("--hash=sha256:" in one for one in requirements)
