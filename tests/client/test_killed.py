"""A client goes on with whoever comes after a killed service."""

import gzip
import io
import threading

import offload
from offload.retrying import Retry

from tests.client.conftest import NOISE, free_port, service_at
from tests.conftest import LOOPBACK

PATIENT = Retry(retries=200, first_s=0.05, most_s=0.2)
"""As long as a service takes to start again."""


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
