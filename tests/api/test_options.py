"""One option in several places: Swagger UI and generated clients send what they know from each."""

import json

import pytest

from tests.api.answers import done, problem

COMPRESS, IMAGES = "/v1/compress?wait=20", "/v1/images?wait=20"


def step(response):
    """Give the parameters of the only step that is no fetch."""
    [params] = [s["params"] for s in done(response)["steps"] if s["op"] != "fetch"]
    return params


def form(http, url, data, name="a.txt", content=b"x"):
    return http.post(url, files={"file": (name, content)}, data=data)


def two_values(response, name, *places):
    found = problem(response, 422, "input.invalid")
    where = (
        f"twice in the {places[0]}"
        if len(places) == 1
        else " and ".join(f"in the {place}" for place in places)
    )
    assert found["detail"] == f"`{name}` has two values: {where}. Give one."
    assert [error["loc"] for error in found["errors"]] == [[place, name] for place in places]


def test_what_is_said_the_same_in_two_places_is_said_once(http, stored):
    files = {"file_ids": [stored["id"]]}
    for answered in (
        http.post(f"{COMPRESS}&level=9&level=9", content=b"x"),
        form(http, COMPRESS, {"level": ["9", "9"]}),
        form(http, f"{COMPRESS}&level=9", {"level": "9"}),
        http.post(f"{COMPRESS}&level=9", json={**files, "level": 9}),
        http.post(f"{COMPRESS}&level=9", json={**files, "level": "9"}),
        form(http, f"{COMPRESS}&level=09", {"level": "9"}),
    ):
        assert step(answered)["level"] == 9


def test_all_defaults_in_both_places_are_as_good_as_none(http, photo):
    """As a client does that was generated from a description that has them in both."""
    operations = http.get("/v1/operations").json()["operations"]
    [image] = [o for o in operations if o["name"] == "image"]
    defaults = {
        name: json.dumps(said["default"]) if isinstance(said["default"], list) else said["default"]
        for name, said in image["params"]["properties"].items()
        if said.get("default") is not None
    }
    assert len(defaults) > 10
    query = {"wait": 20, **defaults}
    sent = http.post("/v1/images", params=query, files={"f": ("a.jpg", photo)}, data=defaults)
    plain = http.post(IMAGES, files={"f": ("a.jpg", photo)})
    assert step(sent) == step(plain)


def test_a_list_is_the_same_in_each_way_to_write_it(http, origin, stored):
    asked = {"file_ids": [stored["id"]], "digests": ["md5", "sha256"]}
    ways = ("digests=md5,sha256", "digests=md5&digests=sha256", 'digests=["md5","sha256"]')
    for way in ways:
        inspect = f"/v1/inspect?wait=20&{way}"
        for answered in (
            http.post(inspect, content=b"x"),
            http.post(inspect, json=asked),
            form(http, inspect, {"digests": "md5, sha256"}),
            form(http, inspect, {"digests": ["md5", "sha256"]}),
        ):
            assert step(answered)["digests"] == ["md5", "sha256"]


@pytest.mark.parametrize("label", ["tag", "webhook", "store"])
def test_a_label_may_be_in_the_query_and_in_the_body_if_it_is_the_same(http, stored, label):
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    value = {
        "tag": "mine",
        "webhook": {"url": "http://127.0.0.1:9/hook", "secret": secret},
        "store": {"put_url": "http://127.0.0.1:9/object"},
    }[label]
    text = value if isinstance(value, str) else json.dumps(value)
    document = {"file_ids": [stored["id"]], label: value}
    query = {"wait": 20, label: text}
    done(http.post("/v1/compress", params=query, json=document))
    done(http.post("/v1/compress", params=query, files={"f": ("a", b"x")}, data={label: text}))
    items = {"items": [{"file_id": stored["id"]}], "steps": [{"op": "inspect"}], label: value}
    done(http.post("/v1/jobs", params=query, json=items))
    for other in (None, ""):
        done(http.post("/v1/compress", params=query, json={**document, label: None}))
        data = {} if other is None else {label: other}
        done(http.post("/v1/compress", params=query, files={"f": ("a", b"x")}, data=data))


def test_two_values_are_refused_and_both_places_named(http, stored):
    files = {"file_ids": [stored["id"]]}
    two_values(http.post("/v1/compress?level=1&level=2", content=b"x"), "level", "query")
    two_values(form(http, "/v1/compress", {"level": ["1", "2"]}), "level", "form")
    two_values(form(http, "/v1/compress?level=1", {"level": "2"}), "level", "query", "form")
    answered = http.post("/v1/compress?level=1", json={**files, "level": 2})
    two_values(answered, "level", "query", "document")
    two_values(form(http, "/v1/compress?tag=a", {"tag": "b"}), "tag", "query", "form")
    two_values(form(http, "/v1/compress", {"tag": ["a", "b"]}), "tag", "form")
    answered = http.post("/v1/compress?tag=a", json={**files, "tag": "b"})
    two_values(answered, "tag", "query", "document")
    answered = form(http, "/v1/inspect?digests=md5", {"digests": "md5,sha1"})
    two_values(answered, "digests", "query", "form")
    job = json.dumps({"items": [{"file_id": stored["id"]}], "steps": [{"op": "inspect"}]})
    two_values(form(http, "/v1/jobs", {"job": [job, job + " "]}), "job", "form")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/v1/jobs?limit=1&limit=2", "limit"),
        ("/v1/jobs?status=failed&status=queued", "status"),
        ("/v1/webhooks/deliveries?job=a&job=b", "job"),
    ],
)
def test_no_route_takes_the_last_of_two_values(http, url, name):
    two_values(http.get(url), name, "query")
    assert http.get(url.partition("&")[0]).status_code == 200


def test_a_field_that_nobody_has_filled_in_is_as_good_as_absent(http, photo):
    operations = http.get("/v1/operations").json()["operations"]
    [image] = [o for o in operations if o["name"] == "image"]
    empty = dict.fromkeys([*image["params"]["properties"], "tag", "webhook", "store"], "")
    given = {**empty, "width": "8"}
    answered = form(http, f"{IMAGES}&format=png", given, "a.jpg", photo)
    assert step(answered).items() >= {"width": 8, "format": "png", "height": None}.items()
    answered = form(http, "/v1/images", {"widht": ""}, "a.jpg", photo)
    assert "widht" in problem(answered, 422, "input.invalid")["detail"]


def test_a_word_for_metadata_is_the_option_and_an_object_the_jobs_own(http, origin):
    asked = {"urls": [f"{origin}/photo.jpg"], "width": 8, "height": 8}
    assert step(http.post(IMAGES, json={**asked, "metadata": "keep"}))["metadata"] == "keep"
    job = done(http.post(f"{IMAGES}&metadata=keep", json={**asked, "metadata": {"order": 7}}))
    assert job["metadata"] == {"order": 7}
    assert job["steps"][-1]["params"]["metadata"] == "keep"
    answered = http.post("/v1/compress", json={"urls": asked["urls"], "metadata": "keep"})
    assert problem(answered, 422, "input.invalid")["detail"] == "`metadata` takes an object."
