"""Jobs: submit, poll, wait, list, page, cancel, delete."""

import gzip
import json

import pytest

from tests.api.answers import done, errors, problem, results


@pytest.fixture
def job(http):
    return done(http.post("/v1/compress?wait=20", files={"file": ("a", b"content")}))


def test_a_poll_shows_the_whole_job(http, job):
    polled = http.get(job["links"]["self"])
    assert polled.json() == job
    assert job["progress"] == 1
    assert job["started_at"] <= job["finished_at"] < job["expires_at"]
    [item] = job["items"]
    assert (item["index"], item["attempt"], item["size_bytes"]) == (0, 1, 7)
    assert item["facts"]["compress"]["format"] == "gzip"
    assert "Retry-After" not in polled.headers


def test_an_unfinished_job_says_when_to_ask_again(http, held_job):
    polled = http.get(held_job["links"]["self"])
    assert polled.status_code == 200
    assert int(polled.headers["Retry-After"]) > 0
    assert (polled.json()["status"], polled.json()["done"]) == ("running", False)


def test_an_unchanged_job_is_304_without_a_body(http, job):
    etag = http.get(job["links"]["self"]).headers["ETag"]
    for given in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = http.get(job["links"]["self"], headers={"If-None-Match": given})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == etag
    other = http.get(job["links"]["self"], headers={"If-None-Match": '"other"'})
    assert other.json() == job


def test_a_wait_with_if_none_match_ends_at_the_first_change(http, hostile):
    urls = [f"{hostile.url}/held", f"{hostile.url}/ok"]
    where = http.post("/v1/fetch", json={"urls": urls}).headers["Location"]
    seen, progress, under_way = None, 0.0, 0
    while progress < 0.5 or not under_way:
        headers = {"If-None-Match": seen} if seen else {}
        polled = http.get(where, params={"wait": 20 if seen else 0}, headers=headers)
        assert polled.status_code == 200
        assert polled.headers["ETag"] != seen
        seen, progress = polled.headers["ETag"], polled.json()["progress"]
        under_way = polled.json()["counts"]["running"]
    unchanged = http.get(where, params={"wait": 0.05}, headers={"If-None-Match": seen})
    assert unchanged.status_code == 304
    hostile.let_go()
    changed = http.get(where, params={"wait": 20}, headers={"If-None-Match": seen})
    assert (changed.status_code, changed.json()["done"]) == (200, True)


def test_a_wait_for_a_change_that_has_been_already_does_not_wait(http, held_job):
    stale = {"If-None-Match": '"0"'}
    polled = http.get(held_job["links"]["self"], params={"wait": 20}, headers=stale)
    assert (polled.status_code, polled.json()["done"]) == (200, False)
    assert polled.elapsed.total_seconds() < 10


def test_a_wait_ends_when_the_job_does(http, held_job, hostile):
    short = http.get(held_job["links"]["self"], params={"wait": 0.05})
    assert not short.json()["done"]
    hostile.let_go()
    waited = http.get(held_job["links"]["self"], headers={"Prefer": "wait=20"})
    assert done(waited)["counts"]["succeeded"] == 2
    assert waited.headers["Preference-Applied"] == "wait=20"


def test_a_job_can_be_polled_straight_to_its_result(http, job, held_job):
    found = http.get(job["links"]["self"], params={"redirect": True})
    assert found.status_code == 303
    assert gzip.decompress(http.get(found.headers["Location"]).content) == b"content"
    assert http.get(held_job["links"]["self"], params={"redirect": True}).status_code == 200


# -- lists -------------------------------------------------------------------------------------


