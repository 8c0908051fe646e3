"""A disk that is nearly full: what would go below the floor fails, and the service goes on."""

import gzip
from pathlib import Path

import httpx

from tests.api.answers import done, errors, problem
from tests.service import Service

MIB = 1 << 20
DISK_BYTES = 64 * MIB
FLOOR_BYTES = 32 * MIB


def test_results_keep_the_floor_as_uploads_do(small_disk: Path, origin: str) -> None:
    env = {
        "OFFLOAD_BLOBS_MIN_FREE_BYTES": str(FLOOR_BYTES),
        "OFFLOAD_FETCH_ALLOW_NETWORKS": '["127.0.0.1/32"]',
        "OFFLOAD_UPLOAD_MAX_BYTES": str(100 * MIB),
    }
    with (
        Service.started(small_disk / "data", env) as service,
        httpx.Client(base_url=service.url, timeout=60) as http,
    ):
        # It fits, and 64 times as much would come of it.
        grows = gzip.compress(bytes(48 * MIB))
        answer = http.post("/v1/decompress?wait=50&max_ratio=100000", content=grows)
        failed = done(answer, "failed")
        assert errors(failed) == ["storage.full"]
        [item] = failed["items"]
        assert item["error"]["retryable"]
        assert "OFFLOAD_BLOBS_MIN_FREE_BYTES" in item["error"]["detail"]
        # Nothing of it is left: what needs less goes on.
        modest = gzip.compress(bytes(8 * MIB))
        done(http.post("/v1/decompress?wait=50&max_ratio=100000", content=modest))
        assert list((service.data_dir / "blobs" / "work").glob("*/*")) == []
        # An upload that says how large it is hears at once, one that does not as it arrives.
        large = bytes(DISK_BYTES)
        told = problem(http.post("/v1/files", content=large), 507, "storage.full")
        assert told["needed_bytes"] == FLOOR_BYTES + DISK_BYTES
        told = problem(
            http.post("/v1/files", content=iter([large[: 40 * MIB]])), 507, "storage.full"
        )
        assert FLOOR_BYTES < told["needed_bytes"] < FLOOR_BYTES + MIB + 1

        (small_disk / "others").write_bytes(bytes(30 * MIB))
        answer = http.post("/v1/fetch?wait=50", json={"urls": [f"{origin}/text"]})
        assert errors(done(answer, "failed")) == ["storage.full"]
        (small_disk / "others").unlink()
        again = http.post(f"/v1/jobs/{answer.json()['id']}/retry")
        assert again.status_code == 202
        done(http.get(f"/v1/jobs/{answer.json()['id']}?wait=50"))
