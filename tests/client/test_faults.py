"""What goes wrong on the way: lost connections, refusals, files that change."""

import gzip
import hashlib
import io
import os
import threading
from contextlib import suppress

import httpx
import offload
import pytest
from offload.retrying import Retry

from tests.client.conftest import NOISE, QUICK, cutting


@pytest.fixture
def cut(service):
    with cutting(service.url) as proxy:
        yield proxy


@pytest.fixture
def through(cut):
    with offload.Client(cut.url, retry=QUICK, timeout_s=10) as client:
        yield client


# -- the way there ---------------------------------------------------------------------------------


def test_an_upload_that_breaks_is_sent_again_and_is_one_job(through, cut, service):
    cut.cut_requests = [1 << 20, 2 << 20]
    told = []
    steps = [{"op": "compress"}]
    job = through.run(NOISE, steps=steps, tag="broken-upload", told=told.append)
    assert gzip.decompress(job.result().read()) == NOISE
    assert sum(told) == len(NOISE)
    assert min(told) < 0
    with offload.Client(service.url) as client:
        assert [one.id for one in client.jobs.list(tag="broken-upload")] == [job.id]


def test_an_answer_that_is_lost_makes_no_second_job(through, cut, service):
    cut.cut_answers = [0, 20]
    job = through.compress(b"some text", tag="lost-answer")
    assert cut.connections >= 3
    with offload.Client(service.url) as client:
        assert [one.id for one in client.jobs.list(tag="lost-answer")] == [job.id]


def test_a_stream_that_cannot_be_read_again_is_not_sent_again(through, cut):
    cut.cut_requests = [10_000]
    read, write = os.pipe()
    writing = threading.Thread(target=_filled, args=(write,), daemon=True)
    writing.start()
    with os.fdopen(read, "rb") as pipe, pytest.raises(offload.CannotRepeat) as refused:
        through.compress(pipe)
    assert "second time" in refused.value.detail
    assert refused.value.code == "client.cannot_repeat"
    assert cut.connections == 1
    writing.join()


def _filled(write):
    with os.fdopen(write, "wb") as end, suppress(BrokenPipeError):
        end.write(NOISE)


class _Changing(io.BytesIO):
    """A file that has another length than it had."""

    def __init__(self, by):
        super().__init__(NOISE)
        self._by = by

    def read(self, most=-1):
        if self.tell() > 1 << 20 and self._by:
            self.truncate(len(NOISE) - self._by) if self._by > 0 else None
            if self._by < 0:
                place = self.tell()
                self.seek(0, os.SEEK_END)
                self.write(b"x" * -self._by)
                self.seek(place)
            self._by = 0
        return super().read(most)


@pytest.mark.parametrize(("by", "how"), [(1000, "shorter"), (-1000, "longer")])
def test_a_file_that_changes_while_it_is_sent(client, by, how):
    with pytest.raises(offload.InputChanged) as refused:
        client.compress(_Changing(by), tag="changing")
    assert how in refused.value.detail
    assert list(client.jobs.list(tag="changing")) == []


def test_a_refusal_in_the_middle_of_an_upload_is_told(client):
    with pytest.raises(offload.ServiceError) as refused:
        client.compress(b"x" * (10 << 20))
    assert refused.value.code == "limit.body"


def test_429_and_503_are_waited_out_and_other_refusals_are_not():
    seen = []

    def answer(request):
        seen.append(request.headers.get("idempotency-key"))
        if len(seen) < 3:
            status = 429 if len(seen) == 1 else 503
            problem = {"code": "limit.queue", "detail": "Full.", "retryable": True}
            return httpx.Response(status, json=problem, headers={"Retry-After": "0"})
        return httpx.Response(202, json={"id": "job_1", "status": "queued", "done": False})

    http = httpx.Client(transport=httpx.MockTransport(answer))
    client = offload.Client("http://offload.test", retry=QUICK, http=http)
    assert client.compress(b"text").id == "job_1"
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert seen[0].startswith("offload-")


def test_what_may_have_had_its_effect_is_sent_again_only_where_that_does_no_harm():
    seen = []

    def breaking(request):
        seen.append(request.url.path)
        raise httpx.ReadError("gone")

    http = httpx.Client(transport=httpx.MockTransport(breaking))
    client = offload.Client("http://offload.test", retry=QUICK, http=http)
    with pytest.raises(offload.ConnectionFailed):
        client.deliveries.replay("msg_1")
    assert len(seen) == 1
    with pytest.raises(offload.ConnectionFailed):
        client.jobs.get("job_1")
    assert len(seen) == 1 + 1 + QUICK.retries


# -- the way back ----------------------------------------------------------------------------------