def test_the_list_pages_newest_first_by_tag(http):
    made = [
        done(http.post("/v1/compress?wait=20&tag=paged", content=b"%d" % n))["id"] for n in range(5)
    ]
    found, cursor = [], None
    while not found or cursor:
        asked = {"tag": "paged", "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = http.get("/v1/jobs", params=asked).json()
        assert len(page["jobs"]) <= 2
        assert all(job["items"] is None for job in page["jobs"])
        found += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
    assert found == made[::-1]


def test_the_list_is_filtered_by_status(http, job, held_job):
    running = http.get("/v1/jobs", params={"status": "running"}).json()["jobs"]
    assert held_job["id"] in [job["id"] for job in running]
    assert {job["status"] for job in running} == {"running"}
    succeeded = http.get("/v1/jobs", params={"status": "succeeded", "limit": 200}).json()["jobs"]
    assert job["id"] in [job["id"] for job in succeeded]
    assert {job["status"] for job in succeeded} == {"succeeded"}


def test_items_page_in_input_order_and_are_filtered(http, origin):
    urls = [f"{origin}/{n}" if n % 3 else f"{origin}/none" for n in range(25)]
    job = done(http.post("/v1/fetch?wait=20", json={"urls": urls}), "partial")
    assert job["items"] is None
    found, cursor = [], None
    while not found or cursor:
        asked = {"limit": 10} | ({"cursor": cursor} if cursor else {})
        page = http.get(job["links"]["items"], params=asked).json()
        found += page["items"]
        cursor = page["next_cursor"]
    assert [(item["index"], item["url"]) for item in found] == list(enumerate(urls))
    failed = http.get(job["links"]["items"], params={"status": "failed"}).json()["items"]
    assert [item["index"] for item in failed] == list(range(0, 25, 3))
    assert {item["error"]["code"] for item in failed} == {"fetch.status"}


# -- the end of a job --------------------------------------------------------------------------


def test_cancel_ends_what_is_unfinished_and_keeps_what_is_done(http, hostile):
    urls = [f"{hostile.url}/ok", f"{hostile.url}/held"]
    job = http.post("/v1/fetch", json={"urls": urls}).json()
    items = job["links"]["items"]
    while not http.get(items, params={"status": "succeeded"}).json()["items"]:
        pass
    hostile.wait_for(requests=1)
    canceled = http.post(job["links"]["cancel"]).json()
    assert (canceled["status"], canceled["done"]) == ("canceled", True)
    assert [item["status"] for item in canceled["items"]] == ["succeeded", "canceled"]
    assert len(results(http, canceled)) == 1
    hostile.let_go()
    again = http.post(job["links"]["cancel"])
    assert (again.status_code, again.json()) == (200, canceled)


def test_cancel_leaves_a_job_that_is_done_as_it_is(http, job):
    assert http.post(job["links"]["cancel"]).json() == job


def test_a_deleted_job_is_gone_with_its_files(http, job):
    files = [job["items"][0]["file_id"], job["items"][0]["results"][0]["id"]]
    assert all(http.get(f"/v1/files/{file}").status_code == 200 for file in files)
    deleted = http.delete(job["links"]["self"])
    assert (deleted.status_code, deleted.content) == (204, b"")
    for path in (job["links"]["self"], job["links"]["items"], job["links"]["events"]):
        problem(http.get(path), 404, "input.not_found")
    for file in files:
        problem(http.get(f"/v1/files/{file}"), 404, "input.not_found")
        problem(http.get(f"/v1/files/{file}/content"), 404, "input.not_found")
    problem(http.delete(job["links"]["self"]), 404, "input.not_found")


def test_a_job_can_be_deleted_while_it_runs(http, held_job):
    assert http.delete(held_job["links"]["self"]).status_code == 204
    problem(http.get(held_job["links"]["self"]), 404, "input.not_found")


# -- the general door --------------------------------------------------------------------------


def test_items_pass_through_all_steps(http, origin, photo, stored):
    steps = [
        {"op": "fetch", "retries": 0},
        {"op": "image", "width": 80, "height": 60, "format": "webp"},
        {"op": "compress", "format": "gzip", "level": 9},
    ]
    items = [{"url": f"{origin}/photo.jpg", "filename": "p.jpg"}, {"file_id": stored["id"]}]
    asked = {"items": items, "steps": steps, "tag": "chain", "metadata": {"a": 1}}
    job = done(http.post("/v1/jobs?wait=20", json=asked), "partial")
    assert errors(job) == [None, "image.unsupported"]
    [(name, content)] = results(http, job)
    assert name == "p.webp.gz"
    assert gzip.decompress(content)[8:12] == b"WEBP"
    facts = job["items"][0]["facts"]
    assert set(facts) == {"fetch", "image", "compress"}
    assert facts["fetch"]["size_bytes"] == len(photo)
    assert (facts["image"]["width_px"], facts["image"]["height_px"]) == (80, 60)
    assert facts["image"]["source_width_px"] == 1600
    assert facts["compress"]["level"] == 9
    assert (job["tag"], job["metadata"]) == ("chain", {"a": 1})


def test_a_form_brings_the_job_and_its_files_wherever_the_part_stands(http, stored):
    document = json.dumps({"items": [{"file_id": stored["id"]}], "steps": [{"op": "compress"}]})
    files = [("a", ("a.txt", b"a")), ("b", ("b.txt", b"b"))]
    first = http.post("/v1/jobs?wait=20", data={"job": document}, files=files)
    names = ["ten.txt.gz", "a.txt.gz", "b.txt.gz"]
    assert [name for name, _ in results(http, done(first))] == names
    last = http.post("/v1/jobs?wait=20", files=[*files, ("job", (None, document))])
    assert [name for name, _ in results(http, done(last))] == names


def test_urls_without_steps_are_only_fetched(http, origin):
    job = done(http.post("/v1/jobs?wait=20", json={"items": [{"url": f"{origin}/5"}]}))
    assert results(http, job) == [("5", b"page 5")]


def test_the_same_key_gives_the_same_job_here_too(http, stored):
    asked = {"items": [{"file_id": stored["id"]}], "steps": [{"op": "compress"}]}
    key = {"Idempotency-Key": "jobs"}
    first, again = (http.post("/v1/jobs", json=asked, headers=key).json() for _ in range(2))
    assert first["id"] == again["id"]
    other = asked | {"metadata": {"a": 1}}
    problem(http.post("/v1/jobs", json=other, headers=key), 422, "input.idempotency")


def test_errors_in_steps_are_located(http):
    steps = [{"op": "compress"}, {"op": "image", "width": 0}]
    asked = {"items": [{"url": "http://x"}], "steps": steps}
    found = problem(http.post("/v1/jobs", json=asked), 422, "input.invalid")
    assert found["detail"].startswith("`steps.1.width`")
    assert [error["loc"] for error in found["errors"]] == [["steps", 1, "width"]]
    steps[1] = {"op": "resize"}
    found = problem(http.post("/v1/jobs", json=asked), 422, "input.invalid")
    assert [error["loc"] for error in found["errors"]] == [["steps", 1, "op"]]
    assert "`compress`, `decompress`, `extract`, `fetch`, `image`, `inspect`" in found["detail"]


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"items": [{"file_id": "file_0"}]}, 400, "input.missing"),
        ({"items": [{"file_id": "file_0"}], "steps": [{"op": "fetch"}]}, 400, "input.missing"),
        (
            {"items": [{"file_id": "file_0"}], "steps": [{"op": "compress"}]},
            404,
            "input.not_found",
        ),
        (
            {"items": [{"url": "http://x"}], "steps": [{"op": "compress"}, {"op": "fetch"}]},
            422,
            "input.invalid",
        ),
        ({"steps": [{"op": "compress"}]}, 400, "input.missing"),
        ({"items": [{"url": "http://x"}], "steps": [{}]}, 422, "input.invalid"),
        (
            {"items": [{"url": "http://x"}], "steps": [{"op": "compress"}] * 11},
            422,
            "input.invalid",
        ),
        ({"items": [{"url": "http://x"}], "priority": 1}, 422, "input.invalid"),
        ({"items": [{"url": "http://x", "file_id": "file_0"}]}, 422, "input.invalid"),
        ({"items": ["http://x"]}, 422, "input.invalid"),
    ],
)
def test_a_job_that_cannot_be_done_is_refused(http, asked, status, code):
    problem(http.post("/v1/jobs", json=asked), status, code)
