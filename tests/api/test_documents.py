"""What all documents have in common, by whichever way they come: moments, and what is left out."""

import base64
import gzip
import json
import re

import pytest

from tests.api.answers import done, head, problem, talk

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LIKE_A_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\w{3}, \d\d \w{3} \d{4}")
NAMED_AS_ONE = re.compile(r"at|timestamp|modified|\w+_at")
SECRET = "whsec_" + base64.b64encode(b"a secret of ours" * 2).decode()
EVENTS = ["job.succeeded", "job.failed", "item.succeeded", "item.failed", "push.succeeded"]


def members(node, name=""):
    """Give every value in a document that is not made of others, with the name it is under."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from members(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from members(value, name)
    else:
        yield name, node


def moments(document):
    """Give every moment in a document, by the name it is under; fail on one of another shape."""
    found = set()
    for name, value in members(document):
        if NAMED_AS_ONE.fullmatch(name):
            assert value is None or isinstance(value, str), (name, value)
            found |= {name} if value else set()
        if isinstance(value, str) and (LIKE_A_MOMENT.match(value) or name in found):
            assert MOMENT.fullmatch(value), (name, value)
    return found


@pytest.fixture(scope="module")
def told(http, mailbox):
    """A job of each kind that tells and puts, and every document that there is of them."""
    webhook = {"url": f"{mailbox.url}/told", "events": EVENTS, "secret": SECRET}
    stored = http.post("/v1/files?filename=a.gz", content=gzip.compress(b"x", mtime=1_700_000_000))
    file_id = stored.json()["id"]
    put = {"file_ids": [file_id], "store": {"put_url": f"{mailbox.url}/put"}}
    jobs = [
        done(http.post("/v1/compress?wait=20", json={**put, "webhook": webhook})),
        done(http.post("/v1/inspect?wait=20", json={"file_ids": [file_id], "webhook": webhook})),
        done(http.post("/v1/fetch?wait=20", json={"urls": [""], "webhook": webhook}), "failed"),
    ]
    sent = [json.loads(body) for _, _, body in mailbox.wait_for("/told", 6)]
    documents = {"stored": stored.json(), "jobs": jobs, "sent": sent}
    for path in (f"/v1/files/{file_id}", "/v1/jobs", "/v1/webhooks/deliveries"):
        documents[path] = http.get(path).json()
    for job in jobs:
        documents[job["links"]["items"]] = http.get(job["links"]["items"]).json()
        events = http.get(job["links"]["events"]).text
        documents[job["links"]["events"]] = [
            json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: ")
        ]
    [delivery, *_] = documents["/v1/webhooks/deliveries"]["deliveries"]
    replay = f"/v1/webhooks/deliveries/{delivery['id']}/replay"
    documents["replayed"] = http.post(replay).json()
    test = {"url": f"{mailbox.url}/test", "secret": SECRET}
    documents["tested"] = http.post("/v1/webhooks/test", json=test).json()
    documents["retried"] = http.post(jobs[2]["links"]["retry"]).json()
    documents["canceled"] = http.post(jobs[0]["links"]["cancel"]).json()
    return documents


def test_every_moment_in_every_document_has_one_shape(told):
    named = {where: moments(document) for where, document in told.items()}
    assert all(named.values()), named
    assert set().union(*named.values()) == {
        "at", "created_at", "ended_at", "expires_at", "finished_at", "modified",
        "next_attempt_at", "started_at", "timestamp",
    }  # fmt: skip


def test_a_moment_on_the_second_has_its_milliseconds_too(told):
    [inspected] = [job for job in told["jobs"] if job["steps"][0]["op"] == "inspect"]
    facts = inspected["items"][0]["facts"]["inspect"]
    assert facts["compression"]["modified"] == "2023-11-14T22:13:20.000Z"


def test_the_description_calls_moments_by_their_format(http):
    schemas = http.get("/openapi.json").json()["components"]["schemas"]
    for schema in schemas.values():
        for name, described in schema.get("properties", {}).items():
            kinds = described.get("anyOf", [described])
            if name == "at" or name.endswith("_at"):
                assert "date-time" in {kind.get("format") for kind in kinds}, name


@pytest.mark.parametrize(("items", "left_out"), [(20, False), (21, True)])
def test_a_job_that_leaves_its_items_out_says_so(http, stored, items, left_out):
    asked = {"file_ids": [stored["id"]] * items}
    job = done(http.post("/v1/inspect?wait=30", json=asked))
    assert (job["items_truncated"], job["items"] is None) == (left_out, left_out)
    whole = http.get(job["links"]["items"], params={"limit": 1000}).json()
    assert len(whole["items"]) == items
    again = http.get(f"/v1/jobs/{job['id']}").json()
    assert again["items_truncated"] is left_out
    listed = http.get("/v1/jobs?limit=1").json()["jobs"][0]
    assert (listed["id"], listed["items"], listed["items_truncated"]) == (job["id"], None, True)


# -- an empty file -----------------------------------------------------------------------------

OPERATIONS = {
    "compress": ("compress", "succeeded"),
    "decompress": ("decompress", "failed"),
    "archive": ("archive", "succeeded"),
    "extract": ("extract", "failed"),
    "images": ("image", "failed"),
    "optimize": ("optimize", "failed"),
    "inspect": ("inspect", "succeeded"),
}
ROADS = {
    "a form": lambda http, door, _: http.post(door, files={"file": ("none.txt", b"")}),
    "a raw POST": lambda http, door, _: http.post(
        f"{door}&filename=none.txt", headers={"Content-Length": "0"}
    ),
    "a chunked POST": lambda http, door, _: http.post(
        f"{door}&filename=none.txt", content=iter([])
    ),
    "a raw PUT": lambda http, door, _: http.put(
        f"{door}&filename=none.txt", headers={"Content-Length": "0"}
    ),
    "PUT with a name": lambda http, door, _: http.put(
        door.replace("?", "/none.txt?"), headers={"Content-Length": "0"}
    ),
    "POST with a name": lambda http, door, _: http.post(
        door.replace("?", "/none.txt?"), headers={"Content-Length": "0"}
    ),
    "a stored file": lambda http, door, stored: http.post(door, json={"file_ids": [stored]}),
}


@pytest.mark.parametrize("door", OPERATIONS)
def test_an_empty_file_gets_the_same_answer_by_every_road(http, door):
    kept = http.put("/v1/files/none.txt", headers={"Content-Length": "0"})
    assert (kept.status_code, kept.json()["size_bytes"]) == (201, 0)
    op, status = OPERATIONS[door]
    answers = {}
    for road, ask in ROADS.items():
        job = done(ask(http, f"/v1/{door}?wait=30", kept.json()["id"]), status)
        items = job["items"]
        assert items[0]["size_bytes"] == 0, road
        answers[road] = [
            (item["name"], item["status"], item["error"], item["facts"].get(op)) for item in items
        ] + [(file["name"], file["size_bytes"]) for item in items for file in item["results"]]
    first = answers["a form"]
    assert {road for road, answer in answers.items() if answer != first} == set(), answers


def test_an_empty_member_of_an_archive_is_a_file_as_well(http):
    packed = http.post(
        "/v1/archive?wait=30&download=true", files={"file": ("none.txt", b"")}
    ).content
    job = {"steps": [{"op": "extract"}]}
    sent = {"data": {"job": json.dumps(job)}, "files": {"file": ("a.zip", packed)}}
    [item] = done(http.post("/v1/jobs?wait=30", **sent))["items"]
    assert [(file["name"], file["size_bytes"]) for file in item["results"]] == [("none.txt", 0)]


def test_a_request_without_a_body_is_no_empty_file(service):
    for method, path in (("POST", "/v1/compress"), ("PUT", "/v1/files/none.txt")):
        problem(talk(service.url, head(method, path)), 400, "input.empty")
