"""Digests that come with a body are checked on every road; of another body nothing is kept."""

import base64
import hashlib
import json
import zlib

import pytest

from tests.api.answers import done, problem

NDJSON = {"content-type": "application/x-ndjson"}
JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=b"}


def field(algorithm, content):
    digest = hashlib.new(algorithm.replace("-", ""), content).digest()
    return f"{algorithm}=:{base64.b64encode(digest).decode()}:"


def md5(content):
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def form(content, *part_headers, name="a.txt"):
    head = [f'Content-Disposition: form-data; name="file"; filename="{name}"', *part_headers]
    return b"--b\r\n" + "\r\n".join(head).encode() + b"\r\n\r\n" + content + b"\r\n--b--\r\n"


def content(marker, size_bytes=100):
    return marker.encode().ljust(size_bytes, b".")


def is_stored(service, given):
    stored = (service.data_dir / "blobs" / "objects").rglob("*")
    return any(path.read_bytes() == given for path in stored if path.is_file())


def newest_job(http):
    jobs = http.get("/v1/jobs?limit=1").json()["jobs"]
    return jobs[0]["id"] if jobs else None


LINE = {"url": "http://127.0.0.1:1/"}


def document(**said):
    return json.dumps(said).encode()


ROADS = {
    # How a body comes, the body of a file's content, and its headers.
    "raw to store": ("POST", "/v1/files", lambda c: c, {}),
    "raw to store by name": ("PUT", "/v1/files/a.txt", lambda c: c, {}),
    "raw at a door": ("POST", "/v1/compress", lambda c: c, {}),
    "raw at a door by name": ("PUT", "/v1/compress/a.txt", lambda c: c, {}),
    "a form": ("POST", "/v1/compress", form, FORM),
    "a form to store": ("POST", "/v1/files", form, FORM),
    "a document": (
        "POST", "/v1/fetch", lambda c: document(urls=[LINE], tag=c.decode()), JSON),
    "a general document": (
        "POST", "/v1/jobs", lambda c: document(items=[LINE], steps=[], tag=c.decode()), JSON),
    "lines": ("POST", "/v1/fetch", lambda c: document(**LINE, filename=c.decode()), NDJSON),
}  # fmt: skip
FIELDS = {
    "Content-Digest": lambda given: field("sha-256", given),
    "Repr-Digest": lambda given: field("sha-512", given),
    "Content-MD5": md5,
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("road", ROADS)
def test_another_body_than_announced_is_refused_and_leaves_nothing(service, http, road, name):
    method, path, body_of, headers = ROADS[road]
    given = content(f"refused {road} {name}")
    before = newest_job(http)
    sent = headers | {name: FIELDS[name](body_of(given) + b"x")}
    told = problem(
        http.request(method, path, content=body_of(given), headers=sent), 400, "input.digest"
    )
    assert told["field"] == name
    assert newest_job(http) == before
    if "form" not in road:
        assert not is_stored(service, given)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("road", ROADS)
def test_the_announced_body_is_taken(http, road, name):
    method, path, body_of, headers = ROADS[road]
    body = body_of(content(f"taken {road} {name}"))
    sent = headers | {name: FIELDS[name](body)}
    answer = http.request(method, path, content=body, headers=sent)
    assert answer.status_code in (201, 202), answer.text


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512", "sha", "md5"])
@pytest.mark.parametrize("size_bytes", [1, 64 << 10, 3 << 20])
def test_each_algorithm_is_checked_at_each_size(service, http, algorithm, size_bytes):
    given = content(f"sized {algorithm} {size_bytes}", size_bytes)[-size_bytes:]
    name = algorithm if algorithm != "sha" else "sha1"

    def said(what):
        digest = hashlib.new(name.replace("-", ""), what).digest()
        return {"Content-Digest": f"{algorithm}=:{base64.b64encode(digest).decode()}:"}

    answer = http.post("/v1/files", content=given, headers=said(given + b"x"))
    told = problem(answer, 400, "input.digest")
    assert told["received"] == said(given)["Content-Digest"]
    assert http.post("/v1/files", content=given, headers=said(given)).status_code == 201


def test_every_digest_must_hold(http):
    given = b"both"
    wrong = f"{field('sha-256', given)}, {field('sha-512', b'other')}"
    answer = http.post("/v1/files", content=given, headers={"Content-Digest": wrong})
    problem(answer, 400, "input.digest")
    lines = [
        ("Content-Digest", field("sha-256", given)),
        ("Content-Digest", field("sha-512", b"x")),
    ]
    problem(http.post("/v1/files", content=given, headers=lines), 400, "input.digest")


def test_algorithms_that_are_not_known_are_ignored(http):
    given = b"given"
    others = f"crc32c=:{base64.b64encode(zlib.crc32(given).to_bytes(4, 'big')).decode()}:"
    others += ", blake9=1;a=2, unixsum=?1, " + field("sha-256", given) + ";parameter=1"
    answer = http.post("/v1/files", content=given, headers={"Content-Digest": others})
    assert answer.status_code == 201
    answer = http.post("/v1/files", content=given, headers={"Content-Digest": "crc32c=:AAAAAA==:"})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Digest", "sha-256=abc"),  # a token
        ("Content-Digest", 'sha-256="abc"'),
        ("Content-Digest", "sha-256=:AAAA:"),  # three bytes
        ("Content-Digest", "sha-256"),
        ("Content-Digest", "SHA-256=:AAAA:"),  # keys are lower case
        ("Content-Digest", field("sha-256", b"given") + ","),
        ("Content-Digest", hashlib.sha256(b"given").hexdigest()),
        ("Content-Digest", "\xe9=:AAAA:".encode("latin-1")),
        ("Repr-Digest", "sha-512=(:AAAA: :AAAA:)"),
        ("Content-MD5", "abc"),
        ("Content-MD5", hashlib.md5(b"given").hexdigest()),
        ("Content-MD5", f"{md5(b'given')}, {md5(b'given')}"),
    ],
)  # fmt: skip
def test_a_digest_that_cannot_be_read_is_refused(http, name, value):
    answer = http.post("/v1/files", content=b"given", headers={name: value})
    assert name in problem(answer, 400, "input.malformed")["detail"]
    if isinstance(value, str):
        part = form(b"given", f"{name}: {value}")
        told = problem(http.post("/v1/files", content=part, headers=FORM), 400, "input.malformed")
        assert name in told["detail"]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("size_bytes", [100, 3 << 20])
