"""What holds for every route of the service, whatever it does."""

import http.client
import inspect
import json
import re
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi._compat import field_annotation_is_sequence
from fastapi.routing import iter_route_contexts

from app.api.problems import Problems
from app.api.routes import Route
from app.main import create_app
from app.settings import Settings
from tests.api.answers import done, problem
from tests.api.description import followed
from tests.service import Service


def every_route(tmp_path):
    """Give method, path and handler of every route, those that stand in no description too."""
    app = create_app(Settings(data_dir=tmp_path))
    for route in iter_route_contexts(app.routes):
        for method in sorted(route.methods or ()):
            yield method, route.path_format, route.original_route


def ask(service, method, path):
    """Give the answer to a request, as it is on the wire: a body after HEAD is told of."""
    address = urlsplit(service.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def test_every_route_refuses_a_query_that_it_would_not_read(http, tmp_path):
    asked = 0
    for method, path, route in every_route(tmp_path):
        url = re.sub(r"{\w+}", "start.js", path) + "?surely_unknown=1"
        response = http.request(method, url)
        if not isinstance(route, Route):
            assert response.status_code == 200, url  # pages and the description of the API
        elif method == "HEAD":
            assert response.status_code == 422, url
        else:
            found = problem(response, 422, "input.invalid")
            assert found["detail"].startswith("`surely_unknown` is not known here"), url
            assert found["errors"][0]["loc"] == ["surely_unknown"]
        asked += 1
    assert asked > 60


def test_every_route_knows_the_query_that_its_description_has(http, stored):
    document = http.get("/openapi.json").json()
    for path, item in document["paths"].items():
        for method, operation in followed(document, item).items():
            names = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"]
            url = re.sub(r"{\w+}", "unknown", path)
            for name in names:
                response = http.request(method, url, params={name: "x"})
                assert "is not known here" not in response.text, (method, path, name)


def test_a_name_that_is_nearly_right_is_told_the_right_one(http):
    for url, meant in {
        "/v1/jobs?state=failed": "status",
        "/v1/jobs?Limit=1": "limit",
        "/v1/webhooks/deliveries?jobs=job_0": "job",
    }.items():
        assert (
            f"; did you mean `{meant}`?" in problem(http.get(url), 422, "input.invalid")["detail"]
        )


def test_a_huge_name_is_refused_in_a_short_answer(http):
    response = http.get("/v1/jobs?" + "x" * 10_000)
    problem(response, 422, "input.invalid")
    assert len(response.content) < 1000


def test_a_misspelt_label_does_not_run_the_job(http, stored):
    asked = {"items": [{"file_id": stored["id"]}], "steps": [{"op": "compress"}]}
    for name in ("dry_run", "webhook_url"):
        before = http.get("/v1/jobs?limit=1").json()["jobs"]
        problem(http.post("/v1/jobs", params={name: "true"}, json=asked), 422, "input.invalid")
        assert http.get("/v1/jobs?limit=1").json()["jobs"] == before


@pytest.fixture
def quiet(tmp_path):
    """A service that nobody else has given anything to do: nothing changes between two requests."""
    with Service.started(tmp_path / "quiet") as running:
        yield running


def test_every_get_has_a_head_with_the_same_headers_and_no_body(quiet, tmp_path):
    url = f"{quiet.url}/v1/files?filename=ten.txt"
    stored = httpx.post(url, content=b"ten bytes\n").json()
    asked_of = {"file_ids": [stored["id"]]}
    job = done(httpx.post(f"{quiet.url}/v1/compress?wait=20", json=asked_of, timeout=30))
    ids = {"file_id": stored["id"], "job_id": job["id"], "delivery_id": "msg_0", "name": "start.js"}
    asked = 0
    for method, path, _ in every_route(tmp_path):
        if method != "GET":
            continue
        url = re.sub(r"{(\w+)}", lambda found: ids[found[1]], path)
        status, headers, _ = ask(quiet, "GET", url)
        bare_status, bare_headers, body = ask(quiet, "HEAD", url)
        assert (bare_status, body) == (status, b""), url
        changing = {"date", "x-request-id"}
        if "transfer-encoding" in headers:  # of no known length: there is nothing to tell
            changing |= {"transfer-encoding", "content-length"}
        kept = {name: value for name, value in headers.items() if name not in changing}
        bare = {name: value for name, value in bare_headers.items() if name not in changing}
        assert bare == kept, url
        other = "DELETE" if "events" in url else "PATCH"
        assert httpx.request(other, quiet.url + url).headers["Allow"]
        asked += 1
    assert asked >= 15


def test_a_head_of_events_ends_at_once_while_the_job_goes_on(http, held_job):
    url = f"/v1/jobs/{held_job['id']}/events"
    response = http.head(url)
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert not http.get(f"/v1/jobs/{held_job['id']}").json()["done"]


def test_head_stands_in_allow(http):
    assert "HEAD" in http.patch("/v1/jobs").headers["Allow"].split(", ")


# -- labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["json", "form", "lines"])
def test_a_job_takes_its_labels_from_the_query_as_a_door_does(http, origin, stored, kind):
    labels = {"tag": "of the query"}
    document = {"steps": [{"op": "inspect"}]}
    if kind == "json":
        sent = {"json": {**document, "items": [{"file_id": stored["id"]}]}}
    elif kind == "form":
        sent = {"data": {"job": json.dumps(document)}, "files": {"file": b"x"}}
    else:
        labels["job"] = json.dumps(document)
        sent = {
            "content": json.dumps(f"{origin}/text"),
            "headers": {"Content-Type": "application/x-ndjson"},
        }
    job = done(http.post("/v1/jobs", params={**labels, "wait": 20}, **sent))
    assert job["tag"] == "of the query"


def test_every_label_stands_in_the_query_of_every_door_and_is_checked_there(http):
    document = http.get("/openapi.json").json()
    doors = [o["door"] for o in http.get("/v1/operations").json()["operations"]]
    for path in (*doors, "/v1/jobs"):
        door = followed(document, document["paths"][path]["post"])
        described = {p["name"] for p in door["parameters"]}
        assert {"tag", "webhook", "store"} <= described
        for bad in ({"tag": "x" * 101}, {"webhook": "{"}, {"store": '{"put_url": 1}'}):
            response = http.post(path, params=bad, json={})
            assert f"`{next(iter(bad))}" in problem(response, 422, "input.invalid")["detail"]


# -- what handlers ask for ---------------------------------------------------------------------


def every_call(dependant):
    """Give a handler and all that it needs, as FastAPI describes them."""
    for needed in dependant.dependencies:
        yield from every_call(needed)
    yield dependant


def test_no_handler_asks_for_what_is_not_worked_out(tmp_path):
    for _, path, route in every_route(tmp_path):
        if not isinstance(route, Route):
            continue
        for call in every_call(route.dependant):
            assert not call.body_params + call.cookie_params, path
            assert not call.response_param_name, path
            assert not call.background_tasks_param_name, path
            function = call.call
            assert inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
                type(function).__call__
            ), (path, function)
            for field in (*call.query_params, *call.header_params, *call.path_params):
                assert not field_annotation_is_sequence(field.field_info.annotation), path


