"""Batches of URLs over HTTP: each URL's own terms, the batch's options, running again."""

import base64
import hashlib

import pytest

from tests.api.answers import done, errors, problem, results, running
from tests.outbound.origin import BODY

DIGEST = hashlib.sha256(BODY)


def fetch(http, urls, status="succeeded", **options):
    return done(http.post("/v1/fetch?wait=20", json={"urls": urls, **options}), status)


@pytest.mark.parametrize(
    "digest",
    [
        DIGEST.hexdigest(),
        DIGEST.hexdigest().upper(),
        f"sha-256=:{base64.b64encode(DIGEST.digest()).decode()}:",
        f"md5=:AAAA:, sha-256=:{base64.b64encode(DIGEST.digest()).decode()}:",
    ],
)
def test_content_with_the_expected_digest_is_kept(http, hostile, digest):
    job = fetch(http, [{"url": f"{hostile.url}/ok", "digest": digest}])
    assert results(http, job) == [("ok", BODY)]


def test_another_digest_fails_the_item_alone(http, hostile):
    urls = [{"url": f"{hostile.url}/ok", "digest": "0" * 64}, f"{hostile.url}/ok"]
    assert errors(fetch(http, urls, "partial")) == ["fetch.digest", None]


@pytest.mark.parametrize("digest", ["", "abc", "0" * 63, "sha-256=:AAAA:", "sha-512=:AAAA:"])
def test_what_is_no_sha256_is_refused(http, digest):
    asked = {"urls": [{"url": "http://127.0.0.1/", "digest": digest}]}
    problem(http.post("/v1/fetch", json=asked), 422, "input.invalid")


def test_each_url_may_have_its_own_cap(http, hostile):
    urls = [{"url": f"{hostile.url}/ok", "max_bytes": n} for n in (len(BODY), len(BODY) - 1)]
    assert errors(fetch(http, urls, "partial")) == [None, "fetch.too_large"]


def test_a_fetched_text_is_what_its_origin_calls_it_unless_a_browser_would_run_that(http, hostile):
    urls = [f"{hostile.url}/site.css", f"{hostile.url}/page.html"]
    urls.append({"url": f"{hostile.url}/page.html", "filename": "ours.html"})
    items = fetch(http, urls)["items"]
    types = [item["results"][0]["media_type"] for item in items]
    assert types == ["text/css", "text/plain", "text/html"]
    # The facts say what came, the file what it is handed out as.
    assert [item["facts"]["fetch"]["media_type"] for item in items] == [
        "text/plain",
        "text/html",
        "text/html",
    ]
    assert [item["facts"]["fetch"]["claimed_media_type"] for item in items[:2]] == [
        "text/css",
        "text/html",
    ]


def test_only_accepted_types_are_kept(http, origin):
    asked = {"urls": [f"{origin}/photo.jpg", f"{origin}/text"], "accept_types": ["image/*"]}
    job = done(http.post("/v1/fetch?wait=20", json=asked), "partial")
    assert errors(job) == [None, "fetch.type"]
    response = http.post("/v1/fetch?wait=20&accept_types=text/plain,text/csv", json=asked | {})
    problem(response, 422, "input.invalid")  # given twice
    del asked["accept_types"]
    job = done(
        http.post("/v1/fetch?wait=20&accept_types=text/plain,text/csv", json=asked), "partial"
    )
    assert errors(job) == ["fetch.type", None]


def test_an_item_tells_how_it_was_fetched(http, hostile):
    [item] = fetch(http, [f"{hostile.url}/typed"])["items"]
    facts = item["facts"]["fetch"]
    assert facts["final_url"] == f"{hostile.url}/typed"
    assert (facts["status"], facts["redirects"], facts["tries"]) == (200, 0, 1)
    assert facts["claimed_media_type"] == "image/png"
    assert facts["media_type"] == item["results"][0]["media_type"] != "image/png"
    assert facts["sha256"] == DIGEST.hexdigest()
    assert facts["size_bytes"] == len(BODY)
    assert facts["headers"]["content-type"] == "Image/PNG; charset=x"
    assert set(facts["timings"]) == {"dns_ms", "connect_ms", "first_byte_ms", "total_ms"}


def test_an_item_that_failed_tells_how_far_it_came(http, hostile):
    [item] = fetch(http, [f"{hostile.url}/to-404"], "failed")["items"]
    assert item["facts"]["fetch"]["final_url"] == f"{hostile.url}/404"
    assert item["facts"]["fetch"]["redirects"] == 1


def test_a_batch_has_no_more_under_way_than_it_asks_for(http, hostile):
    asked = {"urls": [f"{hostile.url}/held"] * 6, "concurrency": 2}
    job = http.post("/v1/fetch", json=asked).json()
    hostile.wait_for(requests=2)
    counts = running(http, job, items=2)["counts"]
    assert (counts["running"], counts["queued"]) == (2, 4)
    hostile.let_go()
    done(http.get(f"/v1/jobs/{job['id']}?wait=20"))


