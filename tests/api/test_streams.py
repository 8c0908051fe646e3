"""NDJSON: very many URLs in one request, written down as they arrive."""

import json

import pytest

from tests.api.answers import done, errors, problem, results

LINES = ("application/x-ndjson", "text/plain")
HEADERS = {"Content-Type": "application/x-ndjson"}


def lines(*given):
    return "".join(json.dumps(line) + "\n" for line in given).encode()


def post(http, body, path="/v1/fetch?wait=20", **headers):
    return http.post(path, content=body, headers=HEADERS | headers)


def test_lines_are_strings_or_objects_and_make_one_job(http, hostile):
    body = lines(
        f"{hostile.url}/ok",
        {"url": f"{hostile.url}/echo", "headers": {"X-Mine": "1"}, "filename": "b.txt"},
        {"url": f"{hostile.url}/ok", "digest": "0" * 64},
        {"url": f"{hostile.url}/ok", "max_bytes": 1},
        "not a url",
    )
    job = done(post(http, body), "partial")
    assert errors(job) == [None, None, "fetch.digest", "fetch.too_large", "fetch.url"]
    (_, second) = results(http, job)
    assert second[0] == "b.txt"
    assert b"x-mine: 1" in second[1].lower()


def test_more_lines_than_json_may_have_in_input_order(http, origin):
    urls = [f"{origin}/{n % 1000}" for n in range(1500)]
    job = done(post(http, lines(*urls), "/v1/fetch?wait=60&dedupe=true&tag=many"))
    assert (job["counts"]["total"], job["counts"]["succeeded"], job["tag"]) == (1500, 1500, "many")
    page = http.get(f"/v1/jobs/{job['id']}/items?limit=1000").json()
    rest = http.get(f"/v1/jobs/{job['id']}/items?limit=1000&cursor={page['next_cursor']}").json()
    items = page["items"] + rest["items"]
    assert [item["url"] for item in items] == urls
    assert all(len(item["results"]) == 1 for item in items)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\r\n  \n"])
def test_the_last_line_needs_no_end_and_empty_lines_are_none(http, origin, end):
    body = f'\n"{origin}/1"\r\n\n"{origin}/2"'.encode() + end
    assert done(post(http, body))["counts"]["total"] == 2


def test_a_body_may_come_in_pieces_that_cut_lines_and_characters(http, hostile):
    body = lines({"url": f"{hostile.url}/ok", "filename": "é€.txt"}, f"{hostile.url}/ok")
    body = body.replace(rb"\u00e9\u20ac", "é€".encode())
    job = done(post(http, (body[n : n + 1] for n in range(len(body)))))
    assert [name for name, _ in results(http, job)] == ["é€.txt", "ok"]


def test_a_long_list_for_one_slow_host_leaves_slots_to_others(http, hostile, origin):
    body = lines(*[f"{hostile.url}/held?{n}" for n in range(300)])
    job = post(http, body, "/v1/fetch").json()
    hostile.wait_for(requests=16)
    done(http.post("/v1/fetch?wait=20", json={"urls": [f"{origin}/{n}" for n in range(100)]}))
    counts = http.get(f"/v1/jobs/{job['id']}").json()["counts"]
    assert (counts["running"], counts["queued"]) == (32, 268)
    http.delete(f"/v1/jobs/{job['id']}")


def test_the_general_door_takes_lines_with_the_document_beside(http, origin):
    document = {
        "steps": [{"op": "fetch", "retries": 0}, {"op": "compress", "format": "zstd"}],
        "tag": "t",
        "metadata": {"a": [1]},
    }
    response = http.post(
        "/v1/jobs",
        params={"job": json.dumps(document), "wait": 20},
        content=lines(f"{origin}/1", f"{origin}/2"),
        headers=HEADERS,
    )
    job = done(response)
    assert [step["op"] for step in job["steps"]] == ["fetch", "compress"]
    assert (job["tag"], job["metadata"]) == ("t", {"a": [1]})
    assert [name for name, _ in results(http, job)] == ["1.zst", "2.zst"]
    assert done(post(http, lines(f"{origin}/1"), "/v1/jobs?wait=20"))["steps"][0]["op"] == "fetch"


def test_a_body_without_a_line_is_refused(http):
    for kind in LINES:
        problem(post(http, b"", **{"Content-Type": kind}), 400, "input.empty")
        problem(post(http, b"\n \n", **{"Content-Type": kind}), 400, "input.missing")


DEEP = b"[" * 999 + b"]" * 999

BROKEN = [
    (b"http://b/", 400, "input.malformed", "is not valid JSON"),
    (b'{"url": "http://a/"', 400, "input.malformed", "not valid JSON"),
    (b'{"url": 1}', 422, "input.invalid", "`url`"),
    (b'{"link": "http://a/"}', 422, "input.invalid", "`url`"),
    (b'{"url": "http://a/", "digest": "x"}', 422, "input.invalid", "`digest`"),
    (b'{"url": "http://a/", "max_bytes": 1e999}', 400, "input.malformed", "too large"),
    (b'{"url": "http://a/", "max_bytes": %d}' % 10**23, 400, "input.malformed", "digits"),
    (b'{"url": "http://a/", "headers": {"A": %s}}' % DEEP, 400, "input.malformed", "deep"),
    (b'"\\ud800"', 400, "input.malformed", "not valid JSON"),
    (b"[]", 422, "input.invalid", "no string and no object"),
    (b"7", 422, "input.invalid", "no string and no object"),
    (b"NaN", 400, "input.malformed", "not valid JSON"),
    (b'"\xff"', 400, "input.malformed", "not valid JSON"),
    (b'"' + b"x" * 70_000 + b'"', 400, "input.malformed", "longer than"),
    (b'"' + b"x" * 300_000, 400, "input.malformed", "longer than"),
]


