"""The one-shot doors, each in every way that it can be called."""

import gzip
import io
import zlib

import pytest
from PIL import Image

from tests.api.answers import done, errors, problem, results


def picture(content):
    with Image.open(io.BytesIO(content)) as opened:
        return opened.format, opened.size


# -- ways to bring a file ----------------------------------------------------------------------


def test_a_form_with_a_file_makes_a_job_with_its_result(http, text):
    job = done(http.post("/v1/compress?wait=20", files={"file": ("a.log", text)}))
    [(name, content)] = results(http, job)
    assert (name, gzip.decompress(content)) == ("a.log.gz", text)


def test_several_files_of_a_form_are_one_job_with_results_in_their_order(http):
    files = [("any", (f"{n}.txt", b"content %d" % n)) for n in range(12)]
    job = done(http.post("/v1/compress?wait=20", files=files))
    assert [(name, gzip.decompress(content)) for name, content in results(http, job)] == [
        (f"{n}.txt.gz", b"content %d" % n) for n in range(12)
    ]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_raw_body_is_one_file(http, text, method):
    job = done(http.request(method, "/v1/compress?wait=20&filename=b.txt", content=text))
    [(name, content)] = results(http, job)
    assert (name, gzip.decompress(content)) == ("b.txt.gz", text)


@pytest.mark.parametrize("said", [b"a=1", b"a=1&level=9", b"a text", b"{}", b'{"a": 1}', b""])
def test_a_raw_body_of_a_form_encoded_type_is_a_file_too(http, said):
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    job = done(http.post("/v1/compress?wait=20", content=said, headers=kind))
    [(name, content)] = results(http, job)
    assert (name, gzip.decompress(content)) == ("upload.gz", said)


def test_a_raw_body_can_be_named_in_content_disposition(http):
    named = {"Content-Disposition": "attachment; filename*=UTF-8''%E2%82%AC.txt"}
    job = done(http.post("/v1/compress?wait=20", content=b"x", headers=named))
    assert job["items"][0]["results"][0]["name"] == "€.txt.gz"


def test_a_chunked_body_is_taken(http):
    job = done(http.post("/v1/compress?wait=20", content=(b"x" * 1000 for _ in range(1000))))
    [(_, content)] = results(http, job)
    assert gzip.decompress(content) == b"x" * 1_000_000


def test_putting_below_the_door_names_the_body_as_curl_does(http):
    job = done(http.put("/v1/compress/r%C3%A9sum%C3%A9.txt?wait=20", content=b"x"))
    assert job["items"][0]["results"][0]["name"] == "résumé.txt.gz"


def test_stored_files_are_inputs_without_travelling_again(http, stored):
    job = done(http.post("/v1/compress?wait=20", json={"file_ids": [stored["id"]] * 2}))
    assert [(n, gzip.decompress(c)) for n, c in results(http, job)] == [
        ("ten.txt.gz", b"0123456789")
    ] * 2


def test_urls_are_fetched_before_the_operation(http, origin, text):
    job = done(http.post("/v1/compress?wait=20", json={"urls": [f"{origin}/text"]}))
    [(name, content)] = results(http, job)
    assert (name, gzip.decompress(content)) == ("text.gz", text)
    assert [step["op"] for step in job["steps"]] == ["fetch", "compress"]


def test_urls_and_stored_files_go_into_one_job_urls_first(http, origin, stored):
    inputs = {"urls": [f"{origin}/7"], "file_ids": [stored["id"]]}
    job = done(http.post("/v1/compress?wait=20", json=inputs))
    contents = [gzip.decompress(content) for _, content in results(http, job)]
    assert contents == [b"page 7", b"0123456789"]


def test_an_empty_file_in_a_form_is_a_file(http):
    job = done(http.post("/v1/compress?wait=20", files={"file": ("none.txt", b"")}))
    [(name, content)] = results(http, job)
    assert (name, gzip.decompress(content)) == ("none.txt.gz", b"")


# -- options -----------------------------------------------------------------------------------


def test_options_come_from_the_query(http, text):
    job = done(http.post("/v1/compress?wait=20&format=zlib&level=9", content=text))
    [(name, content)] = results(http, job)
    assert (name, zlib.decompress(content)) == ("upload.zz", text)
    [step] = job["steps"]
    assert step["op"] == "compress"
    assert step["params"].items() >= {"format": "zlib", "level": 9}.items()