def test_all_that_is_wrong_is_told_at_once_but_a_job_that_there_is_not_goes_first(http, held_job):
    wrong = {"wait": "soon", "redirect": "perhaps"}
    found = problem(http.get(f"/v1/jobs/{held_job['id']}", params=wrong), 422, "input.invalid")
    assert {tuple(e["loc"]) for e in found["errors"]} == {("wait",), ("redirect",)}
    problem(http.get("/v1/jobs/job_0", params=wrong), 404, "input.not_found")


# -- failures ----------------------------------------------------------------------------------


async def served(app):
    """Give what is sent of an app's answer, and what is raised to the server."""
    sent, raised = [], None

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    try:
        await Problems(app)(scope, None, send)
    except ZeroDivisionError as error:
        raised = error
    return sent, raised


@pytest.mark.anyio
async def test_a_bug_is_answered_with_a_problem_and_told_to_the_server():
    async def buggy(scope, receive, send):
        _ = 1 / 0

    sent, raised = await served(buggy)
    assert sent[0]["status"] == 500
    assert json.loads(sent[1]["body"])["code"] == "internal.error"
    assert raised


@pytest.mark.anyio
async def test_nothing_is_sent_behind_an_answer_that_broke_off():
    async def breaking(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        _ = 1 / 0

    sent, raised = await served(breaking)
    assert len(sent) == 1
    assert raised