def test_a_batch_that_is_polite_to_its_host_leaves_slots_to_others(http, hostile):
    """64 slots, and 200 URLs of one host that may have one request: the others do not wait."""
    asked = {"urls": [f"{hostile.url}/held"] * 200, "per_host_concurrency": 1}
    job = http.post("/v1/fetch", json=asked).json()
    hostile.wait_for(requests=1)
    fetch(http, [f"{hostile.url}/ok"])
    counts = http.get(f"/v1/jobs/{job['id']}").json()["counts"]
    assert counts["running"] <= 2
    http.delete(f"/v1/jobs/{job['id']}")


def test_the_same_url_is_fetched_once(http, hostile):
    url = f"{hostile.url}/ok"
    job = fetch(http, [url, url, {"url": url, "filename": "b.bin"}], dedupe=True)
    assert results(http, job) == [("ok", BODY), ("ok", BODY), ("b.bin", BODY)]
    assert hostile.paths() == ["/ok"]
    assert [item["facts"]["fetch"].get("deduped", False) for item in job["items"]] == [
        False,
        True,
        True,
    ]


def test_a_failure_is_shared_too(http, hostile):
    url = f"{hostile.url}/404"
    assert errors(fetch(http, [url, url], "failed", dedupe=True)) == ["fetch.status"] * 2
    assert hostile.paths() == ["/404"]


def test_a_first_failure_can_end_the_batch(http, hostile):
    urls = [f"{hostile.url}/held", f"{hostile.url}/404", f"{hostile.url}/held"]
    job = fetch(http, urls, "failed", on_error="fail")
    assert job["counts"]["canceled"] == 2
    assert errors(job) == [None, "fetch.status", None]


def test_what_has_not_changed_is_not_downloaded_again(http, hostile):
    url = f"{hostile.url}/versioned"
    asked = {"if_changed": True}
    first = fetch(http, [url], **asked)
    second = fetch(http, [url], **asked)
    facts = second["items"][0]["facts"]["fetch"]
    assert (facts["status"], facts["size_bytes"]) == (304, len(BODY))
    assert (facts["claimed_media_type"], facts["name"]) == ("text/x-data", "versioned")
    assert results(http, first) == results(http, second) == [("versioned", BODY)]
    hostile.change()
    third = fetch(http, [url], **asked)
    assert third["items"][0]["facts"]["fetch"]["status"] == 200
    assert results(http, third) == [("versioned", BODY)]


def test_without_the_option_nothing_is_asked(http, hostile):
    url = f"{hostile.url}/versioned"
    for options in ({}, {"if_changed": True}, {}):
        assert fetch(http, [url], **options)["items"][0]["facts"]["fetch"]["status"] == 200


@pytest.mark.parametrize(
    "other", [{"digest": "0" * 64}, {"max_bytes": 10}, {"headers": {"X-Who": "else"}}]
)
def test_a_stored_version_that_is_not_what_is_asked_for_now_is_not_used(http, hostile, other):
    url = f"{hostile.url}/versioned"
    fetch(http, [url], if_changed=True)
    done(
        http.post("/v1/fetch?wait=20", json={"urls": [{"url": url, **other}], "if_changed": True}),
        "succeeded" if "headers" in other else "failed",
    )
    assert not any(b"if-none-match" in head.lower() for head in hostile.requests())


def test_failed_items_are_run_again(http, hostile):
    job = fetch(http, [f"{hostile.url}/ok", f"{hostile.url}/fails/1"], "partial")
    assert errors(job) == [None, "fetch.status"]
    response = http.post(job["links"]["retry"])
    assert response.status_code == 202, response.text
    assert response.json()["done"] is False
    again = done(http.get(f"/v1/jobs/{job['id']}?wait=20"))
    assert [item["attempt"] for item in again["items"]] == [1, 2]
    assert hostile.paths().count("/ok") == 1
    problem(http.post(job["links"]["retry"]), 409, "input.conflict")


def test_only_what_is_over_and_ones_own_can_be_retried(http, held_job):
    problem(http.post(f"/v1/jobs/{held_job['id']}/retry"), 409, "input.conflict")
    problem(http.post("/v1/jobs/job_0/retry"), 404, "input.not_found")


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"per_host_concurrency": 0},
        {"on_error": "stop"},
        {"accept_types": ["image"]},
        {"connect_timeout_s": 0},
        {"dedupe": "maybe"},
    ],
)
def test_options_that_mean_nothing_are_refused(http, options):
    asked = {"urls": ["http://127.0.0.1/"], **options}
    problem(http.post("/v1/fetch", json=asked), 422, "input.invalid")