def test_options_come_from_fields_before_and_after_the_file(http, text):
    form = {"format": "deflate-raw", "level": "fast"}
    job = done(http.post("/v1/compress?wait=20", files={"file": text}, data=form))
    [(_, content)] = results(http, job)
    assert zlib.decompress(content, wbits=-15) == text
    boundary = {"Content-Type": "multipart/form-data; boundary=b"}
    body = (
        '--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx\r\n'
        '--b\r\nContent-Disposition: form-data; name="format"\r\n\r\nzstd\r\n--b--\r\n'
    )
    job = done(http.post("/v1/compress?wait=20", content=body, headers=boundary))
    assert job["steps"][0]["params"]["format"] == "zstd"


def test_options_come_from_json(http, stored):
    asked = {"file_ids": [stored["id"]], "format": "zstd", "level": 22}
    job = done(http.post("/v1/compress?wait=20", json=asked))
    assert job["steps"][0]["params"].items() >= {"format": "zstd", "level": 22}.items()


# -- images ------------------------------------------------------------------------------------


def test_a_picture_is_fitted_into_the_box(http, photo):
    files = {"file": ("photo.jpg", photo)}
    job = done(http.post("/v1/images?wait=20&width=800&height=600", files=files))
    [(name, content)] = results(http, job)
    assert (name, *picture(content)) == ("photo.jpg", "JPEG", (800, 600))


def test_a_picture_keeps_its_ratio_and_never_grows_unless_asked(http, photo):
    small = done(http.post("/v1/images?wait=20&width=800&height=300", content=photo))
    same = done(http.post("/v1/images?wait=20&width=9000&height=9000", content=photo))
    sizes = [picture(content)[1] for job in (small, same) for _, content in results(http, job)]
    assert sizes == [(400, 300), (1600, 1200)]


def test_pictures_come_from_urls_and_change_format(http, origin):
    asked = {"urls": [f"{origin}/photo.jpg"], "width": 64, "height": 64, "fit": "cover"}
    job = done(http.post("/v1/images?wait=20", json=asked | {"format": "webp"}))
    [(name, content)] = results(http, job)
    assert (name, *picture(content)) == ("photo.webp", "WEBP", (64, 64))


def test_what_is_no_picture_fails_beside_one_that_is(http, photo, text):
    files = [("a", ("a.jpg", text)), ("b", ("b.jpg", photo))]
    job = done(http.post("/v1/images?wait=20&width=8&height=8", files=files), "partial")
    assert errors(job) == ["image.unsupported", None]


# -- fetch -------------------------------------------------------------------------------------


def test_urls_come_as_strings_and_objects_and_results_in_input_order(http, origin):
    urls = [f"{origin}/{n}" for n in range(30)]
    urls[3] = {"url": urls[3], "filename": "three.txt", "headers": {"X-Test": "1"}}
    job = done(http.post("/v1/fetch?wait=20", json={"urls": urls}))
    assert job["items"] is None
    assert results(http, job) == [
        ("three.txt" if n == 3 else str(n), b"page %d" % n) for n in range(30)
    ]


def test_headers_of_a_url_reach_its_origin(http, hostile):
    asked = {"url": f"{hostile.url}/echo", "headers": {"X-Mine": "secret"}}
    job = done(http.post("/v1/fetch?wait=20", json={"urls": [asked]}))
    assert b"x-mine: secret" in results(http, job)[0][1].lower()


def test_a_given_file_name_is_only_ever_a_name(http, origin):
    asked = {"url": f"{origin}/1", "filename": "../..\\evil\r\nSet-Cookie: a=b"}
    job = done(http.post("/v1/fetch?wait=20", json={"urls": [asked]}))
    assert job["items"][0]["results"][0]["name"] == "evilSet-Cookie: a=b"


def test_a_bad_url_fails_alone_and_says_why(http, hostile):
    bad = {
        f"{hostile.url}/404": "fetch.status",
        f"{hostile.url}/short": "fetch.truncated",
        f"{hostile.url}/to-neighbour": "fetch.forbidden",
        f"{hostile.url}/to-metadata": "fetch.forbidden",
        f"{hostile.url}/to-file": "fetch.forbidden",
        f"{hostile.url}/loop": "fetch.redirects",
        "http://127.0.0.2/": "fetch.forbidden",
        "http://10.0.0.1/": "fetch.forbidden",
        "http://169.254.169.254/latest/meta-data/": "fetch.forbidden",
        "http://[::ffff:169.254.169.254]/": "fetch.forbidden",
        "file:///etc/passwd": "fetch.forbidden",
        "gopher://127.0.0.1/": "fetch.forbidden",
        "http://user:secret@127.0.0.1/": "fetch.url",
        "not a url": "fetch.url",
        "": "fetch.url",
    }
    urls = [f"{hostile.url}/ok", *bad, f"{hostile.url}/gzip"]
    asked = {"urls": urls, "retries": 0}
    job = done(http.post("/v1/fetch?wait=20", json=asked), "partial")
    assert dict(zip(urls, errors(job), strict=True)) == {**dict.fromkeys(urls), **bad}
    assert job["counts"] == {
        "total": len(urls), "succeeded": 2, "failed": len(bad),
        "queued": 0, "running": 0, "canceled": 0,
    }  # fmt: skip


