"""Webhooks that a service has signed are believed, and no others."""

import base64
import time

import offload
import pytest
import standardwebhooks

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-six bytes").decode()
OTHER = "whsec_" + base64.b64encode(b"another one, of the same kind").decode()
BODY = b'{"type": "job.succeeded", "data": {}}'
NOW_S = 1_700_000_000


def signed(secret=SECRET, body=BODY, at_s=NOW_S):
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(at_s, UTC)
    signature = standardwebhooks.Webhook(secret).sign("msg_1", moment, body.decode())
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(at_s), "Webhook-Signature": signature}


def test_what_is_signed_is_believed():
    assert offload.verify_webhook(SECRET, signed(), BODY, now_s=NOW_S)["type"] == "job.succeeded"
    assert offload.verify_webhook([OTHER, SECRET], signed(), BODY, now_s=NOW_S + 300)
    now = signed(at_s=int(time.time()))
    assert offload.verify_webhook(SECRET, now, BODY)
    two = signed() | {"Webhook-Signature": "v1,bm8= v2,eA== " + signed()["Webhook-Signature"]}
    assert offload.verify_webhook(SECRET, two, BODY, now_s=NOW_S)


@pytest.mark.parametrize(
    ("change", "body", "now_s", "why"),
    [
        ({}, BODY + b" ", NOW_S, "No signature"),
        ({"Webhook-Id": "msg_2"}, BODY, NOW_S, "No signature"),
        ({"Webhook-Signature": ""}, BODY, NOW_S, "No signature"),
        ({"Webhook-Signature": "v1,\u00e4"}, BODY, NOW_S, "No signature"),
        ({"Webhook-Timestamp": str(NOW_S + 1)}, BODY, NOW_S, "No signature"),
        ({"Webhook-Timestamp": "soon"}, BODY, NOW_S, "no number"),
        ({"Webhook-Timestamp": "\u0661"}, BODY, NOW_S, "no number"),
        ({"Webhook-Timestamp": "9" * 400}, BODY, NOW_S, "no number"),
        ({}, BODY, NOW_S + 301, "too old"),
        ({}, BODY, NOW_S - 301, "too old"),
    ],
)
def test_what_is_forged_is_not(change, body, now_s, why):
    with pytest.raises(offload.Forged, match=why) as refused:
        offload.verify_webhook(SECRET, signed() | change, body, now_s=now_s)
    assert refused.value.code == "client.forged"


def test_a_missing_header_and_a_secret_that_is_none():
    headers = signed()
    del headers["Webhook-Signature"]
    with pytest.raises(offload.Forged, match="webhook-signature is missing"):
        offload.verify_webhook(SECRET, headers, BODY, now_s=NOW_S)
    with pytest.raises(ValueError, match="whsec_"):
        offload.verify_webhook("whsec_not base64!", signed(), BODY, now_s=NOW_S)
    body = b"[]"
    with pytest.raises(offload.Forged, match="no event"):
        offload.verify_webhook(SECRET, signed(body=body), body, now_s=NOW_S)
