"""A service whose large bodies are in a bucket: the same answers, and what the bucket may do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest
import zlib_ng.zlib_ng as zlib

from app.blobs.base import BlobSettings, StorageSettings
from app.blobs.objects import ObjectBlobStore
from app.errors import StorageError
from tests.api.answers import done, errors, problem
from tests.outbound.test_remotes import remote
from tests.s3 import SECRET, bucket_of, s3_server, shared_s3, storage
from tests.service import Service, refused

MIB = 1 << 20
BUCKET = "s3://tests/service"
MEDIA = "s3://tests/media"
LARGE = random.Random(1).randbytes(9 * MIB)


def env(url: str, bucket: str = BUCKET) -> Mapping[str, str]:
    wanted = storage(url, bucket)
    return {
        "OFFLOAD_STORAGE_URL": bucket,
        "OFFLOAD_STORAGE_OPTIONS": wanted.model_dump_json(include={"options"})[11:-1],
        "OFFLOAD_STORAGE_RETRY_S": "5",
    }


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("bucket")
    wanted = {
        **env(shared_s3()),
        "OFFLOAD_REMOTES": json.dumps({"media": remote(shared_s3(), MEDIA)}),
    }
    with Service.started(folder / "data", wanted) as service:
        yield service


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client


def stored(http: httpx.Client, content: bytes) -> str:
    answer = http.post("/v1/files", content=content)
    assert answer.status_code == 201, answer.text
    return f"/v1/files/{answer.json()['id']}/content"


def test_what_is_stored_is_given_whole_and_in_parts(http: httpx.Client) -> None:
    path = stored(http, LARGE)
    whole = http.get(path)
    assert whole.content == LARGE
    assert whole.headers["content-length"] == str(len(LARGE))
    for asked, given in {
        "bytes=0-0": LARGE[:1],
        "bytes=5000000-5000099": LARGE[5_000_000:5_000_100],
        "bytes=-10": LARGE[-10:],
        f"bytes={4 * MIB - 5}-": LARGE[4 * MIB - 5 :],
    }.items():
        part = http.get(path, headers={"Range": asked})
        assert (part.status_code, part.content) == (206, given)
    several = http.get(path, headers={"Range": "bytes=0-9,8000000-8000009"})
    assert LARGE[8_000_000:8_000_010] in several.content
    assert several.headers["content-type"].startswith("multipart/byteranges")
    beyond = http.get(path, headers={"Range": f"bytes={len(LARGE)}-"})
    assert beyond.status_code == 416
    assert beyond.headers["content-range"] == f"bytes */{len(LARGE)}"
    head = http.head(path)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(LARGE)))


def test_work_reads_from_the_bucket_and_writes_to_it(http: httpx.Client) -> None:
    answer = http.post("/v1/compress?format=gzip&level=fast&wait=50", content=LARGE)
    [item] = done(answer)["items"]
    [result] = item["results"]
    made = http.get(f"/v1/files/{result['id']}/content").content
    assert zlib.decompress(made, 31) == LARGE
    assert result["sha256"] == hashlib.sha256(made).hexdigest()
    # Its result is the next one's input.
    again = http.post("/v1/decompress?wait=50", json={"file_ids": [result["id"]]})
    [item] = done(again)["items"]
    [back] = item["results"]
    assert http.get(f"/v1/files/{back['id']}/content").content == LARGE


def test_nothing_is_in_the_data_folder_but_the_records(
    service: Service, http: httpx.Client
) -> None:
    before = in_bucket(shared_s3())
    stored(http, LARGE)
    [new] = set(in_bucket(shared_s3())) - set(before)
    assert new.startswith("objects/")
    # But for what is kept near, which goes with the process.
    assert {path.name for path in (service.data_dir / "blobs").iterdir()} == {"work"}


def test_urls_may_be_objects_of_a_bucket_that_the_operator_named(
    service: Service, http: httpx.Client
) -> None:
    obstore.put(bucket_of(storage(shared_s3(), MEDIA)), "in/a b.bin", LARGE)
    urls = [f"{MEDIA}/in/a b.bin", f"{MEDIA}/in/none", "s3://tests/service/name"]
    answer = http.post("/v1/fetch?wait=50", json={"urls": urls})
    assert errors(done(answer, "partial")) == [None, "fetch.status", "fetch.remote"]
    [result] = answer.json()["items"][0]["results"]
    assert (result["name"], result["sha256"]) == ("a b.bin", hashlib.sha256(LARGE).hexdigest())
    # What opens a bucket is nowhere to be seen.
    for said in (answer.text, service.log.read_text()):
        assert SECRET not in said
        assert "X-Amz" not in said


def put_to(http: httpx.Client, answer: httpx.Response) -> list[dict[str, Any]]:
    """Give the items of a job once what is put elsewhere of its last one is there, or given up."""
    job, until = done(answer), time.monotonic() + 30
    while not (pushed := job["items"][-1]["pushed"]) or not pushed["ended_at"]:
        assert time.monotonic() < until, pushed
        job = http.get(f"/v1/jobs/{job['id']}").json()
    items: list[dict[str, Any]] = job["items"]
    return items


def test_results_are_put_into_a_bucket_that_the_operator_named(
    service: Service, http: httpx.Client
) -> None:
    bucket = bucket_of(storage(shared_s3(), MEDIA))
    large, small = stored(http, LARGE).split("/")[3], stored(http, b"small").split("/")[3]
    place = {"remote": "media", "key": "out/{index:03}-{stem}.bin{ext}"}
    document = {"file_ids": [small, large], "format": "gzip", "store": {"s3": place}}
    answer = http.post("/v1/compress?wait=50", json=document)
    for item, content in zip(put_to(http, answer), (b"small", LARGE), strict=True):
        [one] = item["pushed"]["objects"]
        path = one["url"].removeprefix(f"{MEDIA}/")
        got = bytes(obstore.get(bucket, path).bytes())
        assert zlib.decompress(got, 31) == content
        assert one["size_bytes"] == len(got)
        assert one["etag"] == obstore.head(bucket, path)["e_tag"]
        assert (one["status"], one["error"]) == ("delivered", None)
    assert SECRET not in service.log.read_text()


def test_a_job_of_lines_and_one_that_joins_put_theirs_too(http: httpx.Client) -> None:
    bucket = bucket_of(storage(shared_s3(), MEDIA))
    obstore.put(bucket, "lines/in", b"a line")
    lines = f'{{"url": "{MEDIA}/lines/in"}}\n"{MEDIA}/lines/in"\n'
    store = json.dumps({"s3": {"remote": "media", "key": "lines/{index}"}})
    answer = http.post(
        "/v1/fetch",
        params={"wait": 50, "store": store, "dedupe": "true"},
        content=lines,
        headers={"Content-Type": "application/x-ndjson"},
    )
    urls = [f"{MEDIA}/lines/{n}" for n in range(2)]
    assert [item["pushed"]["objects"][0]["url"] for item in put_to(http, answer)] == urls
    assert {bytes(obstore.get(bucket, f"lines/{n}").bytes()) for n in range(2)} == {b"a line"}
    joined = {
        "urls": urls,
        "format": "zip",
        "store": {"s3": {"remote": "media", "key": "lines/all{ext}"}},
    }
    *others, last = put_to(http, http.post("/v1/archive?wait=50", json=joined))
    assert obstore.head(bucket, "lines/all.zip")["size"] == last["results"][0]["size_bytes"]
    assert [item["pushed"] for item in others] == [None, None]


@pytest.mark.parametrize(
    ("store", "status", "code", "said"),
    [
        ({"s3": {"remote": "other"}}, 422, "fetch.remote", "`store.s3.remote`: There is no remote"),
        ({"s3": {"remote": "media", "key": "../{name}"}}, 422, "input.invalid", "`store.s3.key`"),
        ({"s3": {"remote": "media", "key": "{nam}"}}, 422, "input.invalid", "must not have {nam}"),
        ({"s3": {"remote": "media", "key": "same"}}, 422, "input.invalid", "would have one key"),
        ({"s3": {}}, 422, "input.invalid", "remote"),
        ({}, 422, "input.invalid", "`put_url` or `s3`"),
        (
            {"s3": {"remote": "media"}, "put_url": "https://example.com/"},
            422,
            "input.invalid",
            "not both",
        ),
        ({"s3": {"remote": "media"}, "headers": {"a": "b"}}, 422, "input.invalid", "no `headers`"),
    ],
)
def test_a_place_that_cannot_be_is_refused(
    http: httpx.Client, store: dict[str, Any], status: int, code: str, said: str
) -> None:
    document = {"urls": [f"{MEDIA}/a", f"{MEDIA}/b"], "store": store}
    assert said in problem(http.post("/v1/fetch", json=document), status, code)["detail"]


def in_bucket(url: str, bucket: str = BUCKET) -> list[str]:
    found = bucket_of(storage(url, bucket))
    return [meta["path"] for page in obstore.list(found) for meta in page]


def test_clients_are_sent_to_the_bucket_if_the_operator_wants_it(tmp_path: Path) -> None:
    wanted = dict(env(shared_s3(), "s3://tests/redirected")) | {"OFFLOAD_STORAGE_REDIRECT": "true"}
    with (
        Service.started(tmp_path / "data", wanted) as service,
        httpx.Client(base_url=service.url, timeout=60) as http,
    ):
        path = stored(http, LARGE)
        answer = http.get(path)
        assert answer.status_code == 307
        assert "X-Amz-Signature" in answer.headers["location"]
        there = httpx.get(answer.headers["location"])
        assert there.content == LARGE
        # It is the bucket that says what it is called; nobody sees the header of a 307.
        assert there.headers["content-disposition"] == answer.headers["content-disposition"]
        assert there.headers["content-type"] == "application/octet-stream"
        other = answer.headers["location"].replace("response-content-disposition=", "&x=")
        assert httpx.get(other).status_code == 403
        assert http.get(f"{path}?redirect=false").content == LARGE  # as the page asks
        head = http.head(path)
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(LARGE)))
        small = stored(http, b"small")
        assert http.get(small).content == b"small"


def test_a_job_ends_after_a_crash_in_the_middle(tmp_path: Path) -> None:
    wanted = env(shared_s3(), "s3://tests/crashed")
    first = Service(tmp_path / "data", wanted)
    with httpx.Client(base_url=first.url, timeout=60) as http:
        job = http.post("/v1/compress?format=xz", content=LARGE).json()["id"]
    first.kill()
    with (
        Service.started(tmp_path / "data", wanted) as again,
        httpx.Client(base_url=again.url, timeout=60) as http,
    ):
        done(http.get(f"/v1/jobs/{job}?wait=50"))


def test_a_bucket_that_is_away_refuses_uploads_and_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "s3"
    with s3_server(folder) as url:
        wanted = dict(env(url)) | {"OFFLOAD_STORAGE_RETRY_S": "0"}
        running = Service(tmp_path / "data", wanted)
        http = httpx.Client(base_url=running.url, timeout=60)
        path = stored(http, LARGE)
    try:
        problem(http.post("/v1/files", content=LARGE), 503, "storage.unavailable")
        problem(http.get(path), 503, "storage.unavailable")
        assert http.get("/readyz").status_code == 503
        # What is small is in the records.
        assert http.get(stored(http, b"small")).content == b"small"
        failed = done(
            http.post("/v1/compress?wait=50", json={"file_ids": [path.split("/")[3]]}), "failed"
        )
        assert errors(failed) == ["storage.unavailable"]
    finally:
        http.close()
        running.stop()


def given(**options: str) -> dict[str, str]:
    """Give variables with other options for the bucket's client."""
    known = storage(shared_s3()).options
    return {"OFFLOAD_STORAGE_OPTIONS": json.dumps(known | options)}


