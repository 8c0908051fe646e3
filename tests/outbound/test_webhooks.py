"""Signing and settings, judged by the Standard Webhooks project's own library."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from app.model.deliveries import Parcel, Route
from app.outbound import webhooks
from app.outbound.webhooks import WebhookSettings, secret_key
from app.settings import Settings

OLD = "whsec_" + base64.b64encode(b"o" * 24).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(64))).decode()
OTHER = "whsec_" + base64.b64encode(b"x" * 32).decode()
AT = datetime(2026, 3, 1, 12, 30, 0, 123_000, tzinfo=UTC)


def parcel(data=None, event="job.succeeded"):
    route = Route(1, "https://a.test", "https://a.test/")
    return Parcel(
        1, 1, "msg_1", 0, route, AT, event, data or {}, "https://a.test/", None, False
    )  # fmt: skip


def sent(secrets, at=None, body=b'{"a":"\xc3\xbc"}'):
    return webhooks.headers(parcel(), secrets, at or datetime.now(UTC), body), body


@pytest.mark.parametrize("secrets", [[NEW], [NEW, OLD], [OLD, NEW]])
def test_each_valid_secret_verifies_and_no_other(secrets):
    headers, body = sent(secrets)
    for secret in secrets:
        assert Webhook(secret).verify(body, headers) == {"a": "ü"}
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, headers)
    assert len(headers["webhook-signature"].split(" ")) == len(secrets)


def test_our_signature_is_the_librarys():
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    headers, body = sent([NEW], at)
    assert headers["webhook-signature"] == Webhook(NEW).sign("msg_1", at, body.decode())
    assert headers["webhook-timestamp"] == str(int(at.timestamp()))


@pytest.mark.parametrize("part", ["webhook-id", "webhook-timestamp", "webhook-signature", "body"])
def test_what_was_changed_does_not_verify(part):
    headers, body = sent([NEW])
    if part == "body":
        body += b" "
    else:
        headers[part] = {
            "webhook-id": "msg_2",
            "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1),
            "webhook-signature": "v1," + base64.b64encode(bytes(32)).decode(),
        }[part]
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(body, headers)


def test_an_old_message_does_not_verify():
    headers, body = sent([NEW], datetime.now(UTC) - timedelta(minutes=6))
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(body, headers)


def test_a_job_event_says_what_and_where():
    told = json.loads(webhooks.message(parcel({"job_id": "job_1", "status": "failed"}), ""))
    assert told == {
        "type": "job.succeeded",
        "timestamp": "2026-03-01T12:30:00.123Z",
        "data": {
            "job_id": "job_1",
            "status": "failed",
            "links": {"job": "/v1/jobs/job_1", "items": "/v1/jobs/job_1/items"},
        },
    }


@pytest.mark.parametrize(
    ("index", "query"), [(0, "limit=1"), (1, "cursor=0&limit=1"), (7, "cursor=6&limit=1")]
)
def test_an_item_event_leads_to_its_item(index, query):
    event = parcel({"job_id": "job_1", "index": index}, "item.failed")
    links = json.loads(webhooks.message(event, "https://o.test/x"))["data"]["links"]
    assert links == {
        "job": "https://o.test/x/v1/jobs/job_1",
        "items": f"https://o.test/x/v1/jobs/job_1/items?{query}",
    }


def test_a_test_event_says_nothing():
    assert json.loads(webhooks.message(parcel({}, "webhook.test"), "https://o.test"))["data"] == {}


@pytest.mark.parametrize("size", [24, 25, 32, 64])
@pytest.mark.parametrize("padded", [True, False])
def test_secrets_of_all_allowed_sizes(size, padded):
    coded = base64.b64encode(b"k" * size).decode()
    assert secret_key("whsec_" + (coded if padded else coded.rstrip("="))) == b"k" * size


def coded(size):
    return "whsec_" + base64.b64encode(b"k" * size).decode()


@pytest.mark.parametrize(
    "bad",
    ["", "whsec_", "whsec_!!!!", "whsec_" + "A" * 31, "whsec_" + "A" * 88, coded(23), coded(65),
     "hunter2hunter2hunter2hunter2", "whsec_" + "é" * 40, NEW.removeprefix("whsec_")],
)  # fmt: skip
def test_what_is_no_secret_is_refused_without_repeating_it(bad):
    with pytest.raises(ValueError, match="24 to 64 random bytes") as refusal:
        secret_key(bad)
    assert len(bad) < 8 or bad not in str(refusal.value)


# -- settings ----------------------------------------------------------------------------------


def test_lists_may_be_written_with_commas():
    given = WebhookSettings(secrets=f"{NEW},{OLD}", events="job.failed, item.failed")
    assert given.signing == (NEW, OLD)
    assert given.events == ("job.failed", "item.failed")
    assert NEW not in repr(given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"url": "https://a.test/"}, "OFFLOAD_WEBHOOKS_SECRETS"),
        ({"secrets": "hunter2"}, "whsec_"),
        ({"secrets": f"{NEW},{OLD},{OTHER}"}, "secrets"),
        ({"events": "job.done"}, "job.succeeded"),
        ({"events": ""}, "events"),
        ({"base_url": "https://a.test/"}, "base_url"),
        ({"base_url": "a.test"}, "base_url"),
        ({"allow_networks": "10.0.0.0/99"}, "allow_networks"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(given, named):
    with pytest.raises(ValidationError, match=named):
        WebhookSettings(**given)


def test_an_endpoint_out_of_reach_is_refused_at_the_start(monkeypatch):
    monkeypatch.setenv("OFFLOAD_WEBHOOKS_URL", "http://10.1.2.3:9000/hook")
    monkeypatch.setenv("OFFLOAD_WEBHOOKS_SECRETS", NEW)
    with pytest.raises(ValidationError, match="OFFLOAD_WEBHOOKS_ALLOW_NETWORKS"):
        Settings()
    monkeypatch.setenv("OFFLOAD_WEBHOOKS_ALLOW_NETWORKS", "10.1.0.0/16")
    assert Settings().webhooks.url == "http://10.1.2.3:9000/hook"
    monkeypatch.setenv("OFFLOAD_WEBHOOKS_URL", "ftp://10.1.2.3/")
    with pytest.raises(ValidationError, match="OFFLOAD_WEBHOOKS_URL"):
        Settings()