def test_an_empty_url_fails_as_a_url_at_every_door(http):
    for door in ("compress", "images", "fetch"):
        job = done(http.post(f"/v1/{door}?wait=20", json={"urls": [""]}), "failed")
        assert errors(job) == ["fetch.url"]


def test_options_of_fetch_tighten_the_limits_of_the_service(http, origin):
    asked = {"urls": [f"{origin}/text", f"{origin}/1"]}
    job = done(http.post("/v1/fetch?wait=20&max_bytes=100", json=asked), "partial")
    assert errors(job) == ["fetch.too_large", None]


# -- how it is answered ------------------------------------------------------------------------


def test_without_a_wait_the_answer_is_202_and_says_where_to_look(http, held_job, hostile):
    response = http.post("/v1/fetch", json={"urls": [f"{hostile.url}/held"]})
    assert response.status_code == 202
    job = response.json()
    assert response.headers["Location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert int(response.headers["Retry-After"]) > 0
    assert not job["done"]
    hostile.let_go()
    done(http.get(response.headers["Location"], params={"wait": 20}))


def test_prefer_wait_is_applied_and_said_to_be(http):
    prefer = {"Prefer": "respond-async, wait=20"}
    response = http.post("/v1/compress", content=b"x", headers=prefer)
    done(response)
    assert response.headers["Preference-Applied"] == "wait=20"


def test_a_wait_that_is_too_short_ends_in_the_same_202(http, hostile):
    urls = {"urls": [f"{hostile.url}/held"]}
    response = http.post("/v1/fetch?wait=0.05", json=urls)
    assert response.status_code == 202
    assert response.headers["Location"] == f"/v1/jobs/{response.json()['id']}"
    assert "Preference-Applied" not in response.headers
    http.delete(response.headers["Location"])


def test_redirect_leads_straight_to_the_bytes(http, text):
    response = http.post("/v1/compress?wait=20&redirect=true", content=text)
    assert response.status_code == 303
    assert gzip.decompress(http.get(response.headers["Location"]).content) == text


@pytest.mark.parametrize("size_bytes", [5, 100_000])
def test_download_answers_with_the_bytes_themselves(http, size_bytes):
    content = bytes(range(256)) * (size_bytes // 256 + 1)
    response = http.post(
        "/v1/compress?wait=20&download=true&filename=a.bin",
        content=content,
        headers={"Range": "bytes=0-3"},
    )
    assert response.status_code == 200
    assert gzip.decompress(response.content) == content
    assert response.headers["Content-Disposition"] == 'attachment; filename="a.bin.gz"'
    assert response.headers["Content-Security-Policy"]
    again = http.get(response.headers["Content-Location"])
    assert again.content == response.content
    assert again.headers["Repr-Digest"] == response.headers["Repr-Digest"]
    [up] = response.links.values()
    assert http.get(up["url"], params={"download": True}).content == response.content


def test_download_and_redirect_exclude_each_other(http):
    answer = http.post("/v1/compress?download=true&redirect=true", content=b"x")
    problem(answer, 422, "input.invalid")


def test_download_of_a_failed_item_is_its_problem(http, hostile):
    urls = {"urls": [f"{hostile.url}/404"]}
    response = http.post("/v1/fetch?wait=20&download=true", json=urls)
    found = problem(response, 502, "fetch.status")
    assert found["http_status"] == 404


def test_download_of_several_items_says_where_the_job_is(http):
    files = [("any", (f"{n}.txt", b"x")) for n in range(2)]
    response = http.post("/v1/compress?wait=20&download=true", files=files)
    assert response.status_code == 409
    assert "`download` needs a job with one result" in response.json()["detail"]


def test_redirect_on_a_failed_item_answers_with_that_items_problem(http, hostile):
    urls = {"urls": [f"{hostile.url}/404"]}
    response = http.post("/v1/fetch?wait=20&redirect=true", json=urls)
    found = problem(response, 502, "fetch.status")
    [job] = http.get("/v1/jobs?limit=1").json()["jobs"]
    assert response.headers["Link"] == f'<{job["links"]["self"]}>; rel="up"'
    assert http.get(job["links"]["self"]).json()["items"][0]["error"] == found


def test_redirect_with_several_items_says_where_the_job_is(http):
    files = [("f", ("a", b"a")), ("f", ("b", b"b"))]
    response = http.post("/v1/compress?wait=20&redirect=true", files=files)
    where = problem(response, 409, "input.conflict")["job"]
    assert len(results(http, done(http.get(where)))) == 2


def test_redirect_before_the_end_is_the_usual_202(http, hostile):
    urls = {"urls": [f"{hostile.url}/held"]}
    response = http.post("/v1/fetch?wait=0&redirect=true", json=urls)
    assert response.status_code == 202
    http.delete(response.headers["Location"])


# -- labels and keys ---------------------------------------------------------------------------


def test_tag_and_metadata_come_back_as_they_came(http, stored):
    labels = {"tag": "nightly", "metadata": {"order": 7, "deep": [{"ü": None}]}}
    asked = {"file_ids": [stored["id"]], **labels}
    job = done(http.post("/v1/compress?wait=20", json=asked))
    assert {name: job[name] for name in labels} == labels


def test_a_tag_comes_in_the_query_of_every_kind_of_body_or_as_a_field(http, stored):
    tagged = [
        http.post("/v1/compress?wait=20&tag=mine", content=b"x"),
        http.put("/v1/compress/x?wait=20&tag=mine", content=b"x"),
        http.post("/v1/compress?wait=20&tag=mine", files={"f": b"x"}),
        http.post("/v1/compress?wait=20&tag=mine", json={"file_ids": [stored["id"]]}),
        http.post("/v1/compress?wait=20", files={"f": b"x"}, data={"tag": "mine"}),
    ]
    assert [done(response)["tag"] for response in tagged] == ["mine"] * 5


def test_the_same_key_with_the_same_request_gives_the_same_job(http):
    key = {"Idempotency-Key": "doors-replay"}
    first = http.post("/v1/compress?level=3", content=b"x", headers=key)
    again = http.post("/v1/compress?level=3&wait=20", content=b"x", headers=key)
    assert done(again)["id"] == first.json()["id"]
    assert again.headers["Location"] == first.headers["Location"]


def test_the_same_key_with_another_request_is_refused(http):
    key = {"Idempotency-Key": "doors-mismatch"}
    first = http.post("/v1/compress", content=b"x", headers=key)
    for other in (
        http.post("/v1/compress", content=b"y", headers=key),
        http.post("/v1/compress?level=1", content=b"x", headers=key),
        http.post("/v1/compress?filename=other", content=b"x", headers=key),
        http.post("/v1/compress?tag=other", content=b"x", headers=key),
        http.post("/v1/images", content=b"x", headers=key),
    ):
        problem(other, 422, "input.idempotency")
    http.delete(first.headers["Location"])
    freed = http.post("/v1/compress", content=b"y", headers=key)
    assert freed.status_code == 202
    assert freed.headers["Location"] != first.headers["Location"]


# -- what the Accept header says -----------------------------------------------------------------

BROWSER = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "query", "formats"),
    [
        ("*/*", "", ["keep"]),
        ("application/json", "", ["keep"]),
        ("image/*,*/*;q=0.8", "", ["keep"]),
        (BROWSER, "", ["keep", "webp", "avif"]),
        ("image/webp, */*", "", ["keep", "webp"]),
        ("image/webp;q=0, image/avif;q=0.0, */*", "", ["keep"]),
        ("IMAGE/WEBP; q=0.5", "", ["keep", "webp"]),
        (BROWSER, "&formats=png", ["png"]),
        (BROWSER, "&formats=keep", ["keep"]),
    ],
)
def test_formats_come_from_the_accept_header_where_they_are_not_said(http, accept, query, formats):
    content = io.BytesIO()
    Image.linear_gradient("L").save(content, "PNG", compress_level=0)
    answer = http.post(
        f"/v1/optimize?wait=20{query}", content=content.getvalue(), headers={"Accept": accept}
    )
    job = done(answer)
    assert job["steps"][0]["params"]["formats"] == formats
    made = {one["format"] for one in job["items"][0]["facts"]["optimize"]["candidates"]}
    assert made <= {"png" if name == "keep" else name for name in formats}


@pytest.mark.parametrize(
    ("accept", "query", "kind"),
    [
        ("*/*", "", "JPEG"),
        (BROWSER, "", "WEBP"),
        (BROWSER, "&auto_webp=needed", "JPEG"),
        ("image/png,image/*;q=0.8", "", "JPEG"),
    ],
)
def test_auto_heeds_the_accept_header(http, accept, query, kind):
    content = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(content, "PNG")
    url = f"/v1/images?wait=20&format=auto{query}"
    job = done(http.post(url, content=content.getvalue(), headers={"Accept": accept}))
    [(_, made)] = results(http, job)
    assert picture(made) == (kind, (64, 64))