WRONG = "a-secret-that-is-wrong"
NOBODY = "http://127.0.0.1:1"
NOBODY_WITH_A_KEY = f"http://key:{WRONG}@127.0.0.1:1"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (lambda: {"OFFLOAD_STORAGE_URL": "ftp://tests/x"}, "OFFLOAD_STORAGE_URL"),
        (lambda: {"OFFLOAD_STORAGE_URL": "memory:///"}, "OFFLOAD_STORAGE_URL"),
        (lambda: given(endpont="x"), "OFFLOAD_STORAGE_OPTIONS"),
        (lambda: given(endpoint=NOBODY), "s3://tests/service cannot be used: .*127.0.0.1:1"),
        (lambda: given(secret_access_key=WRONG), "cannot be used: .*SignatureDoesNotMatch"),
        (lambda: given(access_key_id="reader"), "cannot be used: .*AccessDenied"),
        (
            lambda: given(access_key_id="reader") | {"OFFLOAD_STORAGE_URL": "s3://not-there/x"},
            "s3://not-there/x cannot be used: .*(NoSuchBucket|AccessDenied)",
        ),
    ],
)
def test_a_bucket_that_cannot_be_used_is_told_at_the_start(
    tmp_path: Path, more: Callable[[], Mapping[str, str]], said: str
) -> None:
    wanted = {**env(shared_s3()), "OFFLOAD_STORAGE_RETRY_S": "0", **more()}
    storage = StorageSettings(
        url=wanted["OFFLOAD_STORAGE_URL"],
        options=json.loads(wanted["OFFLOAD_STORAGE_OPTIONS"]),
        retry_s=0,
    )

    async def opened() -> None:
        try:
            await ObjectBlobStore(tmp_path, BlobSettings(), storage).open()
        except ValueError as error:
            raise StorageError(str(error)) from None

    with pytest.raises(StorageError, match=said) as told:
        asyncio.run(opened())
    assert "\n" not in told.value.detail
    assert SECRET not in told.value.detail


