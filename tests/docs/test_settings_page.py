"""docs/settings.md and docs/errors.md: their tables are the code's."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from app.settings import Settings, variables

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text()


def test_the_configuration_table_is_the_settings() -> None:
    written = runpy.run_path(str(ROOT / "docs" / "generate.py"))["settings"](PAGE)
    assert written == PAGE, "run `make docs`"
    assert re.findall(r"^\| `(OFFLOAD_\w+)` \|", PAGE, re.MULTILINE) == list(variables())


def test_every_setting_is_described_and_every_number_has_both_bounds() -> None:
    for row in re.findall(r"^\| `OFFLOAD_\w+` \|.*$", PAGE, re.MULTILINE):
        _, variable, default, allowed, meaning, _ = re.split(r" ?\| ?", row)
        assert meaning, variable
        if re.fullmatch(r"\d+(\.\d+)?", default):
            assert re.fullmatch(r"(above )?\d+ to \d+", allowed), row


@pytest.mark.parametrize("name", variables())
def test_each_variable_reaches_its_setting(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A documented variable that changes nothing is worse than none."""
    keys = tmp_path / "keys.json"
    keys.write_text('{"a": "a-key-of-some-length"}')
    remotes = tmp_path / "remotes.json"
    remotes.write_text('{"media": {"url": "s3://media"}}')
    given = {
        "OFFLOAD_HOST": "127.0.0.9",
        "OFFLOAD_ROLES": "work",
        "OFFLOAD_DATA_DIR": "elsewhere",
        "OFFLOAD_DATABASE_URL": "postgresql://offload@localhost/offload",
        "OFFLOAD_API_KEYS": '{"a": "a-key-of-some-length"}',
        "OFFLOAD_API_KEYS_FILE": str(keys),
        "OFFLOAD_METRICS_BIND": "[::1]:9464",
        "OFFLOAD_REMOTES": '{"media": {"url": "s3://media"}}',
        "OFFLOAD_REMOTES_FILE": str(remotes),
        "OFFLOAD_ALLOW_ANONYMOUS": "true",
        "OFFLOAD_LOG_FORMAT": "json",
        "OFFLOAD_LOG_LEVEL": "warning",
        "OFFLOAD_LOG_ACCESS": "debug",
        "OFFLOAD_LOG_ITEMS": "debug",
        "OFFLOAD_HTTP_MAX_LINE_BYTES": "2000",
        "OFFLOAD_HTTP_MAX_HEAD_BYTES": "20000",
        "OFFLOAD_CORS_ORIGINS": "https://app.example.com, http://localhost:3000",
        "OFFLOAD_POOL_EXECUTOR": "thread",
        "OFFLOAD_PAGE": "false",
        "OFFLOAD_ROOT_PATH": "/offload",
        "OFFLOAD_TRUSTED_PROXIES": "10.0.0.0/8, ::1/128",
        "OFFLOAD_FETCH_ALLOW_NETWORKS": "10.0.0.0/8,127.0.0.1/32",
        "OFFLOAD_FETCH_PORTS": "80,81",
        "OFFLOAD_FETCH_USER_AGENT": "else/1",
        "OFFLOAD_POOL_MEMORY_BYTES": str(300 << 20),
        "OFFLOAD_BLOBS_GRACE_S": "77",
        "OFFLOAD_STORAGE_URL": "s3://bucket/path",
        "OFFLOAD_STORAGE_OPTIONS": '{"region": "eu-1"}',
        "OFFLOAD_STORAGE_REDIRECT": "true",
        "OFFLOAD_FETCH_MAX_REDIRECTS": "7",
        "OFFLOAD_FETCH_RETRIES": "7",
        "OFFLOAD_FETCH_PROXY_URL": "http://proxy.test:3128",
        "OFFLOAD_WEBHOOKS_URL": "https://example.com/hook",
        "OFFLOAD_WEBHOOKS_SECRETS": SECRET,
        "OFFLOAD_WEBHOOKS_EVENTS": "job.failed, item.failed",
        "OFFLOAD_WEBHOOKS_BASE_URL": "https://offload.example.com",
        "OFFLOAD_WEBHOOKS_ALLOW_NETWORKS": "10.0.0.0/8",
    }.get(name, "17")
    if name == "OFFLOAD_WEBHOOKS_URL":
        monkeypatch.setenv("OFFLOAD_WEBHOOKS_SECRETS", SECRET)  # it is not accepted without
    default = Settings()
    monkeypatch.setenv(name, given)
    assert Settings() != default


def test_every_error_code_is_documented_as_it_is() -> None:
    from app.errors import CATALOGUE

    table = (ROOT / "docs" / "errors.md").read_text()
    rows = re.findall(r"^\| `([a-z_.]+)` \| (\d+) \| (yes|no) \| (.*?) \|", table, re.MULTILINE)
    assert rows == [
        (code, str(error.status), "yes" if error.retryable else "no", error.title)
        for code, error in sorted(CATALOGUE.items())
    ]
