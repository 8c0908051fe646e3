"""What `offload serve` says of settings that it cannot use."""

import pytest

from tests.api.test_sentences import JARGON
from tests.service import served_within

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