def test_a_download_that_breaks_goes_on_where_it_broke(through, cut, large, tmp_path):
    file = through.files.get(large.id)
    through.close()
    with offload.Client(cut.url, retry=QUICK) as client:
        cut.cut_answers = [10_000, 1 << 20, 2 << 20]
        before = cut.connections
        file = client.files.get(large.id)
        told = []
        saved = file.save(tmp_path, told=told.append)
        assert saved.read_bytes() == NOISE
        assert sum(told) == len(NOISE)
        assert cut.connections - before >= 3
        assert [path.name for path in tmp_path.iterdir()] == ["noise.bin"]


def test_a_download_that_stays_broken_leaves_nothing(service, large, tmp_path):
    with cutting(service.url) as proxy:
        proxy.cut_answers = [None, *[500] * 20]
        retry = Retry(retries=3, first_s=0.001)
        with offload.Client(proxy.url, retry=retry) as client:
            file = client.files.get(large.id)
            client._transport._http.close()
            client._transport._http = httpx.Client()
            with pytest.raises(offload.ConnectionFailed):
                file.save(tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []


def _serving(pieces, headers=None):
    """A client of a service that has one file, and gives it so."""
    digest = hashlib.sha256(b"0123456789").hexdigest()
    document = {"id": "file_1", "name": "a.bin", "size_bytes": 10, "sha256": digest}
    asked = []

    def answer(request):
        if not request.url.path.endswith("/content"):
            return httpx.Response(200, json=document)
        asked.append(request.headers.get("range"))
        return pieces(request, len(asked), headers)

    http = httpx.Client(transport=httpx.MockTransport(answer))
    return offload.Client("http://offload.test", retry=QUICK, http=http).files.get("file_1"), asked


class _Breaking(httpx.SyncByteStream):
    def __init__(self, content):
        self._content = content

    def __iter__(self):
        yield self._content
        raise httpx.ReadError("lost")


def test_a_service_that_knows_no_ranges_sends_all_again():
    def pieces(_request, time, _headers):
        if time == 1:
            return httpx.Response(200, stream=_Breaking(b"0123"))
        return httpx.Response(200, stream=httpx.ByteStream(b"0123456789"))

    file, asked = _serving(pieces)
    assert b"".join(file.iter_bytes()) == b"0123456789"
    assert asked == [None, "bytes=4-"]


def test_another_range_than_was_asked_for_is_refused():
    def pieces(_request, time, _headers):
        if time == 1:
            return httpx.Response(200, stream=_Breaking(b"0123"))
        return httpx.Response(
            206, stream=httpx.ByteStream(b"89"), headers={"Content-Range": "bytes 8-9/10"}
        )

    file, _ = _serving(pieces)
    with pytest.raises(offload.DigestMismatch):
        file.read()


def test_what_arrives_damaged_is_not_saved(tmp_path):
    file, _ = _serving(lambda *_: httpx.Response(200, stream=httpx.ByteStream(b"0123456780")))
    with pytest.raises(offload.DigestMismatch) as refused:
        file.save(tmp_path / "a.bin")
    assert refused.value.code == "client.digest"
    assert list(tmp_path.iterdir()) == []


def test_bytes_from_a_bucket_come_without_the_key():
    content, seen = b"0123456789", []

    def answer(request):
        seen.append(request)
        if request.url.host == "bucket.test":
            return httpx.Response(200, stream=httpx.ByteStream(content))
        digest = hashlib.sha256(content).hexdigest()
        if request.url.path.endswith("/content"):
            return httpx.Response(307, headers={"Location": "https://bucket.test/b?sig=1"})
        return httpx.Response(200, json={"id": "file_1", "name": "a", "sha256": digest})

    http = httpx.Client(transport=httpx.MockTransport(answer))
    client = offload.Client("http://offload.test", key="a-key", http=http)
    assert client.files.get("file_1").read() == content
    assert seen[-1].url.host == "bucket.test"
    assert "authorization" not in seen[-1].headers
    assert seen[-2].headers["authorization"] == "Bearer a-key"


def test_events_go_on_behind_the_last_one(through, cut, origin):
    job = through.fetch(*[f"{origin}/{n}" for n in range(30)]).wait()
    through.close()
    with offload.Client(cut.url, retry=QUICK) as client:
        job = client.jobs.get(job.id)
        client._transport._http.close()
        client._transport._http = httpx.Client()
        cut.cut_answers = [8_000, 9_000, 10_000]
        events = list(job.events())
    told = [event.document["index"] for event in events if event.kind == "item"]
    assert sorted(told) == list(range(30))
    assert events[-1].kind == "job"
    assert events[-1].document["done"]