def test_why_it_does_not_start_is_the_last_that_is_said(tmp_path: Path) -> None:
    wanted = {**env(shared_s3()), **given(secret_access_key=WRONG, endpoint=NOBODY_WITH_A_KEY)}
    told = refused(tmp_path / "data", wanted | {"OFFLOAD_STORAGE_RETRY_S": "0"}, SECRET, WRONG)
    assert told.startswith("OFFLOAD_STORAGE_URL s3://tests/service cannot be used")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "blobs").write_bytes(b"")
    told = refused(tmp_path / "other", {"OFFLOAD_LOG_FORMAT": "json"})
    assert json.loads(told)["event"] == "not_started"
    assert "Not a directory" in json.loads(told)["detail"]


def test_stored_bytes_are_not_left_behind_unseen(tmp_path: Path) -> None:
    with (
        Service.started(tmp_path / "data") as service,
        httpx.Client(base_url=service.url, timeout=60) as http,
    ):
        stored(http, LARGE)
    assert "is not where they are" in refused(tmp_path / "data", env(shared_s3()))


def test_records_and_bucket_belong_together(tmp_path: Path) -> None:
    wanted = env(shared_s3(), "s3://tests/tied")
    with Service.started(tmp_path / "first", wanted):
        pass
    # Nothing is in the bucket yet: it would let each remove what the other one stores.
    assert "does not belong to" in refused(tmp_path / "second", wanted)
    assert "set OFFLOAD_STORAGE_URL" in refused(tmp_path / "first", {})
    with Service.started(tmp_path / "first", wanted):
        pass


def test_a_backup_is_of_the_records_and_says_so(service: Service, http: httpx.Client) -> None:
    path = stored(http, LARGE)
    folder = service.data_dir.with_name("backup")
    wanted = dict(os.environ) | env(shared_s3()) | {"OFFLOAD_DATA_DIR": str(service.data_dir)}
    told = subprocess.run(
        [sys.executable, "-m", "app", "backup", str(folder)],
        env=wanted,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"Not the bytes: they are in {BUCKET}" in told.stdout
    assert {found.name for found in folder.iterdir()} == {"offload.db", "bucket"}
    with (
        Service.started(folder, env(shared_s3())) as restored,
        httpx.Client(base_url=restored.url, timeout=60) as other,
    ):
        assert other.get(path).content == LARGE
