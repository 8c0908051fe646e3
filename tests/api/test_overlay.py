"""Watermarks over HTTP: how the second picture comes to the worker."""

import io
import json

import pytest
from PIL import Image

from tests.api.answers import done, errors, problem, results
from tests.ops.image_cases import RED, close, encoded, plain

BASE = encoded(plain(100, 60, (0, 0, 0)))
SPOT = encoded(plain(20, 10, RED))


@pytest.fixture
def mark(http):
    """A stored watermark."""
    return http.put("/v1/files/mark.png", content=SPOT).json()


def images(http, overlay, *, wait=20, **options):
    params = {"wait": wait, "overlay": json.dumps(overlay)} | options
    return http.put("/v1/images/photo.png", params=params, content=BASE)


def has_mark(content, at=(90, 55)):
    with Image.open(io.BytesIO(content)) as picture:
        return close(picture.convert("RGB").getpixel(at), RED, 40)


def test_a_stored_file_is_laid_on_every_item_by_every_road(http, mark):
    overlay = {"file_id": mark["id"]}
    job = done(images(http, overlay))
    [(_, content)] = results(http, job)
    assert has_mark(content)
    files = [("file", (f"{n}.png", BASE)) for n in range(3)]
    form = done(http.post("/v1/images?wait=20", files=files, data={"overlay": json.dumps(overlay)}))
    assert [has_mark(content) for _, content in results(http, form)] == [True] * 3
    base = http.put("/v1/files/base.png", content=BASE).json()
    document = {
        "items": [{"file_id": base["id"]}],
        "steps": [{"op": "image", "overlay": overlay | {"position": "northwest"}}],
    }
    [(_, content)] = results(http, done(http.post("/v1/jobs?wait=20", json=document)))
    assert has_mark(content, (5, 5))


def test_a_file_that_is_deleted_in_the_meantime_is_not_missed(http, hostile, mark):
    asked = {"urls": [f"{hostile.url}/held"], "overlay": {"file_id": mark["id"]}}
    job = http.post("/v1/images", json=asked).json()
    hostile.wait_for(requests=1)
    assert http.delete(f"/v1/files/{mark['id']}").status_code == 204
    hostile.let_go()
    job = done(http.get(f"{job['links']['self']}?wait=20"), "failed")
    assert errors(job) == ["image.unsupported"]  # what is held is no picture
    own = job["steps"][0 if job["steps"][0]["op"] == "image" else 1]["params"]["overlay"]["file_id"]
    assert own != mark["id"]
    assert http.get(f"/v1/files/{own}/content").content == SPOT


def test_a_file_that_is_not_there_is_422_at_once(http):
    found = problem(images(http, {"file_id": "file_0"}), 422, "input.invalid")
    assert "file_0" in found["detail"]


def test_a_url_is_fetched_once_for_the_job(http, hostile):
    files = [("file", (f"{n}.png", BASE)) for n in range(5)]
    asked = {"overlay": json.dumps({"url": f"{hostile.url}/mark.png", "scale": 0.2})}
    job = done(http.post("/v1/images?wait=20", files=files, data=asked))
    assert [has_mark(content) for _, content in results(http, job)] == [True] * 5
    assert hostile.paths().count("/mark.png") == 1
    # Another job asks anew: it may have changed.
    done(http.post("/v1/images?wait=20", files=files[:1], data=asked))
    assert hostile.paths().count("/mark.png") == 2


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("/404", "fetch.status", "a URL that a step names"),
        ("/ok", "image.unsupported", "the overlay"),
    ],
)
def test_what_is_wrong_with_a_url_fails_the_item(http, hostile, path, code, said):
    job = done(images(http, {"url": f"{hostile.url}{path}"}), "failed")
    [item] = job["items"]
    assert item["error"]["code"] == code
    assert said in item["error"]["detail"]


def test_a_failed_item_can_be_run_again(http, hostile):
    job = done(images(http, {"url": f"{hostile.url}/404"}), "failed")
    assert http.post(job["links"]["retry"]).status_code in (200, 202)
    again = done(http.get(f"/v1/jobs/{job['id']}?wait=20"), "failed")
    assert again["items"][0]["attempt"] == 2
    assert hostile.paths().count("/404") == 2


def test_the_guard_looks_at_the_url(http):
    problem(images(http, {"url": "http://169.254.169.254/mark.png"}), 403, "fetch.forbidden")
    problem(images(http, {"url": "ftp://example.com/mark.png"}), 403, "fetch.forbidden")


def test_the_overlay_is_part_of_what_an_idempotency_key_stands_for(http, mark):
    key = {"Idempotency-Key": "overlay-1"}

    def asked(overlay):
        params = {"overlay": json.dumps(overlay)}
        return http.put("/v1/images/photo.png", params=params, content=BASE, headers=key)

    first = asked({"file_id": mark["id"]})
    assert asked({"file_id": mark["id"]}).json()["id"] == first.json()["id"]
    problem(asked({"file_id": mark["id"], "opacity": 0.5}), 422, "input.idempotency")
