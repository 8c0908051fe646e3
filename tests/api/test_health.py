"""Alive, and ready: red while a part is broken, and green again without a restart."""

import os
import signal

import httpx
import pytest

from tests.api.answers import done, eventually, problem
from tests.service import Service, wait_until_gone


def test_alive_says_so(http):
    response = http.get("/livez")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


def test_ready_names_every_part(http):
    response = http.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "checks": dict.fromkeys(("pool", "runner", "courier", "records", "blobs"), "ok"),
        "isolation": {"executor": "process", "lost": {}},
    }


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="children are watched by pidfd")
def test_a_broken_pool_is_seen_rebuilt_and_works_again(tmp_path):
    with (
        Service.started(tmp_path / "data", {"OFFLOAD_POOL_WORKERS": "2"}) as own,
        httpx.Client(base_url=own.url, timeout=30) as http,
    ):
        killed = own.workers()
        assert len(killed) == 2
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        wait_until_gone(killed)
        # Nothing but work finds out; this piece waits for the new pool and succeeds in it.
        where = http.post("/v1/compress", content=b"x").headers["Location"]
        states = []

        def green_after_red():
            states.append(http.get("/readyz"))
            return 503 in {s.status_code for s in states} and states[-1].status_code == 200

        eventually(http, green_after_red)
        red = next(state for state in states if state.status_code == 503)
        found = problem(red, 503, "internal.not_ready")
        assert found["retryable"]
        assert found["checks"]["pool"] != "ok"
        assert found["checks"]["blobs"] == "ok"
        assert http.get("/livez").status_code == 200
        done(http.get(where, params={"wait": 20}))
        assert len(own.workers()) == 2
        assert not set(own.workers()) & set(killed)


def test_below_the_disk_floor_uploads_are_507_and_the_service_is_not_ready(tmp_path):
    floor = {"OFFLOAD_BLOBS_MIN_FREE_BYTES": str(1 << 60)}
    with (
        Service.started(tmp_path / "data", floor) as own,
        httpx.Client(base_url=own.url, timeout=30) as http,
    ):
        found = problem(http.get("/readyz"), 503, "internal.not_ready")
        assert found["checks"]["blobs"] != "ok"
        for response in (
            http.post("/v1/files", content=b"x"),
            http.post("/v1/compress", content=b"x" * (3 << 20)),
            http.post("/v1/compress", files={"file": b"x"}),
        ):
            told = problem(response, 507, "storage.full")
            assert told["retryable"]
            assert "OFFLOAD_BLOBS_MIN_FREE_BYTES" in told["detail"]
            assert told["free_bytes"] < told["min_free_bytes"] == 1 << 60
            assert told["needed_bytes"] > 1 << 60
        assert http.get("/livez").status_code == 200
        assert http.get("/v1/jobs").json()["jobs"] == []
        assert not list((own.data_dir / "blobs" / "work").glob("*/*"))
        [warned] = [line for line in own.log.read_text().splitlines() if "below_floor" in line]
        assert f"OFFLOAD_BLOBS_MIN_FREE_BYTES={1 << 60}" in warned
        assert "free_bytes=" in warned
