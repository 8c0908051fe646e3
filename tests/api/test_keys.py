"""Keys that are refused, and a file of keys that is read again."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from app.keys import MAX_CLIENTS, Keyring, client_keys, read_keys
from app.written import MAX_FILE_BYTES
from tests.service import Service, served_within

OLD, NEW, OTHER = "the-old-key-of-the-shop", "the-new-key-of-the-shop", "the-key-of-the-bank"
SHORT = "fifteen-letters"

BAD = {
    "not JSON": SHORT + "not json",
    "no object": json.dumps([OLD]),
    "a short key": json.dumps({"shop": SHORT}),
    "a short one of two": json.dumps({"shop": [OLD, SHORT]}),
    "an endless key": json.dumps({"shop": "x" * 257}),
    "a blank in it": json.dumps({"shop": "two words are no key"}),
    "a line in it": json.dumps({"shop": OLD + "\n"}),
    "not ASCII": json.dumps({"shop": OLD + "ü"}),
    "no key": json.dumps({"shop": []}),
    "many keys": json.dumps({"shop": [OLD + str(n) for n in range(5)]}),
    "a number": json.dumps({"shop": 12345678901234567890}),
    "null": json.dumps({"shop": None}),
    "nested": json.dumps({"shop": [[OLD]]}),
    "deep": '{"shop":' + "[" * 100_000,
    "no name": json.dumps({"": OLD}),
    "one key for two": json.dumps({"shop": OLD, "bank": OLD}),
    "one client twice": f'{{"shop": "{OLD}", "shop": "{NEW}"}}',
    "many clients": json.dumps({str(n): f"{OLD}-{n}" for n in range(MAX_CLIENTS + 1)}),
}


@pytest.mark.parametrize("given", BAD.values(), ids=BAD)
def test_what_is_no_set_of_keys_is_refused_and_not_shown(given: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|keys?\b|name") as refused:
        client_keys(given)
    assert not any(secret in str(refused.value) for secret in (OLD, NEW, SHORT, "words"))


def test_a_file_is_refused_for_the_same_and_for_more(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    for content in (
        BAD["a short key"].encode(),
        b"{}",
        b"",
        b"\xff\xfe",
        bytes(MAX_FILE_BYTES + 1),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"keys\.json"):
            read_keys(file)
    for nothing in (tmp_path / "missing", tmp_path):
        with pytest.raises(ValueError, match="cannot be read"):
            read_keys(nothing)


def test_each_key_of_a_client_is_its_own() -> None:
    ring = Keyring(client_keys({"shop": [NEW, OLD], "bank": OTHER}))
    assert ring.clients == 2
    assert [ring.client_of(key.encode()) for key in (OLD, NEW, OTHER, SHORT, "")] == [
        "shop", "shop", "bank", None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        {"OFFLOAD_API_KEYS": BAD["a short key"]},
        {"OFFLOAD_API_KEYS": json.dumps({"shop": OLD}), "OFFLOAD_API_KEYS_FILE": "{file}"},
        {"OFFLOAD_API_KEYS_FILE": "{short}"},
        {"OFFLOAD_API_KEYS_FILE": "{missing}"},
    ],
)
def test_a_start_with_bad_keys_is_refused_in_a_sentence(
    tmp_path: Path, given: dict[str, str]
) -> None:
    (tmp_path / "file").write_text(json.dumps({"bank": OTHER}))
    (tmp_path / "short").write_text(BAD["a short key"])
    env = {
        k: str(tmp_path / v[1:-1]) if v[0] == "{" and v[-2] != '"' else v for k, v in given.items()
    }
    refused = served_within(tmp_path / "data", env)
    assert refused.exit_code == 2, refused.stderr
    assert all(variable in refused.stderr for variable in given)
    assert "Traceback" not in refused.stderr
    assert not any(key in refused.stderr + refused.stdout for key in (OLD, OTHER, SHORT))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"shop": OLD}))
    return file


@pytest.fixture
def service(tmp_path: Path, keys: Path) -> Iterator[Service]:
    env = {"OFFLOAD_API_KEYS_FILE": str(keys), "OFFLOAD_ROLES": "api"}
    with Service.started(tmp_path / "data", env) as running:
        yield running


def test_the_file_is_read_again_on_hangup(service: Service, keys: Path) -> None:
    with httpx.Client(base_url=service.url) as client:

        def status(key: str) -> int:
            headers = {"Authorization": f"Bearer {key}"}
            return client.get("/v1/jobs", headers=headers).status_code

        def hang_up(until: Callable[[], bool]) -> None:
            service.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 20
            while not until():
                assert time.monotonic() < deadline, service.log.read_text()
                client.get("/livez")

        assert [status(key) for key in (OLD, NEW)] == [200, 401]
        keys.write_text(json.dumps({"shop": [NEW, OLD]}))
        assert status(NEW) == 401
        hang_up(lambda: status(NEW) == 200)
        assert status(OLD) == 200
        # What is broken or empty changes nothing, and says so.
        for broken in (BAD["not JSON"], "{}", json.dumps({"shop": SHORT})):
            said = service.log.read_text().count("api_keys_kept")
            keys.write_text(broken)
            hang_up(lambda said=said: service.log.read_text().count("api_keys_kept") > said)
            assert [status(key) for key in (OLD, NEW)] == [200, 200]
        keys.write_text(json.dumps({"shop": NEW}))
        hang_up(lambda: status(OLD) == 401)
        assert status(NEW) == 200
    assert service.stop() == 0
    log = service.log.read_text()
    assert not any(key in log for key in (OLD, NEW, SHORT))