def test_each_line_that_means_nothing_is_an_item_that_fails_in_its_place(http, origin):
    body = b"".join(b'"%s/%d"\n\n%s\n' % (origin.encode(), n, b[0]) for n, b in enumerate(BROKEN))
    job = done(post(http, body), "partial")
    items = http.get(f"/v1/jobs/{job['id']}/items").json()["items"]
    assert len(items) == 2 * len(BROKEN)
    for n, (good, bad) in enumerate(zip(items[::2], items[1::2], strict=True)):
        assert (good["status"], good["url"]) == ("succeeded", f"{origin}/{n}")
        _, status, code, said = BROKEN[n]
        error = bad["error"]
        assert (bad["status"], bad["url"], error["status"]) == ("failed", None, status)
        assert (error["code"], error["line"]) == (code, 2 * n + 2)
        assert error["detail"].startswith(f"Line {2 * n + 2}: ")
        assert said in error["detail"]


@pytest.mark.parametrize(("line", "status", "code", "said"), BROKEN)
def test_where_the_first_failure_ends_all_a_broken_line_refuses_the_whole(
    http, line, status, code, said
):
    good = b"".join(b'"http://127.0.0.1:1/%d"\n' % n for n in range(1200))
    before = http.get("/v1/jobs").json()
    for head in (b"", good):
        found = problem(post(http, head + line, "/v1/fetch?on_error=fail"), status, code)
        assert said in found["detail"]
        assert found["line"] == head.count(b"\n") + 1
    assert http.get("/v1/jobs").json() == before


def test_a_job_of_broken_lines_alone_fails_and_fails_again(http):
    job = done(post(http, b"x\n" * 3), "failed")
    again = http.post(f"/v1/jobs/{job['id']}/retry").json()
    job = done(http.get(f"/v1/jobs/{again['id']}?wait=20"), "failed")
    assert errors(job) == ["input.malformed"] * 3
    assert [item["error"]["line"] for item in job["items"]] == [1, 2, 3]


def test_twins_of_broken_lines_are_broken_themselves(http, origin):
    body = b'{\n{\n"%s/1"\n"%s/1"\n' % (origin.encode(), origin.encode())
    job = done(post(http, body, "/v1/fetch?wait=20&dedupe=true"), "partial")
    assert errors(job) == ["input.malformed", "input.malformed", None, None]


@pytest.mark.parametrize("path", ["/v1/fetch?wait=20", "/v1/jobs?wait=20"])
def test_plain_text_has_one_url_a_line(http, origin, path):
    body = f"\ufeff{origin}/1\r\n\n  {origin}/2\nno url\n{origin}/3".encode() + b"\n\xff"
    job = done(post(http, body, path, **{"Content-Type": "text/plain; charset=utf-8"}), "partial")
    assert [item["url"] for item in job["items"][:2]] == [f"{origin}/1", f"{origin}/2"]
    assert errors(job) == [None, None, "fetch.url", None, "input.malformed"]
    assert job["items"][4]["error"]["line"] == 5


def test_a_byte_order_mark_is_skipped(http, origin):
    bom = "\ufeff".encode()
    body = bom + lines(f"{origin}/1", {"url": f"{origin}/2"})
    assert done(post(http, (body[n : n + 1] for n in range(len(body)))))["counts"]["succeeded"] == 2
    document = bom + json.dumps({"urls": [f"{origin}/1"]}).encode()
    for body in (document, document + b" " * 100_000):
        response = post(http, body, **{"Content-Type": "application/json"})
        assert done(response)["counts"]["succeeded"] == 1


def test_options_and_labels_are_checked_before_the_body(http):
    for path in ("/v1/fetch?retries=99", "/v1/fetch?nonsense=1", f"/v1/fetch?tag={'x' * 101}"):
        problem(post(http, lines("http://127.0.0.1:1/"), path), 422, "input.invalid")
    for document in ("[]", '{"items": []}', '{"steps": [{"op": "nope"}]}'):
        response = http.post(
            "/v1/jobs", params={"job": document}, content=lines("http://x/"), headers=HEADERS
        )
        problem(response, 422, "input.invalid")
    problem(http.post("/v1/jobs?job={}", json={"items": []}), 422, "input.invalid")


def test_a_coded_body_is_not_read(http):
    response = post(http, lines("http://127.0.0.1:1/"), **{"Content-Encoding": "gzip"})
    problem(response, 415, "input.unsupported")


def test_the_same_key_gives_the_same_job(http, origin):
    body, key = lines(f"{origin}/1", f"{origin}/2"), {"Idempotency-Key": "stream-1"}
    first, again = done(post(http, body, **key)), done(post(http, body, **key))
    assert first["id"] == again["id"]
    problem(post(http, lines(f"{origin}/1"), **key), 422, "input.idempotency")


def test_other_doors_take_lines_as_the_file_that_they_are(http):
    [(name, _)] = results(http, done(post(http, lines("http://x/"), "/v1/compress?wait=20")))
    assert name == "upload.gz"
