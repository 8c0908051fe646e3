"""What `offload serve` says of settings that it cannot use."""

import pytest

from app.cli import announcement
from app.settings import Settings
from tests.api.test_sentences import JARGON
from tests.service import served_within

ORIGINS = (
    "write each origin as browsers send it, such as https://app.example.com or "
    "http://localhost:3000: scheme, host in small letters, port if it is not the usual one, and "
    "no path"
)
WRONG = {
    ("OFFLOAD_PORT", "http"): "OFFLOAD_PORT: must be a whole number",
    ("OFFLOAD_PORT", "99999"): "OFFLOAD_PORT: must be at most 65535",
    (
        "OFFLOAD_LOG_FORMAT",
        "jsn",
    ): "OFFLOAD_LOG_FORMAT: must be console or json; did you mean json?",
    ("OFFLOAD_ALLOW_ANONYMOUS", "perhaps"): "OFFLOAD_ALLOW_ANONYMOUS: must be true or false",
    ("OFFLOAD_FETCH_ALLOW_NETWORKS", "10.0.0.0/8,x"): (
        "OFFLOAD_FETCH_ALLOW_NETWORKS: must be a network, as 10.20.0.0/16 or fd00::/8"
    ),
    ("OFFLOAD_FETCH_TIMEOUT", "5"): (
        "There is no setting OFFLOAD_FETCH_TIMEOUT; did you mean OFFLOAD_FETCH_TIMEOUT_S?"
    ),
    ("OFFLOAD_REMOTES", '{"shop": {"url": "shop"}}'): (
        "OFFLOAD_REMOTES: shop.url: write s3://bucket/prefix, gs://bucket/prefix or "
        "az://container/prefix"
    ),
    (
        "OFFLOAD_REMOTES",
        '{"shop": {"url": "s3://shop", "options": {"endpoint": "http://10.0.0.1:9000"}}}',
    ): (
        "OFFLOAD_REMOTES: the endpoint of `shop`: The address guard does not allow this address. "
        "Networks that are not public are opened to it by its `allow_networks`."
    ),
    ("OFFLOAD_REMOTES_FILE", "/nowhere/remotes.json"): (
        "OFFLOAD_REMOTES_FILE: /nowhere/remotes.json cannot be read: No such file or directory."
    ),
    ("OFFLOAD_METRICS_BIND", "9464"): (
        "OFFLOAD_METRICS_BIND: write an address and a port, as 127.0.0.1:9464"
    ),
    ("OFFLOAD_CORS_ORIGINS", "*"): f"OFFLOAD_CORS_ORIGINS: {ORIGINS}",
    ("OFFLOAD_CORS_ORIGINS", "https://a.example/"): f"OFFLOAD_CORS_ORIGINS: {ORIGINS}",
    ("OFFLOAD_CORS_ORIGINS", "https://a.example, https://b.example:443"): (
        "OFFLOAD_CORS_ORIGINS: leave out port 443, as browsers do"
    ),
    ("OFFLOAD_COLOUR", "red"): "There is no setting OFFLOAD_COLOUR.",
}


@pytest.mark.parametrize("given", WRONG, ids="=".join)
def test_a_setting_that_cannot_be_used_is_told_in_one_sentence(given, tmp_path):
    name, value = given
    done = served_within(tmp_path, {name: value})
    assert done.exit_code == 2
    said, where = done.stderr.splitlines()
    assert said == WRONG[given]
    assert not JARGON.search(said)
    assert "docs/settings.md" in where


@pytest.mark.parametrize(
    ("given", "told", "not_told"),
    [
        ({}, ["/  a page to", "/docs  every call", "/v1/images?"], ["takes no requests"]),
        ({"page": False}, ["/docs  every call"], ["a page to"]),
        ({"roles": ("work",)}, ["takes no requests but /livez"], [":8000/docs", "curl"]),
    ],
)
def test_what_it_says_when_it_listens_is_what_there_is(given, told, not_told):
    said = announcement(Settings(**given), "http://127.0.0.1:8000")
    assert "listens on http://127.0.0.1:8000\n" in said
    assert all(words in said for words in told)
    assert not any(words in said for words in not_told)