def test_a_part_is_checked_by_its_own_headers(service, http, name, size_bytes):
    given = content(f"part {name} {size_bytes}", size_bytes)
    wrong = form(given, f"{name}: {FIELDS[name](given + b'x')}")
    before = newest_job(http)
    problem(http.post("/v1/compress", content=wrong, headers=FORM), 400, "input.digest")
    assert newest_job(http) == before
    assert not is_stored(service, given)
    right = form(given, f"{name}: {FIELDS[name](given)}")
    done(http.post("/v1/compress?wait=20", content=right, headers=FORM))


def test_a_field_is_checked_by_its_own_headers(http):
    def asked(digest):
        head = f'--b\r\nContent-Disposition: form-data; name="format"\r\nContent-Digest: {digest}'
        return head.encode() + b"\r\n\r\nzstd\r\n" + form(b"given")

    wrong = asked(field("sha-256", b"gzip"))
    problem(http.post("/v1/compress", content=wrong, headers=FORM), 400, "input.digest")
    right = asked(field("sha-256", b"zstd"))
    assert http.post("/v1/compress", content=right, headers=FORM).status_code == 202


def test_what_follows_the_last_part_belongs_to_the_body(http):
    body = form(b"given") + b"an epilogue".ljust(1 << 20)
    answer = http.post("/v1/files", content=body, headers=FORM | {"Content-MD5": md5(body)})
    assert answer.status_code == 201
    answer = http.post(
        "/v1/files", content=body, headers=FORM | {"Content-MD5": md5(form(b"given"))}
    )
    problem(answer, 400, "input.digest")
