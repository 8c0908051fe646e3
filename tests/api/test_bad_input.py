"""Everything that a client can get wrong: refused with a reason, and nothing is left behind."""

import socket
import struct
import zlib

import pytest

from tests.api.answers import answer_on, connect, eventually, head, problem, talk

MIB = 1 << 20
LIMIT = 8 * MIB
BOUNDARY = "multipart/form-data; boundary=b"
JSON = "application/json"
A_FILE = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx\r\n'
END = b"--b--\r\n"


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(service, http):
    yield
    blobs = service.data_dir / "blobs"
    for folder in (blobs / "work").glob("*/"):
        eventually(http, lambda folder=folder: not list(folder.iterdir()))
    assert http.get("/readyz").status_code == 200


def field(name, value=b"x", *headers):
    lines = [f'Content-Disposition: form-data; name="{name}"', *headers]
    return b"--b\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + value + b"\r\n"


def png_header(width, height):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    )


# What is asked, with which body of which type, and the status and code of the answer.
TABLE = {
    "an empty JSON body": ("POST /v1/fetch", b"", JSON, 400, "input.empty"),
    "a blank JSON body": ("POST /v1/fetch", b" \n", JSON, 400, "input.empty"),
    "no file in the form": (
        "POST /v1/compress", field("level", b"1") + END, BOUNDARY, 400, "input.missing"),
    "no file in the form to store": (
        "POST /v1/files", field("a") + END, BOUNDARY, 400, "input.missing"),
    "a file input left empty": (
        "POST /v1/compress",
        b'--b\r\nContent-Disposition: form-data; name="f"; filename=""\r\n\r\n\r\n' + END,
        BOUNDARY, 400, "input.missing"),
    "two files to store": ("POST /v1/files", A_FILE + A_FILE + END, BOUNDARY, 422, "limit.items"),
    "JSON to store": ("POST /v1/files", b"{}", JSON, 415, "input.unsupported"),
    "a file to the fetch door": ("POST /v1/fetch", b"x", None, 415, "input.unsupported"),
    "an unknown format": ("POST /v1/compress?format=rar", b"x", None, 422, "input.invalid"),
    "an unknown option": ("POST /v1/compress?quality=1", b"x", None, 422, "input.invalid"),
    "an unknown field": (
        "POST /v1/compress", A_FILE + field("quality") + END, BOUNDARY, 422, "input.invalid"),
    "a level out of range": ("POST /v1/compress?level=10", b"x", None, 422, "input.invalid"),
    "a level that is endless": (
        "POST /v1/compress?level=" + "9" * 5000, b"x", None, 422, "input.invalid"),
    "a width of zero": ("POST /v1/images?width=0", b"x", None, 422, "input.invalid"),
    "an option that lacks another": ("POST /v1/images?fit=cover", b"x", None, 422, "input.invalid"),
    "a wait that is no number": ("POST /v1/compress?wait=nan", b"x", None, 422, "input.invalid"),
    "a wait below zero": ("POST /v1/compress?wait=-1", b"x", None, 422, "input.invalid"),
    "a tag too long": ("POST /v1/compress?tag=" + "x" * 101, b"x", None, 422, "input.invalid"),
    "a tag too long in a field": (
        "POST /v1/compress", A_FILE + field("tag", b"x" * 101) + END, BOUNDARY,
        422, "input.invalid"),
    "a form without a boundary": (
        "POST /v1/compress", A_FILE + END, "multipart/form-data", 400, "input.malformed"),
    "a boundary too long": (
        "POST /v1/compress", A_FILE + END, "multipart/form-data; boundary=" + "b" * 5000,
        400, "input.malformed"),
    "a form that is none": ("POST /v1/compress", b"nothing", BOUNDARY, 400, "input.malformed"),
    "a form that is empty": ("POST /v1/compress", b"", BOUNDARY, 400, "input.malformed"),
    "a form cut before its closing boundary": (
        "POST /v1/compress", A_FILE, BOUNDARY, 400, "input.malformed"),
    "a form cut within a file": (
        "POST /v1/compress", A_FILE + A_FILE[:-4], BOUNDARY, 400, "input.malformed"),
    "a form cut within a header": (
        "POST /v1/compress", A_FILE + A_FILE[:20], BOUNDARY, 400, "input.malformed"),
    "a part without Content-Disposition": (
        "POST /v1/compress", b"--b\r\nContent-Type: a/b\r\n\r\nx\r\n" + END, BOUNDARY,
        400, "input.malformed"),
    "a part without a name": (
        "POST /v1/compress",
        b'--b\r\nContent-Disposition: form-data; filename="f"\r\n\r\nx\r\n' + END, BOUNDARY,
        400, "input.malformed"),
    "a part with too many headers": (
        "POST /v1/compress", field("a", b"x", *(f"X-{n}: 1" for n in range(100))) + END,
        BOUNDARY, 400, "input.malformed"),
    "a part with a header too large": (
        "POST /v1/compress", field("a", b"x", "X: " + "x" * 100_000) + END, BOUNDARY,
        400, "input.malformed"),
    "a part whose header never ends": (
        "POST /v1/compress", b"--b\r\n" + b"X" * 100_000, BOUNDARY, 400, "input.malformed"),
    "too many files": ("POST /v1/compress", A_FILE * 51 + END, BOUNDARY, 422, "limit.items"),
    "too many fields": (
        "POST /v1/compress", b"".join(field(f"f{n}") for n in range(1001)) + END, BOUNDARY,
        422, "limit.items"),
    "a huge field": (
        "POST /v1/compress", A_FILE + field("format", b"x" * (MIB + 1)) + END, BOUNDARY,
        413, "limit.body"),
    "a field that is no text": (
        "POST /v1/compress", A_FILE + field("format", b"\xff") + END, BOUNDARY,
        422, "input.invalid"),
    "a field with two values": (
        "POST /v1/compress", A_FILE + field("level", b"1") + field("level", b"2") + END, BOUNDARY,
        422, "input.invalid"),
    "malformed JSON": ("POST /v1/fetch", b'{"urls": [', JSON, 400, "input.malformed"),
    "JSON with more behind it": ("POST /v1/fetch", b"{} {}", JSON, 400, "input.malformed"),
    "JSON that is not UTF-8": ("POST /v1/fetch", b'{"a": "\xff"}', JSON, 400, "input.malformed"),
    "JSON with half a surrogate": (
        "POST /v1/fetch", rb'{"urls": ["\ud800"]}', JSON, 400, "input.malformed"),
    "JSON too deep": (
        "POST /v1/fetch", b'{"metadata": {"a": ' + b"[" * 100_000, JSON, 400, "input.malformed"),
    "JSON with an endless number": (
        "POST /v1/fetch", b'{"metadata": {"a": ' + b"9" * 5000 + b"}}", JSON,
        400, "input.malformed"),
    "a JSON array": ("POST /v1/fetch", b"[]", JSON, 422, "input.invalid"),
    "a JSON null": ("POST /v1/jobs", b"null", JSON, 422, "input.invalid"),
    "URLs that are a string": ("POST /v1/fetch", b'{"urls": "x"}', JSON, 422, "input.invalid"),
    "a URL that is a number": ("POST /v1/fetch", b'{"urls": [1]}', JSON, 422, "input.invalid"),
    "a URL object with more": (
        "POST /v1/fetch", b'{"urls": [{"url": "x", "method": "PUT"}]}', JSON,
        422, "input.invalid"),
    "a tag that is a number": (
        "POST /v1/fetch", b'{"urls": ["x"], "tag": 1}', JSON, 422, "input.invalid"),
    "metadata that is a string": (
        "POST /v1/fetch", b'{"urls": ["x"], "metadata": "x"}', JSON, 422, "input.invalid"),
    "metadata too large": (
        "POST /v1/fetch", b'{"urls": ["x"], "metadata": {"a": "%s"}}' % (b"x" * 17_000), JSON,
        422, "input.invalid"),
    "no inputs": ("POST /v1/fetch", b"{}", JSON, 400, "input.missing"),
    "a number of bytes beyond everything": (
        "POST /v1/fetch", b'{"urls": ["x"], "max_bytes": 1%s}' % (b"0" * 23), JSON,
        400, "input.malformed"),
    "the same in the query": (
        "POST /v1/fetch?max_bytes=1" + "0" * 23, b'{"urls": ["x"]}', JSON, 422, "input.invalid"),
    "the same of one URL": (
        "POST /v1/fetch", b'{"urls": [{"url": "x", "max_bytes": %d}]}' % 2**62, JSON,
        422, "input.invalid"),
    "a ratio beyond everything": (
        "POST /v1/decompress?max_ratio=1e308", b"x", None, 422, "input.invalid"),
    "a ratio that is infinite": (
        "POST /v1/decompress?max_ratio=inf", b"x", None, 422, "input.invalid"),
    "a ratio that is no number": (
        "POST /v1/decompress?max_ratio=nan", b"x", None, 422, "input.invalid"),
    "NaN in metadata": (
        "POST /v1/fetch", b'{"urls": ["x"], "metadata": {"a": [NaN]}}', JSON,
        400, "input.malformed"),
    "an infinity in metadata": (
        "POST /v1/fetch", b'{"urls": ["x"], "metadata": {"a": -Infinity}}', JSON,
        400, "input.malformed"),
    "a number in metadata that becomes infinite": (
        "POST /v1/fetch", b'{"urls": ["x"], "metadata": {"a": 1e999}}', JSON,
        400, "input.malformed"),
    "metadata too deep": (
        "POST /v1/fetch", b'{"urls": ["x"], "metadata": {"a": %s1%s}}' % (b"[" * 70, b"]" * 70),
        JSON, 400, "input.malformed"),
    "NaN in a form's variants": (
        "POST /v1/images", A_FILE + field("variants", b'[{"name": "a", "rotate": NaN}]') + END,
        BOUNDARY, 422, "input.invalid"),
    "a label in JSON that is too deep": (
        "POST /v1/compress", A_FILE + field("webhook", b'{"url":' * 3000) + END, BOUNDARY,
        422, "input.invalid"),
    "half a surrogate in a key": (
        "POST /v1/fetch", rb'{"urls": ["x"], "metadata": {"\udc00": 1}}', JSON,
        400, "input.malformed"),
    "10,001 URLs": (
        "POST /v1/fetch", b'{"urls": [%s]}' % b",".join([b'"http://x/"'] * 10_001), JSON,
        422, "limit.items"),
    "a stored file that is not there": (
        "POST /v1/compress", b'{"file_ids": ["file_0"]}', JSON, 404, "input.not_found"),
    "a job that is a raw body": ("POST /v1/jobs", b"x", "image/png", 415, "input.unsupported"),
    "a job without a type": ("POST /v1/jobs", b"x", None, 415, "input.unsupported"),
    "a form without a job": ("POST /v1/jobs", A_FILE + END, BOUNDARY, 400, "input.missing"),
    "a form with a job and more": (
        "POST /v1/jobs", field("job", b"{}") + field("a") + END, BOUNDARY, 422, "input.invalid"),
    "a form with a job that is no JSON": (
        "POST /v1/jobs", field("job", b"{") + A_FILE + END, BOUNDARY, 400, "input.malformed"),
    "an unknown job": ("GET /v1/jobs/job_0", None, None, 404, "input.not_found"),
    "an unknown job's items": ("GET /v1/jobs/job_0/items", None, None, 404, "input.not_found"),
    "an unknown job's events": ("GET /v1/jobs/job_0/events", None, None, 404, "input.not_found"),
    "an unknown job to cancel": ("POST /v1/jobs/job_0/cancel", None, None, 404, "input.not_found"),
    "an unknown job to delete": ("DELETE /v1/jobs/job_0", None, None, 404, "input.not_found"),
    "an unknown file": ("GET /v1/files/file_0", None, None, 404, "input.not_found"),
    "an unknown file's content": (
        "GET /v1/files/file_0/content", None, None, 404, "input.not_found"),
    "an unknown file to delete": ("DELETE /v1/files/file_0", None, None, 404, "input.not_found"),
    "an id with a NUL": ("GET /v1/jobs/job_%00", None, None, 404, "input.not_found"),
    "a file id with a NUL": ("GET /v1/files/%00/content", None, None, 404, "input.not_found"),
    "an id that is not UTF-8": ("GET /v1/files/%ff%fe", None, None, 404, "input.not_found"),
    "an id that is endless": (
        "GET /v1/files/" + "x" * 15_000, None, None, 404, "input.not_found"),
    "an id with SQL": ("GET /v1/jobs/'%20OR%201=1--", None, None, 404, "input.not_found"),
    "an id that climbs": (
        "GET /v1/files/..%2f..%2f..%2fetc%2fpasswd/content", None, None,
        404, "input.no_such_path"),
    "an id that is two dots": ("GET /v1/files/%2e%2e/content", None, None, 404, "input.not_found"),
    "a name that climbs": (
        "PUT /v1/files/..%2f..%2fx", b"x", None, 404, "input.no_such_path"),
    "a name that climbs and is to be kept": (
        "PUT /v1/files/..%2f..%2fx?paths=keep", b"x", None, 422, "input.invalid"),
    "a cursor of the client's own": ("GET /v1/jobs?cursor=x", None, None, 422, "input.invalid"),
    "a cursor below zero": ("GET /v1/jobs?cursor=-1", None, None, 422, "input.invalid"),
    "a cursor too large": (
        "GET /v1/jobs?cursor=" + "9" * 30, None, None, 422, "input.invalid"),
    "a cursor of foreign digits": ("GET /v1/jobs?cursor=%D9%A3", None, None, 422, "input.invalid"),
    "a limit of zero": ("GET /v1/jobs?limit=0", None, None, 422, "input.invalid"),
    "a limit too large": ("GET /v1/jobs?limit=201", None, None, 422, "input.invalid"),
    "a status there is not": ("GET /v1/jobs?status=done", None, None, 422, "input.invalid"),
    "an unknown path": ("GET /v2/nothing", None, None, 404, "input.no_such_path"),
    "an unknown operation": ("POST /v1/resize", b"x", None, 404, "input.no_such_path"),
    "a wrong method": ("GET /v1/compress", None, None, 405, "input.method"),
    "a raw body by PUT to the fetch door": ("PUT /v1/fetch", b"x", None, 405, "input.method"),
    "a method nobody has": ("PROPFIND /v1/jobs", None, None, 405, "input.method"),
    "what is no picture": (
        "POST /v1/images?wait=20&redirect=1", b"no picture", None, 415, "image.unsupported"),
    "a picture too large by its header": (
        "POST /v1/images?wait=20&redirect=1&width=9", png_header(50_000, 50_000), None,
        422, "limit.pixels"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_what_is_wrong_is_refused_with_its_reason(http, case):
    request, content, kind, status, code = TABLE[case]
    method, url = request.split(" ")
    headers = {"Content-Type": kind} if kind else {}
    problem(http.request(method, url, content=content, headers=headers), status, code)


@pytest.mark.parametrize("coding", ["gzip", "br", "gzip, identity"])
def test_a_coded_body_is_refused(http, coding):
    for url, kind in (("compress", "text/plain"), ("compress", BOUNDARY), ("fetch", JSON)):
        headers = {"Content-Encoding": coding, "Content-Type": kind}
        response = http.post(f"/v1/{url}", content=b"\x1f\x8b", headers=headers)
        problem(response, 415, "input.unsupported")


def test_a_bad_idempotency_key_is_refused(http):
    for key in ("", "x" * 256):
        response = http.post("/v1/compress", content=b"x", headers={"Idempotency-Key": key})
        problem(response, 422, "input.invalid")


@pytest.mark.parametrize("last", ["x", "1", "1-", "-1-2", "9" * 30 + "-1", "1-2-3"])
def test_an_event_id_that_was_never_given_out_is_refused(http, last):
    job = http.post("/v1/compress", content=b"x").headers["Location"]
    response = http.get(f"{job}/events", headers={"Last-Event-ID": last})
    problem(response, 422, "input.invalid")


def test_a_cut_picture_is_refused_as_damaged(http, photo):
    cut = photo[: len(photo) // 2]
    response = http.post("/v1/images?wait=20&redirect=true&width=90", content=cut)
    problem(response, 422, "image.unreadable")


def test_a_range_outside_the_file_is_refused(http, stored):
    response = http.get(stored["href"], headers={"Range": "bytes=10-"})
    problem(response, 416, "input.range")


def test_every_error_of_a_document_is_located(http):
    urls = [{"url": "http://x", "filename": ""}, {"headers": 5}]
    found = problem(http.post("/v1/fetch", json={"urls": urls}), 422, "input.invalid")
    assert len(found["errors"]) > 1
    assert all(error["loc"][0] == "urls" for error in found["errors"])


def test_values_are_not_repeated_to_the_client(http):
    asked = {"urls": [{"url": "http://x", "headers": {"Authorization": ["hunter2"]}}]}
    response = http.post("/v1/fetch", json=asked)
    problem(response, 422, "input.invalid")
    assert "hunter2" not in response.text


# -- too large ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/compress", "/v1/files", "/v1/files/named"])
def test_a_body_declared_too_large_is_refused_before_it_is_sent(service, path):
    method = "PUT" if path.endswith("named") else "POST"
    waits = head(method, path, f"Content-Length: {LIMIT + 1}", "Expect: 100-continue")
    found = problem(talk(service.url, waits), 413, "limit.body")
    assert found["max_bytes"] == LIMIT


@pytest.mark.parametrize("kind", ["text/plain", BOUNDARY, JSON])
def test_a_client_that_has_begun_to_send_can_read_why_it_is_refused(service, kind):
    begins = head("POST", "/v1/compress", f"Content-Length: {1 << 40}", f"Content-Type: {kind}")
    with connect(service.url) as connection:
        connection.sendall(begins)
        for _ in range(4):
            connection.sendall(bytes(MIB))
        problem(answer_on(connection), 413, "limit.body")


def test_a_client_that_sends_everything_before_it_reads_can_read_why(http):
    problem(http.post("/v1/compress", content=bytes(2 * LIMIT)), 413, "limit.body")


def test_a_file_of_a_form_over_the_limit_is_refused(http):
    files = {"file": bytes(LIMIT + 1)}
    problem(http.post("/v1/compress", files=files), 413, "limit.body")


@pytest.mark.parametrize("kind", ["text/plain", BOUNDARY])
def test_a_chunked_body_is_refused_at_the_byte_too_many(service, kind):
    begins = head("POST", "/v1/compress", "Transfer-Encoding: chunked", f"Content-Type: {kind}")
    with connect(service.url) as connection:
        connection.sendall(begins)
        if kind == BOUNDARY:
            first = A_FILE.removesuffix(b"x\r\n")
            connection.sendall(b"%x\r\n%s\r\n" % (len(first), first))
        for _ in range(LIMIT // MIB + 2):  # never the last chunk
            connection.sendall(b"%x\r\n%s\r\n" % (MIB, bytes(MIB)))
        problem(answer_on(connection), 413, "limit.body")


def test_exactly_the_limit_is_taken(http):
    assert http.post("/v1/files", content=bytes(LIMIT)).status_code == 201


def test_many_files_that_are_too_large_together_are_refused(http):
    files = [("f", (f"{n}", bytes(3 * MIB))) for n in range(4)]
    problem(http.post("/v1/compress", files=files), 413, "limit.body")


def test_a_document_too_large_is_refused(service):
    begins = head("POST", "/v1/fetch", f"Content-Length: {17 * MIB}", f"Content-Type: {JSON}")
    problem(talk(service.url, begins), 413, "limit.body")


# -- slow and gone -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "begun"),
    [("text/plain", b"some"), (BOUNDARY, A_FILE[:-3]), (JSON, b'{"urls"'), ("text/plain", b"")],
    ids=["raw", "form", "JSON", "before its first byte"],
)
def test_a_body_that_stalls_is_cut_off(service, kind, begun):
    begins = head("POST", "/v1/compress", "Content-Length: 999", f"Content-Type: {kind}")
    found = problem(talk(service.url, begins + begun), 408, "input.incomplete")
    assert found["retryable"]


def test_a_chunked_body_that_stalls_is_cut_off(service):
    begins = head("POST", "/v1/compress", "Transfer-Encoding: chunked")
    problem(talk(service.url, begins + b"4\r\nsome\r\n"), 408, "input.incomplete")


def incoming(service):
    return list((service.data_dir / "blobs" / "work").glob("*/*"))


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_a_client_that_goes_away_leaves_nothing(service, http, how):
    with connect(service.url) as connection:
        connection.sendall(head("POST", "/v1/compress", f"Content-Length: {LIMIT}"))
        connection.sendall(bytes(3 * MIB))
        eventually(http, lambda: incoming(service))
        if how == "resets":
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    eventually(http, lambda: not incoming(service))


def test_a_client_that_half_closes_is_told_or_dropped_and_leaves_nothing(service, http):
    with connect(service.url) as connection:
        connection.sendall(head("POST", "/v1/compress", f"Content-Length: {LIMIT}"))
        connection.sendall(bytes(3 * MIB))
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100)[:12] in (b"", b"HTTP/1.1 408")
    eventually(http, lambda: not incoming(service))


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /livez HTTP/9\r\n\r\n",
        head("POST", "/v1/compress", "Content-Length: -5"),
        head("POST", "/v1/compress", "Content-Length: 3", "Transfer-Encoding: chunked")
        + b"0\r\n\r\n",
        head("POST", "/v1/compress", "Transfer-Encoding: chunked") + b"zz\r\n",
    ],
    ids=["TLS", "version", "negative length", "two lengths", "chunk size"],
)
def test_what_is_not_http_gets_no_more_than_a_400(service, garbage):
    with connect(service.url) as connection:
        connection.sendall(garbage)
        assert connection.recv(1000)[:12] in (b"", b"HTTP/1.1 400")
