"""Webhooks and pushes over real HTTP: asked for at every door, shown, replayed, tested."""

import base64
import json

import httpx
import pytest
from standardwebhooks import Webhook

from tests.api.answers import done, problem
from tests.conftest import LOOPBACK
from tests.service import Service

SECRET = "whsec_" + base64.b64encode(b"operator" * 4).decode()
OWN = "whsec_" + base64.b64encode(b"my own secret" * 3).decode()
BASE_URL = "https://offload.example.com"


@pytest.fixture(scope="module")
def told(tmp_path_factory, mailbox):
    """A service that signs, and tells an endpoint of its own where a job names none."""
    env = {
        "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
        "OFFLOAD_WEBHOOKS_URL": f"{mailbox.url}/configured",
        "OFFLOAD_WEBHOOKS_SECRETS": SECRET,
        "OFFLOAD_WEBHOOKS_EVENTS": "job.succeeded,job.failed,item.failed",
        "OFFLOAD_WEBHOOKS_BASE_URL": BASE_URL,
    }
    with (
        Service.started(tmp_path_factory.mktemp("told"), env) as running,
        httpx.Client(base_url=running.url, timeout=30) as client,
    ):
        yield client


def hook(mailbox, path, **others):
    return {"url": f"{mailbox.url}{path}", **others}


def of(client, job, **query):
    """Give a job's deliveries, once all are over."""
    for _ in range(2000):
        found = client.get(job["links"]["deliveries"], params={**query, "job": job["id"]}).json()
        if all(delivery["ended_at"] for delivery in found["deliveries"]):
            return found["deliveries"]
    raise AssertionError(found)


# -- asked for at every door -------------------------------------------------------------------


