"""What goes wrong on the way: lost connections, a killed service, files that change, full disks."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress

import httpx
import offload
import pytest
from offload.multipart import Form
from offload.retrying import Retry
from offload.saving import Saving

from tests.client.conftest import KEY, QUICK, cutting, free_port, service_at
from tests.conftest import LOOPBACK

NOISE = os.urandom(3 << 20)
PATIENT = Retry(retries=200, first_s=0.05, most_s=0.2)
"""As long as a service takes to start again."""


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


@pytest.fixture
def large(client):
    stored = client.files.upload(NOISE, name="noise.bin")
    yield stored
    stored.delete()


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


# -- a service that is killed ----------------------------------------------------------------------


def test_kill_in_the_middle_of_an_upload_and_of_a_wait(tmp_path):
    """Nothing is lost and nothing is done twice: the client goes on with whoever comes next."""
    port, env = free_port(), {"OFFLOAD_FETCH_ALLOW_NETWORKS": LOOPBACK}
    running = service_at(port, tmp_path / "data", env)
    half, again = threading.Event(), threading.Event()
    given = _Pausing(half, again)
    ended = {}
    url = running.url

    def work():
        with offload.Client(url, retry=PATIENT, timeout_s=20) as client:
            job = client.compress(given, tag="killed", level="best")
            ended["submitted"] = job.id
            again.clear()
            half.set()
            again.wait(60)
            ended["content"] = job.result().read()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        for _ in ("upload", "wait"):
            assert half.wait(60)
            half.clear()
            running.kill()
            again.set()
            running = service_at(port, tmp_path / "data", env)
        worker.join(60)
        assert gzip.decompress(ended["content"]) == NOISE
        with offload.Client(url) as client:
            assert [one.id for one in client.jobs.list(tag="killed")] == [ended["submitted"]]
    finally:
        running.stop()


class _Pausing(io.BytesIO):
    """Stops in its middle, once, until it may go on."""

    def __init__(self, half, again):
        super().__init__(NOISE)
        self._half, self._again = half, again
        self._paused = False

    def read(self, most=-1):
        if not self._paused and self.tell() > len(NOISE) // 2:
            self._paused = True
            self._half.set()
            assert self._again.wait(60)
        return super().read(most)


# -- files of one's own ----------------------------------------------------------------------------


def test_a_name_that_is_taken(client, tmp_path):
    result = client.compress(b"text").result()
    target = tmp_path / "a.gz"
    target.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        result.save(target, overwrite=False)
    assert target.read_bytes() == b"mine"
    assert gzip.decompress(result.save(target).read_bytes()) == b"text"


def test_a_name_that_is_taken_meanwhile_stays(tmp_path):
    saving = Saving(tmp_path / "a", overwrite=False)
    saving.write(b"ours")
    (tmp_path / "a").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        saving.finish()
    saving.drop()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"theirs"]


def test_a_full_disk_leaves_nothing(client, tmp_path, large):
    """RLIMIT_FSIZE makes writing fail as a full disk does, without root."""
    program = (
        "import resource, signal, sys, offload\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "with offload.Client(sys.argv[1]) as client:\n"
        "    try: client.files.get(sys.argv[2]).save(sys.argv[3])\n"
        "    except OSError as error: print(type(error).__name__, error.errno)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, client._transport.server, large.id, str(tmp_path / "a")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "OSError 27\n"
    assert list(tmp_path.iterdir()) == []


def test_large_files_at_flat_memory(keyed, tmp_path):
    """96 MiB there and back in a process of its own, with no more memory than a small one takes."""
    size = 96 << 20
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size)
    program = (
        "import sys, offload\n"
        "from tests.memory import peak_kib\n"
        "with offload.Client(sys.argv[1], key=sys.argv[2]) as client:\n"
        "    client.files.upload(b'x').read()\n"
        "    before = peak_kib()\n"
        "    stored = client.files.upload(sys.argv[3])\n"
        "    stored.save(sys.argv[4])\n"
        "    stored.delete()\n"
        "    print(peak_kib() - before)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, keyed.url, KEY, tmp_path / "large", tmp_path / "back"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (tmp_path / "back").stat().st_size == size
    assert int(said.stdout) < 16 << 10, said.stdout


# -- documents that are sent -----------------------------------------------------------------------


def test_names_that_no_form_should_choke_on(client):
    names = ['a "b".txt', "ä\n.txt", "x" * 200 + ".txt", "%22.txt", "back\\slash.txt"]
    results = [client.inspect(offload.Upload(b"text", name)).wait() for name in names]
    told = [next(iter(job.items())).name for job in results]
    assert told[0] == names[0]
    assert told[2] == names[2]
    assert all("\n" not in name and "/" not in name for name in told)


def test_a_form_says_how_long_it_is():
    from offload.inputs import Reading, Upload

    form = Form(("job", json.dumps({})), [Reading(Upload(b"abc", "a")), Reading(Upload(b"", "b"))])
    sent = 0
    for opening, file in form.parts():
        sent += len(opening) + (len(file.read(9, 0)) if file else 0)
    assert form.size_bytes == sent
