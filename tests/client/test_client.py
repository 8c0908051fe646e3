"""The Python client against a real service: every verb, with and without `await`."""

import gzip
import io
import os
import zipfile

import httpx
import offload
import pytest
from offload.errors import from_problem
from offload.retrying import Retry
from PIL import Image

from tests.client.conftest import KEY, QUICK


def test_three_lines(service, tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(photo)
    with offload.Client(service.url) as client:
        client.image("photo.jpg", width=800).result().save("small.jpg")
    with Image.open("small.jpg") as small:
        assert small.size == (800, 600)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.jpg", "small.jpg"]


def _as_path(path):
    return path


def _as_text(path):
    return str(path)


def _as_bytes(path):
    return path.read_bytes()


def _as_stream(path):
    return path.open("rb")


def _as_pipe(path):
    read, write = os.pipe()
    with os.fdopen(write, "wb") as end:
        end.write(path.read_bytes()[:1000])
    return os.fdopen(read, "rb")


@pytest.mark.parametrize("given", [_as_path, _as_text, _as_bytes, _as_stream, _as_pipe])
def test_a_file_may_be_given_in_any_way(client, tmp_path, text, given):
    path = tmp_path / "access.log"
    path.write_bytes(text[:1000] if given is _as_pipe else text)
    source = given(path)
    result = client.compress(source, level=9).result()
    if hasattr(source, "fileno"):
        assert not source.closed
        source.close()
    named = given not in (_as_bytes, _as_pipe)
    assert result.name == ("access.log.gz" if named else "upload.gz")
    assert gzip.decompress(result.read()) == path.read_bytes()


def test_several_files_are_one_job_in_their_order(client, text):
    job = client.compress(
        *[offload.Upload(text[n:], f"{n}.log") for n in range(3)], tag="three", metadata={"a": 1}
    )
    results = job.results()
    assert [result.name for result in results] == ["0.log.gz", "1.log.gz", "2.log.gz"]
    assert (job.tag, job.metadata, job.counts["succeeded"]) == ("three", {"a": 1}, 3)


def test_what_is_mixed_or_large_keeps_its_order_and_leaves_nothing(client, origin, text):
    files = [offload.Upload(io.BytesIO(b"x" * (9 << 20 >> 1)), f"{n}.bin") for n in range(4)]
    client.files.upload, kept = _noting(client.files.upload)
    job = client.archive(files[0], f"{origin}/7", *files[1:])
    with zipfile.ZipFile(io.BytesIO(job.result().read())) as made:
        assert made.namelist() == ["0.bin", "7", "1.bin", "2.bin", "3.bin"]
    assert len(kept) == 4
    for file in kept:
        with pytest.raises(offload.NotFound):
            file.refresh()


def _noting(work):
    noted = []

    def noting(*args, **options):
        noted.append(work(*args, **options))
        return noted[-1]

    return noting, noted


def test_urls_and_several_steps(client, origin):
    steps = [{"op": "image", "width": 40, "format": "webp"}, {"op": "compress", "format": "zstd"}]
    job = client.run(offload.Url(f"{origin}/photo.jpg", filename="a.jpg"), steps=steps)
    assert job.result().name == "a.webp.zst"
    assert client.fetch(f"{origin}/3", f"{origin}/4").wait().status == "succeeded"


def test_stored_files_are_inputs_and_results_too(client, photo):
    stored = client.files.upload(photo, name="p.jpg")
    assert client.files.get(stored.id).size_bytes == len(photo)
    assert stored.id in [one.id for one in client.files.list()]
    small = client.image(stored, width=32).result()
    smaller = client.image(small, offload.Stored(stored.id), width=16).results()
    assert [Image.open(io.BytesIO(one.read())).width for one in smaller] == [16, 16]
    assert small.id not in [one.id for one in client.files.list()]
    stored.delete()
    with pytest.raises(offload.NotFound) as gone:
        client.files.get(stored.id)
    assert (gone.value.code, gone.value.status) == ("input.not_found", 404)


def test_an_option_and_a_label_of_one_name(client, photo):
    job = client.optimize(photo, mode="lossless", metadata={"order": 7})
    assert job.metadata == {"order": 7}
    job.cancel()
    kept = client.image(photo, width=8, metadata="keep").wait()
    assert kept.document["steps"][0]["params"]["metadata"] == "keep"


def test_jobs_are_listed_canceled_tried_again_and_deleted(client, origin):
    job = client.fetch(f"{origin}/1", f"{origin}/none", tag="to-list").wait()
    assert [one.id for one in client.jobs.list(tag="to-list")] == [job.id]
    assert [one.id for one in client.jobs.list(tag="to-list", status="failed")] == []
    with pytest.raises(offload.JobFailed) as failed:
        job.result()
    assert failed.value.code == "fetch.status"
    assert [item.error and item.error.code for item in job.items()] == [None, "fetch.status"]
    assert job.retry().wait().status == "partial"
    assert job.cancel().status == "partial"
    job.delete()
    with pytest.raises(offload.NotFound):
        client.jobs.get(job.id)


def test_more_items_than_a_page_has(client, origin, monkeypatch):
    monkeypatch.setattr("offload._sync.jobs.ITEMS_A_PAGE", 10)
    job = client.fetch(*[f"{origin}/{n}" for n in range(25)]).wait()
    assert job.document["items"] is None
    assert [item.results[0].name for item in job.items()] == [str(n) for n in range(25)]
    assert [item.index for item in job.items("failed")] == []


def test_a_job_is_watched_until_it_is_over(client, origin):
    job = client.fetch(*[f"{origin}/{n}" for n in range(5)])
    seen = [one.counts["succeeded"] for one in job.watch()]
    assert seen[-1] == 5
    assert job.done
    with pytest.raises(offload.TimedOut):
        client.run(f"{origin}/1").wait(timeout_s=0)


def test_events_tell_each_item_once(client, origin):
    job = client.fetch(*[f"{origin}/{n}" for n in range(5)])
    events = list(job.events())
    items = [event.document["index"] for event in events if event.kind == "item"]
    assert sorted(items) == [0, 1, 2, 3, 4]
    assert events[-1].document["done"]
    assert job.done


@pytest.mark.anyio
async def test_the_same_with_await(service, photo, text, tmp_path, origin):
    (tmp_path / "access.log").write_bytes(text)
    async with offload.AsyncClient(service.url) as client:
        job = await client.compress(tmp_path / "access.log")
        saved = await (await job.result()).save(tmp_path)
        assert gzip.decompress(saved.read_bytes()) == text
        small = await (await client.image(photo, width=8)).result()
        assert Image.open(io.BytesIO(await small.read())).width == 8
        fetched = await client.fetch(f"{origin}/1", f"{origin}/2")
        kinds = [event.kind async for event in fetched.events()]
        assert (kinds.count("item"), kinds[-1]) == (2, "job")
        assert fetched.id in [one.id async for one in client.jobs.list()]
        assert (await client.limits())["upload_max_bytes"] == 8 << 20
        assert "compress" in [one["name"] for one in await client.operations()]


def test_deliveries_are_seen_and_replayed(client):
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    hook = {"url": "http://127.0.0.1:1/hook", "secret": secret}
    job = client.compress(b"some text", webhook=hook).wait()
    [delivery] = client.deliveries.list(job=job.id)
    assert (delivery.event, delivery.job_id) == ("job.succeeded", job.id)
    assert client.deliveries.replay(delivery.id).id == delivery.id
    assert client.deliveries.get(delivery.id).event == "job.succeeded"
    assert list(client.deliveries.list(job=job.id, status="delivered")) == []


# -- refusals ------------------------------------------------------------------------------------


def test_errors_have_the_services_codes(client):
    with pytest.raises(offload.ServiceError) as refused:
        client.compress(b"text", level=99)
    error = refused.value
    assert (error.code, error.status, error.problem["code"]) == (
        "input.invalid",
        422,
        "input.invalid",
    )
    assert "level" in error.detail
    assert error.hint == ""
    with pytest.raises(offload.JobFailed) as failed:
        client.image(b"no picture").result()
    assert failed.value.code == "image.unsupported"


def test_a_key_is_asked_for_and_never_told(keyed, monkeypatch):
    with pytest.raises(offload.Unauthorized) as refused, offload.Client(keyed.url) as client:
        list(client.jobs.list())
    assert refused.value.code == "input.unauthorized"
    assert "OFFLOAD_KEY" in refused.value.hint
    wrong = offload.Client(keyed.url, key="wrong-key-of-some-length")
    with pytest.raises(offload.Unauthorized) as refused, wrong:
        list(wrong.jobs.list())
    assert "wrong-key" not in str(refused.value)
    monkeypatch.setenv("OFFLOAD_KEY", KEY)
    monkeypatch.setenv("OFFLOAD_SERVER", keyed.url)
    with offload.Client() as client:
        assert list(client.jobs.list(tag="none")) == []


@pytest.mark.parametrize("key", ["two words", "", "t\u00e4st", "line\nend"])
def test_a_key_that_cannot_be_sent(key):
    with pytest.raises(ValueError, match="printable") as refused:
        offload.Client("http://127.0.0.1:1", key=key)
    assert not key or key not in str(refused.value)


@pytest.mark.parametrize("server", ["localhost:8000", "ftp://a", "http://", "http://u:p@a", "::"])
def test_an_address_that_is_none(server):
    with pytest.raises(ValueError, match="address"):
        offload.Client(server)


def test_a_proxy_is_not_asked_for_this_machine(service, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with offload.Client(service.url) as client:
        assert client.version() == "0.2.0"


def test_no_service_is_a_sentence():
    retry = Retry(retries=2, first_s=0.001)
    nobody = offload.Client("http://127.0.0.1:1", retry=retry)
    with nobody, pytest.raises(offload.ConnectionFailed) as refused:
        nobody.compress(b"text")
    assert "No connection to http://127.0.0.1:1" in str(refused.value)
    assert "3 tries" in str(refused.value)


def _answering(answer):
    return httpx.Client(transport=httpx.MockTransport(answer))


def _of_version(version, status, problem=None):
    def answer(request):
        if request.url.path == "/":
            return httpx.Response(200, json={"name": "Offload", "version": version})
        return httpx.Response(status, json=problem or {"code": "input.invalid", "detail": "No."})

    return _answering(answer)


@pytest.mark.parametrize(
    ("version", "told"),
    [("0.1.0", "older than this client"), ("9.0", "newer than this client"), ("0.2.0", "")],
)
def test_a_service_of_another_version_is_told(version, told):
    client = offload.Client("http://offload.test", http=_of_version(version, 422))
    with pytest.raises(offload.ServiceError) as refused:
        client.compress(b"text")
    assert told in refused.value.hint
    assert bool(told) == bool(refused.value.hint)


def test_something_else_at_the_address_is_told():
    http = _answering(lambda _: httpx.Response(404, html="<h1>It works!</h1>"))
    with pytest.raises(offload.NotOffload) as refused:
        offload.Client("http://offload.test", http=http).compress(b"text")
    assert "does not look like an Offload service" in str(refused.value)
    http = _answering(lambda _: httpx.Response(200, html="<h1>It works!</h1>"))
    with pytest.raises(offload.NotOffload):
        offload.Client("http://offload.test", http=http).jobs.get("job_1")
    moved = _answering(lambda _: httpx.Response(301, headers={"Location": "https://a.test/"}))
    with pytest.raises(offload.NotOffload, match=r"https://a\.test/"):
        offload.Client("http://a.test", http=moved).jobs.get("job_1")


def test_what_is_no_input_is_a_type_error(client):
    with pytest.raises(TypeError, match="is no input"):
        client.compress(7)
    with pytest.raises(TypeError, match="rb"):
        client.compress(io.StringIO("text"))
    with pytest.raises(FileNotFoundError):
        client.compress("nowhere.txt")
    with pytest.raises(IsADirectoryError):
        client.compress("/tmp")
    with pytest.raises(ValueError, match="is no id"):
        client.jobs.get("../files")


def test_a_problem_of_a_later_version_is_still_one():
    error = from_problem({"code": "new.code", "unknown": 1}, 418)
    assert (error.code, error.status) == ("new.code", 418)


def test_the_clients_patience_is_bounded(client):
    assert QUICK.delay_s(9) is None
    assert Retry(chance=lambda: 1).delay_s(1) == 0.5
    assert Retry(chance=lambda: 1).delay_s(4, "60") == 60
    assert Retry().delay_s(1, "121") is None
    assert Retry().delay_s(1, "Thu, 01 Jan 1970 00:00:00 GMT") <= 0.5
    assert Retry().delay_s(1, "nonsense") <= 0.5