DOORS = {
    "json": lambda hook, store, file_id: {
        "url": "/v1/compress",
        "json": {"file_ids": [file_id], "webhook": hook, "store": store},
    },
    "form": lambda hook, store, _: {
        "url": "/v1/compress",
        "files": {"file": ("a.txt", b"content")},
        "data": {"webhook": json.dumps(hook), "store": json.dumps(store)},
    },
    "form of URLs": lambda hook, store, _: {
        "url": "/v1/compress",
        "files": {"file": ("a.txt", b"content")},
        "data": {"webhook": hook["url"], "store": store["put_url"]},
    },
    "query": lambda hook, store, _: {
        "url": "/v1/compress",
        "params": {"webhook": hook["url"], "store": json.dumps(store)},
        "content": b"content",
    },
    "jobs": lambda hook, store, file_id: {
        "url": "/v1/jobs",
        "json": {
            "items": [{"file_id": file_id, "store": store}],
            "steps": [{"op": "compress"}],
            "webhook": hook,
        },
    },
    "jobs form": lambda hook, store, _: {
        "url": "/v1/jobs",
        "files": {"file": ("a.txt", b"content")},
        "data": {
            "job": json.dumps({"steps": [{"op": "compress"}], "webhook": hook, "store": store})
        },
    },
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_takes_a_webhook_and_a_store(told, mailbox, door):
    name = door.replace(" ", "-")
    file_id = told.post("/v1/files", content=b"content").json()["id"]
    request = DOORS[door](
        hook(mailbox, f"/hook/{name}"), {"put_url": f"{mailbox.url}/put/{name}"}, file_id
    )
    made = told.post(**request)
    assert made.status_code == 202, made.text
    job = done(told.get(f"{made.headers['Location']}?wait=20"))
    [(_, headers, body)] = mailbox.wait_for(f"/hook/{name}")
    event = Webhook(SECRET).verify(body, headers)
    assert (event["type"], event["data"]["job_id"]) == ("job.succeeded", job["id"])
    assert event["data"]["links"]["job"] == BASE_URL + job["links"]["self"]
    [(_, headers, body)] = mailbox.wait_for(f"/put/{name}")
    [result] = job["items"][0]["results"]
    assert body == told.get(result["href"]).content
    assert headers["content-type"] == result["media_type"]
    assert headers["repr-digest"] == told.head(result["href"]).headers["Repr-Digest"]
    [delivery] = of(told, job)
    assert (delivery["status"], delivery["url"]) == ("delivered", f"{mailbox.url}/hook/{name}")


def test_put_and_curl_uploads_take_them_in_the_query(told, mailbox):
    params = {"webhook": f"{mailbox.url}/hook/put", "store": f"{mailbox.url}/put/put"}
    told.put("/v1/compress/a.txt", params=params, content=b"content").raise_for_status()
    mailbox.wait_for("/hook/put")
    mailbox.wait_for("/put/put")


def test_an_item_says_how_it_stands_with_its_push(told, mailbox):
    store = {"put_url": f"{mailbox.url}/put/shown"}
    urls = [{"url": f"{mailbox.url}/x", "store": store}]
    job = told.post("/v1/fetch", json={"urls": urls, "webhook": hook(mailbox, "/h")}).json()
    assert job["items"][0]["pushed"] is None
    job = done(told.get(f"{job['links']['self']}?wait=20"), "failed")  # GET is 501 there
    assert job["items"][0]["pushed"] is None

    made = told.post("/v1/compress", content=b"x", params={"store": f"{mailbox.url}/put/fail"})
    path = made.headers["Location"]
    first = told.get(f"{path}?wait=20")
    etag, job = first.headers["ETag"], done(first)
    for _ in range(2000):
        if job["items"][0]["pushed"]["attempts"]:
            break
        answer = told.get(path, headers={"If-None-Match": etag})
        if answer.status_code == 200:  # every attempt is a change that a poll sees
            etag, job = answer.headers["ETag"], answer.json()
    pushed = job["items"][0]["pushed"]
    assert (pushed["status"], pushed["attempts"]) == ("pending", 1)
    assert pushed["next_attempt_at"] > job["finished_at"]
    assert pushed["error"]["code"] == "delivery.status"


def test_a_job_that_names_nobody_is_told_to_the_operators_endpoint(told, mailbox):
    job = done(told.post("/v1/compress?wait=20", content=b"x"))
    [delivery] = of(told, job)
    assert (delivery["event"], delivery["url"]) == ("job.succeeded", None)
    assert mailbox.url not in json.dumps(delivery)
    ids = {headers["webhook-id"] for _, headers, _ in mailbox.wait_for("/configured")}
    assert delivery["id"] in ids


def test_a_jobs_own_secret_and_events_are_the_ones_that_count(told, mailbox):
    given = hook(mailbox, "/own", secret=OWN, events=["item.succeeded", "item.failed"])
    urls = [f"{mailbox.url}/nothing"]
    job = told.post("/v1/fetch", json={"urls": urls, "webhook": given}).json()
    [(_, headers, body)] = mailbox.wait_for("/own")
    event = Webhook(OWN).verify(body, headers)
    assert (event["type"], event["data"]["error"]) == ("item.failed", "fetch.status")
    links = event["data"]["links"]
    [item] = told.get(links["items"].removeprefix(BASE_URL)).json()["items"]
    assert (item["index"], item["status"]) == (event["data"]["index"], "failed")
    assert [d["event"] for d in of(told, job)] == ["item.failed"]
    shown = told.get(job["links"]["self"]).text + told.get(job["links"]["deliveries"]).text
    assert OWN not in shown


# -- refused -----------------------------------------------------------------------------------


A = "https://a.test"
FORBIDDEN, BAD_URL, INVALID = (403, "fetch.forbidden"), (422, "fetch.url"), (422, "input.invalid")


@pytest.mark.parametrize(
    ("given", "expected", "named"),
    [
        ({"webhook": {"url": "http://10.0.0.1/"}}, FORBIDDEN, "webhook.url"),
        ({"webhook": {"url": "http://169.254.169.254/"}}, FORBIDDEN, "webhook.url"),
        ({"webhook": {"url": "ftp://example.com/"}}, FORBIDDEN, "webhook.url"),
        ({"webhook": {"url": "https://u:p@example.com/"}}, BAD_URL, "webhook.url"),
        ({"webhook": "no url"}, BAD_URL, "webhook.url"),
        ({"webhook": {"events": ["job.failed"]}}, INVALID, "webhook.url"),
        ({"webhook": {"url": A, "events": ["job.done"]}}, INVALID, "events"),
        ({"webhook": {"url": A, "events": []}}, INVALID, "events"),
        ({"webhook": {"url": A, "secret": "hunter2"}}, INVALID, "secret"),
        ({"webhook": {"url": A, "sekret": "x"}}, INVALID, "sekret"),
        ({"webhook": "{broken"}, INVALID, "webhook"),
        ({"webhook": 7}, INVALID, "webhook"),
        ({"store": {"put_url": "http://10.0.0.1/"}}, FORBIDDEN, "store.put_url"),
        ({"store": {"url": A}}, INVALID, "put_url"),
        ({"store": {"put_url": A, "headers": {"Host": "b"}}}, INVALID, "Host"),
        ({"store": {"put_url": A, "headers": {"Content-Length": "1"}}}, INVALID, "Content-Length"),
        ({"store": {"put_url": A, "headers": {"x\r\n": "1"}}}, INVALID, "store"),
    ],
)
def test_what_cannot_be_told_or_put_is_refused_at_once(told, given, expected, named):
    file_id = told.post("/v1/files", content=b"content").json()["id"]
    job = {"items": [{"file_id": file_id}], "steps": [{"op": "compress"}], **given}
    found = problem(told.post("/v1/jobs", json=job), *expected)
    assert named in json.dumps(found)
    assert "hunter2" not in json.dumps(found)
    assert "10.0.0.1" not in json.dumps(found)


@pytest.mark.parametrize("where", ["body and query", "form and query"])
def test_what_is_given_twice_is_refused(told, mailbox, where):
    url = f"{mailbox.url}/twice"
    file_id = told.post("/v1/files", content=b"content").json()["id"]
    more = {
        "body and query": {"json": {"file_ids": [file_id], "store": {"put_url": url + "/2"}}},
        "form and query": {"files": {"file": b"x"}, "data": {"store": url + "/2"}},
    }[where]
    found = problem(told.post("/v1/compress", params={"store": url}, **more), 422, "input.invalid")
    assert "has two values" in found["detail"]


def test_one_url_takes_one_result(told, mailbox):
    store = {"put_url": f"{mailbox.url}/one"}
    files = [("file", (f"{n}.txt", b"x")) for n in range(2)]
    refused = told.post("/v1/compress", files=files, data={"store": store["put_url"]})
    assert "each item" in problem(refused, 422, "input.invalid")["detail"]
    items = [{"url": f"{mailbox.url}/x", "store": store}]
    refused = told.post("/v1/jobs", json={"items": items, "store": store})
    assert "twice" in problem(refused, 422, "input.invalid")["detail"]


def test_another_webhook_is_another_request(told, mailbox):
    key = {"Idempotency-Key": "webhooks"}

    def submit(path, put="/p"):
        request = {
            "urls": [{"url": f"{mailbox.url}/x", "store": {"put_url": mailbox.url + put}}],
            "webhook": hook(mailbox, path),
        }
        return told.post("/v1/fetch", json=request, headers=key)

    made = submit("/1")
    assert submit("/1").json()["id"] == made.json()["id"]
    problem(submit("/2"), 422, "input.idempotency")
    problem(submit("/1", "/q"), 422, "input.idempotency")


# -- line by line ------------------------------------------------------------------------------


def post_lines(client, *given, path="/v1/fetch", **query):
    body = "".join(json.dumps(line) + "\n" for line in given)
    headers = {"Content-Type": "application/x-ndjson"} | query.pop("headers", {})
    return client.post(path, params=query, content=body.encode(), headers=headers)


def test_a_job_of_lines_is_told_of_and_each_result_put_to_its_place(told, mailbox, origin):
    lines = [
        {"url": f"{origin}/{n}", "store": {"put_url": f"{mailbox.url}/put/line-{n}"}}
        for n in range(2)
    ]
    made = post_lines(told, *lines, f"{origin}/3", webhook=f"{mailbox.url}/hook/lines")
    job = done(told.get(f"{made.headers['Location']}?wait=20"))
    [(_, headers, body)] = mailbox.wait_for("/hook/lines")
    assert Webhook(SECRET).verify(body, headers)["data"]["job_id"] == job["id"]
    for n in range(2):
        [(_, _, body)] = mailbox.wait_for(f"/put/line-{n}")
        [result] = job["items"][n]["results"]
        assert body == told.get(result["href"]).content
    assert job["items"][2]["pushed"] is None


def test_lines_that_are_joined_are_put_to_the_jobs_place(told, mailbox, origin):
    document = {
        "steps": [{"op": "archive"}],
        "webhook": hook(mailbox, "/hook/joined-lines"),
        "store": {"put_url": f"{mailbox.url}/put/joined-lines"},
    }
    lines = [f"{origin}/{n}" for n in range(3)]
    made = post_lines(told, *lines, path="/v1/jobs", job=json.dumps(document))
    job = done(told.get(f"{made.headers['Location']}?wait=20"))
    mailbox.wait_for("/hook/joined-lines")
    [(_, _, body)] = mailbox.wait_for("/put/joined-lines")
    assert body == told.get(job["items"][3]["results"][0]["href"]).content


@pytest.mark.parametrize(
    ("line", "query", "expected", "said"),
    [
        ({"store": {"put_url": "http://10.0.0.1/"}}, {}, FORBIDDEN, "Line 2: `store.put_url`"),
        ({"store": {"put_url": A, "headers": {"Host": "b"}}}, {}, INVALID, "Line 2"),
        ({"store": {"put_url": A}}, {"steps": [{"op": "archive"}]}, INVALID, "Line 2: `store`"),
        ({}, {"store": {"put_url": A}}, INVALID, "each line"),
        ({}, {"webhook": {"url": "http://10.0.0.1/"}}, FORBIDDEN, "webhook.url"),
        (
            {},
            {"steps": [{"op": "archive"}], "store": {"put_url": "http://10.0.0.1/"}},
            FORBIDDEN,
            "store.put_url",
        ),
    ],
)
def test_lines_that_cannot_be_put_anywhere_are_refused(told, line, query, expected, said):
    before = told.get("/v1/jobs").json()
    lines = [A, {"url": A, **line}]
    made = post_lines(told, *lines, path="/v1/jobs", job=json.dumps(query))
    found = problem(made, *expected)
    assert said in found["detail"]
    assert found.get("line") == (2 if said.startswith("Line") else None)
    assert told.get("/v1/jobs").json() == before


def test_lines_with_another_webhook_or_store_are_another_request(told, mailbox):
    def submit(path, put="/p"):
        line = {"url": f"{mailbox.url}/x", "store": {"put_url": mailbox.url + put}}
        key = {"Idempotency-Key": "lines"}
        return post_lines(told, line, webhook=mailbox.url + path, headers=key)

    made = submit("/1")
    assert submit("/1").json()["id"] == made.json()["id"]
    problem(submit("/2"), 422, "input.idempotency")
    problem(submit("/1", "/q"), 422, "input.idempotency")


def test_without_any_secret_nothing_is_promised(http, mailbox):
    """The shared service has none of its own."""
    given = {"urls": [mailbox.url], "webhook": {"url": f"{mailbox.url}/unsigned"}}
    found = problem(http.post("/v1/fetch", json=given), 422, "input.invalid")
    assert "webhook.secret" in found["detail"]
    given["webhook"]["secret"] = OWN
    job = http.post("/v1/fetch?wait=20", json=given).json()
    [(_, headers, body)] = mailbox.wait_for("/unsigned")
    assert Webhook(OWN).verify(body, headers)["data"]["job_id"] == job["id"]


# -- shown and replayed ------------------------------------------------------------------------


def test_deliveries_are_listed_with_their_attempts(told, mailbox):
    before = len(told.get("/v1/webhooks/deliveries?limit=200").json()["deliveries"])
    good = told.post("/v1/compress", content=b"x", params={"webhook": f"{mailbox.url}/list"}).json()
    [delivered] = of(told, done(told.get(f"{good['links']['self']}?wait=20")))
    assert delivered["error"] is None
    [attempt] = delivered["attempts"]
    assert (attempt["status"], attempt["error"], attempt["detail"]) == (200, None, None)
    assert attempt["answer"] == "<ok>\ufffd\ufffd"
    assert attempt["elapsed_ms"] >= 0
    assert told.get(f"/v1/webhooks/deliveries/{delivered['id']}").json() == delivered
    page = told.get("/v1/webhooks/deliveries?limit=1").json()
    assert [d["id"] for d in page["deliveries"]] == [delivered["id"]]
    rest = told.get(f"/v1/webhooks/deliveries?limit=200&cursor={page['next_cursor']}").json()
    assert len(rest["deliveries"]) == before
    query = {"job": good["id"], "status": "dead"}
    assert told.get("/v1/webhooks/deliveries", params=query).json()["deliveries"] == []
    problem(told.get("/v1/webhooks/deliveries?status=lost"), 422, "input.invalid")
    problem(told.get("/v1/webhooks/deliveries?cursor=x"), 422, "input.invalid")


def test_a_replay_comes_under_the_same_id(told, mailbox):
    made = told.post("/v1/compress", content=b"x", params={"webhook": f"{mailbox.url}/again"})
    [(_, headers, body)] = mailbox.wait_for("/again")
    [delivery] = of(told, made.json())
    again = told.post(f"/v1/webhooks/deliveries/{delivery['id']}/replay")
    assert again.status_code == 202
    assert again.json()["id"] == delivery["id"]
    _, (_, later, same) = mailbox.wait_for("/again", 2)
    assert (later["webhook-id"], same) == (headers["webhook-id"], body)
    Webhook(SECRET).verify(same, later)
    [delivery] = of(told, made.json())
    assert len(delivery["attempts"]) == 2
    problem(told.post("/v1/webhooks/deliveries/msg_x/replay"), 404, "input.not_found")
    problem(told.get("/v1/webhooks/deliveries/msg_x"), 404, "input.not_found")


def test_a_deleted_job_takes_its_deliveries_with_it(told, mailbox):
    made = told.post("/v1/compress", content=b"x", params={"webhook": f"{mailbox.url}/gone"}).json()
    mailbox.wait_for("/gone")
    [delivery] = of(told, made)
    told.delete(made["links"]["self"]).raise_for_status()
    problem(told.get(f"/v1/webhooks/deliveries/{delivery['id']}"), 404, "input.not_found")


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [("/test", "delivered", None), ("/fail", "dead", "delivery.status")],
)
def test_a_test_tells_what_came_of_it(told, mailbox, path, status, error):
    answer = told.post("/v1/webhooks/test", json=hook(mailbox, path, secret=OWN))
    assert answer.status_code == 200
    delivery = answer.json()
    assert (delivery["event"], delivery["status"]) == ("webhook.test", status)
    assert [attempt["error"] for attempt in delivery["attempts"]] == [error]
    [(_, headers, body)] = mailbox.wait_for(path)
    assert Webhook(OWN).verify(body, headers)["type"] == "webhook.test"


