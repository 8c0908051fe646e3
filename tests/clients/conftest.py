"""Other people's programs, held against the API's description and a running service.

They come from elsewhere (`make clients`, Debian's packages). Where one is missing its test is
skipped with a line that says so; CI, which brings them all, sets CLIENTS_REQUIRED and has it fail.
"""

import json
import os
from pathlib import Path

import httpx
import pytest

from tests.conftest import LOOPBACK
from tests.service import Service

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEY = "a-key-for-the-tests-of-clients"


def need(tool, how):
    """Give the path of a tool; skip the test where there is none, or fail it in CI."""
    if tool is not None and Path(tool).exists():
        return str(tool)
    message = f"missing: {how}"
    if os.environ.get("CLIENTS_REQUIRED"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def keyed(tmp_path_factory):
    """A service that asks for a key, as those that others reach do."""
    env = {
        "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
        "OFFLOAD_API_KEYS": json.dumps({"shop": KEY}),
    }
    with Service.started(tmp_path_factory.mktemp("keyed"), env) as running:
        yield running


@pytest.fixture(scope="session")
def api(keyed):
    """A client that has the key."""
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=keyed.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def description(keyed, tmp_path_factory):
    """The path of a copy of the service's /openapi.json."""
    path = tmp_path_factory.mktemp("description") / "openapi.json"
    path.write_bytes(httpx.get(f"{keyed.url}/openapi.json").content)
    return path


@pytest.fixture
def inputs(tmp_path, photo, text):
    """A folder with a text and a photo."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    (folder / "access.log").write_bytes(text)
    (folder / "photo.jpg").write_bytes(photo)
    return folder


@pytest.fixture
def judge(api, photo, text):
    """Checks what became of one job of each kind, whoever submitted it."""

    def judged(compressed, image, fetched):
        import gzip
        import io

        from PIL import Image

        contents = []
        for job_id in (compressed, image, fetched):
            job = api.get(f"/v1/jobs/{job_id}").json()
            assert (job["status"], len(job["items"])) == ("succeeded", 1), job
            [result] = job["items"][0]["results"]
            contents.append((result["name"], api.get(result["href"]).content))
        (log, packed), (picture_name, picture), (page, got) = contents
        assert (log, gzip.decompress(packed)) == ("access.log.gz", text)
        with Image.open(io.BytesIO(picture)) as opened:
            assert (picture_name, opened.format, opened.size) == ("photo.webp", "WEBP", (64, 48))
        assert (page, got) == ("7", b"page 7")

    return judged
