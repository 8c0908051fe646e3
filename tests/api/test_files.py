"""Files: stored, looked at, downloaded whole and in pieces, deleted."""

import base64
import hashlib
import socket

import pytest

from tests.api.answers import answer_on, connect, done, head, problem

CONTENT = bytes(range(256)) * 10


@pytest.fixture
def file(http):
    response = http.put("/v1/files/data.bin", content=CONTENT)
    assert response.status_code == 201
    assert response.headers["Location"] == f"/v1/files/{response.json()['id']}"
    return response.json()


def get(http, file, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.get(file["href"], headers=named)


@pytest.mark.parametrize("how", ["form", "raw", "named"])
def test_a_file_is_stored_in_every_way(http, how):
    response = {
        "form": lambda: http.post("/v1/files", files={"file": ("a.bin", CONTENT)}),
        "raw": lambda: http.post("/v1/files?filename=a.bin", content=CONTENT),
        "named": lambda: http.put("/v1/files/a.bin", content=CONTENT),
    }[how]()
    file = response.json()
    assert (response.status_code, file["name"], file["size_bytes"]) == (201, "a.bin", 2560)
    assert file["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert http.get(response.headers["Location"]).json() == file


def test_stored_files_are_listed_newest_first(http, file):
    newer = http.put("/v1/files/b.bin", content=CONTENT).json()
    first = http.get("/v1/files?limit=1").json()
    assert first["files"] == [newer]
    second = http.get("/v1/files", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert second["files"] == [file]
    problem(http.get("/v1/files?cursor=x"), 422, "input.invalid")
    problem(http.get("/v1/files?limit=0"), 422, "input.invalid")


def test_the_media_type_is_of_what_is_no_text_is_by_content_alone(http, photo):
    claimed = {"file": ("a.html", photo, "text/html")}
    file = http.post("/v1/files", files=claimed).json()
    assert file["media_type"] == "image/jpeg"
    assert get(http, file).headers["Content-Type"] == "image/jpeg"


CSS = b"body { color: red }"


@pytest.mark.parametrize(
    ("store", "media_type"),
    [
        (lambda http: http.post("/v1/files", files={"file": ("a.css", CSS, "")}), "text/css"),
        (lambda http: http.post("/v1/files", files={"file": ("a", CSS, "text/css")}), "text/css"),
        (lambda http: http.put("/v1/files/a.css", content=CSS), "text/css"),
        (lambda http: http.put("/v1/files/a.js", content=CSS), "text/javascript"),
        (
            lambda http: http.post(
                "/v1/files", content=CSS, headers={"Content-Type": "text/css; charset=utf-8"}
            ),
            "text/css",
        ),
        (lambda http: http.put("/v1/files/a", content=b"<!DOCTYPE html>"), "text/plain"),
        (lambda http: http.put("/v1/files/a.html", content=b"<!DOCTYPE html>"), "text/html"),
    ],
)
def test_a_text_is_what_the_client_calls_it(http, store, media_type):
    file = store(http).json()
    assert file["media_type"] == media_type
    answer = get(http, file)
    assert answer.headers["Content-Type"].partition(";")[0] == media_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Content-Security-Policy"].endswith("sandbox")


def test_the_whole_file_comes_with_its_digest(http, file):
    response = get(http, file)
    assert (response.status_code, response.content) == (200, CONTENT)
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert response.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert response.headers["ETag"] == f'"{file["sha256"]}"'
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Content-Length"] == "2560"


def test_a_large_input_of_a_job_is_a_file_without_a_sha256(http):
    content = CONTENT * 40
    item = http.put("/v1/compress/a.bin?wait=20", content=content).json()["items"][0]
    given = http.get(f"/v1/files/{item['file_id']}").json()
    assert (given["size_bytes"], given["sha256"]) == (102_400, None)
    response = get(http, given)
    assert (response.status_code, response.content) == (200, content)
    assert "Repr-Digest" not in response.headers
    again = http.get(given["href"], headers={"If-None-Match": response.headers["ETag"]})
    assert again.status_code == 304
    [made] = item["results"]
    assert made["sha256"] == hashlib.sha256(get(http, made).content).hexdigest()


def test_what_is_stored_can_do_no_harm_in_a_browser(http):
    page = b"<html><script>alert(1)</script></html>"
    headers = get(http, http.put("/v1/files/a.html", content=page).json()).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Content-Disposition"].startswith("attachment;")
    assert "private" in headers["Cache-Control"]


def test_a_raw_file_is_stored_by_post_and_by_put_with_a_name_in_the_path_or_without(http):
    for method in ("POST", "PUT"):
        for path in ("/v1/files/a.txt", "/v1/files?filename=a.txt"):
            response = http.request(method, path, content=b"content")
            assert response.status_code == 201, (method, path)
            stored = response.json()
            assert (stored["name"], stored["size_bytes"]) == ("a.txt", 7)
            assert response.headers["Location"] == f"/v1/files/{stored['id']}"


def test_a_form_that_stores_a_file_says_nothing_else(http):
    sent = {"files": {"file": b"x"}, "data": {"tag": "mine"}}
    found = problem(http.post("/v1/files", **sent), 422, "input.invalid")
    assert found["detail"] == "`tag` is not known here: this form has one file."


def test_head_says_the_same_without_the_bytes(http, file):
    head, whole = http.head(file["href"]), get(http, file)
    assert (head.status_code, head.content) == (200, b"")
    dated = {"date", "x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in dated} == {
        k: v for k, v in whole.headers.items() if k not in dated
    }
    assert http.head("/v1/files/file_0/content").status_code == 404


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("0-0", 0, 0), ("100-299", 100, 299), ("2500-", 2500, 2559), ("-60", 2500, 2559),
     ("2500-99999", 2500, 2559), ("-99999", 0, 2559)],
)  # fmt: skip
def test_a_range_is_given_alone(http, file, asked, first, last):
    response = get(http, file, Range=f"bytes={asked}")
    assert (response.status_code, response.content) == (206, CONTENT[first : last + 1])
    assert response.headers["Content-Range"] == f"bytes {first}-{last}/2560"
    assert "Repr-Digest" in response.headers  # of the whole, whatever part was asked for


def test_several_ranges_are_parts_of_one_answer(http, file):
    response = get(http, file, Range="bytes=0-3,-4")
    assert response.status_code == 206
    kind, _, boundary = response.headers["Content-Type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    parts = response.content.split(f"--{boundary}".encode())[1:-1]
    found = [part.partition(b"\r\n\r\n") for part in parts]
    assert [content[:-2] for _, _, content in found] == [CONTENT[:4], CONTENT[-4:]]
    assert b"Content-Range: bytes 2556-2559/2560" in found[1][0]


@pytest.mark.parametrize("asked", ["2560-", "99999-100000", "-0"])
def test_a_range_that_lies_outside_is_a_problem_that_says_the_size(http, file, asked):
    response = get(http, file, Range=f"bytes={asked}")
    found = problem(response, 416, "input.range")
    assert (response.headers["Content-Range"], found["size_bytes"]) == ("bytes */2560", 2560)


@pytest.mark.parametrize(
    "asked",
    ["bytes", "bytes=", "bytes=x-y", "bytes=5-2", "lines=1-2", "bytes=-", "0-5",
     "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 400, 2))],
)  # fmt: skip
def test_a_range_that_makes_no_sense_is_as_good_as_none(http, file, asked):
    response = get(http, file, Range=asked)
    assert (response.status_code, response.content) == (200, CONTENT)


def test_if_range_gives_the_range_of_the_same_file_and_else_the_whole(http, file):
    same = f'"{file["sha256"]}"'
    dated = get(http, file).headers["Last-Modified"]
    statuses = [
        get(http, file, Range="bytes=0-3", If_Range=given).status_code
        for given in (same, dated, '"other"', f"W/{same}")
    ]
    assert statuses == [206, 206, 200, 200]


def test_if_none_match_is_304(http, file):
    same = f'"{file["sha256"]}"'
    for given in (same, "*", f'"x", W/{same}'):
        response = get(http, file, If_None_Match=given)
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["ETag"] == same
    assert get(http, file, If_None_Match='"x"').status_code == 200


def test_if_match_is_412_for_another_file(http, file):
    problem(get(http, file, If_Match='"other"'), 412, "input.precondition")
    assert get(http, file, If_Match=f'"{file["sha256"]}"').status_code == 200


HOSTILE_NAMES = {
    'say "hi".txt': 'say "hi".txt',
    "new\r\nSet-Cookie: a=b": "newSet-Cookie: a=b",
    "../../etc/passwd": "passwd",
    "C:\\Windows\\system.ini": "system.ini",
    "/etc/passwd": "passwd",
    "..": "upload",
    "\x00nul\x1b[31m": "nul[31m",
    "päth € 😀.txt": "päth € 😀.txt",
    "right\u202eleft": "rightleft",
    "100%41;a=b.txt": "100%41;a=b.txt",
    "a; filename*=utf-8''b": "a; filename*=utf-8''b",
    "x" * 300 + ".txt": ("x" * 300 + ".txt")[-255:],
}


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_a_name_is_data_and_never_a_path_or_a_header(http, name):
    file = http.post("/v1/files", params={"filename": name}, content=b"x").json()
    assert file["name"] == HOSTILE_NAMES[name]
    response = get(http, file)
    assert "Set-Cookie" not in response.headers
    disposition = response.headers["Content-Disposition"]
    assert disposition.isascii()
    assert disposition.isprintable()
    stored_again = http.post(
        "/v1/files", headers={"Content-Disposition": disposition}, content=b"x"
    )
    assert stored_again.json()["name"] == file["name"]


def test_a_name_in_a_form_is_cleaned_too(http):
    body = (
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="..\\\\..\\\\a\x00b/../c.txt"'
        b"\r\n\r\nx\r\n--b--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert http.post("/v1/files", content=body, headers=kind).json()["name"] == "c.txt"


def test_an_extended_name_in_a_form_is_understood(http):
    body = (
        b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename*=utf-8''%C3%A4.txt"
        b"\r\n\r\nx\r\n--b--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert http.post("/v1/files", content=body, headers=kind).json()["name"] == "ä.txt"


def test_a_client_that_expects_100_continue_gets_it(service):
    with connect(service.url) as connection:
        connection.sendall(head("PUT", "/v1/files/a", "Content-Length: 1", "Expect: 100-continue"))
        goes_on = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert connection.recv(len(goes_on), socket.MSG_WAITALL) == goes_on
        connection.sendall(b"x")
        assert answer_on(connection).status_code == 201


def test_a_deleted_file_is_gone_and_jobs_keep_what_they_need(http, file):
    job = done(http.post("/v1/compress?wait=20", json={"file_ids": [file["id"]]}))
    assert http.delete(f"/v1/files/{file['id']}").status_code == 204
    problem(http.get(f"/v1/files/{file['id']}"), 404, "input.not_found")
    problem(get(http, file), 404, "input.not_found")
    problem(http.delete(f"/v1/files/{file['id']}"), 404, "input.not_found")
    assert get(http, job["items"][0]["results"][0]).status_code == 200


def test_a_file_of_a_job_goes_with_its_job_only(http):
    job = done(http.post("/v1/compress?wait=20", content=b"x"))
    file = job["items"][0]["results"][0]
    found = problem(http.delete(f"/v1/files/{file['id']}"), 409, "input.conflict")
    assert job["id"] in found["detail"]
    assert get(http, file).status_code == 200