def test_a_test_without_an_endpoint_goes_to_the_operators(told, http, mailbox):
    delivery = told.post("/v1/webhooks/test").json()
    assert (delivery["status"], delivery["url"]) == ("delivered", None)
    problem(http.post("/v1/webhooks/test"), 409, "delivery.endpoint")
    refused = told.post("/v1/webhooks/test", json={"url": "http://10.0.0.1/"})
    problem(refused, 403, "fetch.forbidden")


# -- several clients ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A service of two clients."""
    env = {
        "OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK,
        "OFFLOAD_WEBHOOKS_SECRETS": SECRET,
        "OFFLOAD_API_KEYS": json.dumps(
            {"shop": "the-key-of-the-shop", "bank": "the-key-of-the-bank"}
        ),
    }
    with Service.started(tmp_path_factory.mktemp("shared"), env) as running:
        yield {
            name: httpx.Client(
                base_url=running.url,
                headers={"Authorization": f"Bearer the-key-of-the-{name}"},
                timeout=30,
            )
            for name in ("shop", "bank")
        }


def test_clients_sign_for_themselves_and_see_their_own(shared, mailbox):
    """With the operator's secret, one could send another what that one takes for genuine."""
    shop, bank = shared["shop"], shared["bank"]
    given = {"urls": [mailbox.url], "webhook": hook(mailbox, "/shop")}
    found = problem(shop.post("/v1/fetch", json=given), 422, "input.invalid")
    assert "webhook.secret" in found["detail"]
    problem(shop.post("/v1/webhooks/test", json=hook(mailbox, "/shop")), 422, "input.invalid")
    given["webhook"]["secret"] = OWN
    job = shop.post("/v1/fetch", json=given).json()
    mailbox.wait_for("/shop")
    [delivery] = of(shop, job)
    path = f"/v1/webhooks/deliveries/{delivery['id']}"
    problem(bank.get(path), 404, "input.not_found")
    problem(bank.post(f"{path}/replay"), 404, "input.not_found")
    assert bank.get(job["links"]["deliveries"]).json()["deliveries"] == []
    for client in shared.values():
        client.close()
